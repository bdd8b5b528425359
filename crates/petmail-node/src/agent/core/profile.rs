//! What contacts are told of this node's person after they have met, and what they tell of theirs.

use petmail_proto::{
    channel::profile::{Picture, ProfilePacket},
    time::UnixMillis,
};

use super::{Core, Peer, Step};
use crate::agent::{
    error::CommandError,
    records::{AGENT, PICTURES, PROFILE_KEY, PROFILES},
};

impl Core {
    /// Follows the name in the configuration. The contacts are told in steps of their own, [`Self::to_be_told`].
    pub(crate) fn follow_name(&mut self, step: &mut Step, now: UnixMillis) -> Result<(), CommandError> {
        if self.own_profile.name != self.profile.display_name {
            self.own_profile.name.clone_from(&self.profile.display_name);
            self.raise_profile(now);
        }
        Ok(step.put(AGENT, PROFILE_KEY, &self.own_profile)?)
    }

    /// Takes a picture of the person, or takes it away. The contacts are told in steps of their own, [`Self::to_be_told`].
    pub(crate) fn set_picture(
        &mut self,
        step: &mut Step,
        picture: Option<&Picture>,
        now: UnixMillis,
    ) -> Result<(), CommandError> {
        self.own_profile.picture = picture.map(|picture| picture.bytes().to_vec());
        self.raise_profile(now);
        Ok(step.put(AGENT, PROFILE_KEY, &self.own_profile)?)
    }

    /// The picture of this node's person.
    pub(crate) fn own_picture(&self) -> Option<Picture> {
        Picture::parse(self.own_profile.picture.clone()?).ok()
    }

    /// Whether a contact knows the present profile.
    pub(super) fn knows_profile(&self, peer: &Peer) -> bool {
        peer.profiles.told >= self.own_profile.serial
    }

    /// Notes that a contact is being told the present profile.
    pub(super) fn note_told(&mut self, step: &mut Step, cid: u32) -> Result<(), CommandError> {
        let serial = self.own_profile.serial;
        self.peer_mut(cid)?.profiles.told = serial;
        self.put_profiles(step, cid)
    }

    pub(super) fn profile_packet(&self) -> ProfilePacket {
        let name = self.own_profile.name.clone();
        ProfilePacket { serial: self.own_profile.serial, name, picture: self.own_picture() }
    }

    /// Takes in what a contact tells of itself, unless something newer was heard before. The petname stays.
    pub(super) fn hear_profile(
        &mut self,
        step: &mut Step,
        cid: u32,
        packet: ProfilePacket,
    ) -> Result<(), CommandError> {
        let peer = self.peer_mut(cid)?;
        if !packet.is_bounded() || packet.serial <= peer.profiles.heard {
            return Ok(());
        }
        let ProfilePacket { serial, name, picture } = packet;
        peer.contact.display_name = name;
        peer.profiles.heard = serial;
        peer.profiles.picture = picture.as_ref().map(Picture::id);
        match picture {
            Some(picture) => step.put_bytes(PICTURES, cid.to_be_bytes(), picture.bytes().to_vec()),
            None => step.delete(PICTURES, cid.to_be_bytes()),
        }
        self.put_profiles(step, cid)?;
        self.changed(step, cid).map(drop)
    }

    /// Gives the profile a serial above all that contacts may have seen: the agent may have been set back since.
    fn raise_profile(&mut self, now: UnixMillis) {
        self.own_profile.serial = self.own_profile.serial.saturating_add(1).max(now.0);
    }

    fn put_profiles(&self, step: &mut Step, cid: u32) -> Result<(), CommandError> {
        Ok(step.put(PROFILES, cid.to_be_bytes(), &self.peer(cid)?.profiles)?)
    }
}
