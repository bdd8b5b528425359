//! What the owner has chosen, and what contacts are told of it: the name and the picture.

use petmail_proto::channel::profile::Picture;

use super::{Agent, core::Profile, error::CommandError, internal, records::PICTURES};
use crate::config::Config;

impl Agent {
    /// Follows what the owner has chosen anew, as far as a running node can.
    pub(crate) async fn choose(&self, config: &Config) -> Result<(), CommandError> {
        self.step(|core, step, now| {
            core.choose(Profile::of(config));
            core.follow_name(step, now)
        })
        .await?;
        self.tell_contacts().await
    }

    /// Takes a picture of the person for all contacts, or takes it away.
    pub(crate) async fn set_picture(&self, picture: Option<Picture>) -> Result<(), CommandError> {
        self.step(|core, step, now| core.set_picture(step, picture.as_ref(), now)).await?;
        self.tell_contacts().await
    }

    /// The picture of this node's person.
    pub(crate) async fn own_picture(&self) -> Option<Picture> {
        self.0.core.lock().await.own_picture()
    }

    /// The picture that a contact has given itself.
    pub(crate) async fn picture_of(&self, cid: u32) -> Result<Option<Picture>, CommandError> {
        self.0.core.lock().await.peer(cid)?;
        let row = self.0.db.get(PICTURES, &cid.to_be_bytes()).await.map_err(|error| internal(&error))?;
        Ok(row.and_then(|bytes| Picture::parse(bytes).ok()))
    }
}
