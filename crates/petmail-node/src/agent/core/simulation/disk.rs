//! A node's database in memory: what a commit made durable, with the bounds of the real store.

use std::collections::BTreeMap;

use petmail_proto::{channel::payload::BASIC, time::UnixMillis, wire::Record};
use petmail_store::{Keyspace, MAX_BATCH_OPS, MAX_VALUE_BYTES};
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};
use serde_json::{Map, Value};

use crate::{
    agent::{
        core::{Core, Profile},
        records::{
            AGENT, BODIES, CONTACTS, HEARD, INVITATIONS, KEYS, MAILBOXES, MESSAGE_IDS, MESSAGES, MIDS,
            Message, MessageKey, OFFERS, OUTBOX, PROFILE_KEY, PROFILES, PROGRESS, QUARANTINE, RESTORED_KEY,
            SETTINGS_KEY, Way,
            transfers::{DOWNLOADS, FETCH_LIMITS, LOCATIONS, QUESTIONS, SHARES, UPLOADS},
        },
        stored::{Rows, Table},
    },
    config::Privacy,
    db::Write,
};

pub(super) fn profile(name: &str) -> Profile {
    Profile {
        display_name: name.to_owned(),
        privacy: Privacy::Normal,
        read_receipts: true,
        copies_everywhere: name == "bob",
        download_folder: "/downloads".to_owned(),
    }
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Disk(BTreeMap<(&'static str, Vec<u8>), Vec<u8>>);

impl Disk {
    pub(super) fn commit(&mut self, writes: &[Write]) {
        assert!(writes.len() <= MAX_BATCH_OPS, "{} writes are too many for the store", writes.len());
        for write in writes {
            let row = (write.keyspace.name(), write.key.clone());
            match &write.value {
                Some(value) => {
                    let is_large = [BODIES, QUARANTINE].contains(&write.keyspace);
                    assert!(is_large || value.len() < MAX_VALUE_BYTES, "a row of {}", write.keyspace.name());
                    self.0.insert(row, value.clone());
                }
                None => drop(self.0.remove(&row)),
            }
        }
    }

    /// What a backup has of it.
    pub(super) fn back_up(&self) -> Self {
        let is_left_out = |name: &str| [KEYS, INVITATIONS].iter().any(|keyspace| keyspace.name() == name);
        let kept = self.0.iter().filter(|((name, _), _)| !is_left_out(name));
        Self(kept.map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    /// Marks it as restored from a backup.
    pub(super) fn mark_restored(&mut self, now: UnixMillis) {
        self.0.insert((AGENT.name(), RESTORED_KEY.to_vec()), now.0.to_be_bytes().to_vec());
    }

    pub(super) fn get(&self, keyspace: Keyspace, key: &[u8]) -> Option<&Vec<u8>> {
        self.0.get(&(keyspace.name(), key.to_vec()))
    }

    pub(super) fn scan(&self, keyspace: Keyspace, prefix: &[u8]) -> Table {
        let rows = self.0.range((keyspace.name(), prefix.to_vec())..);
        let rows = rows.take_while(|((name, key), _)| *name == keyspace.name() && key.starts_with(prefix));
        rows.map(|((_, key), value)| (key.clone(), value.clone())).collect()
    }

    /// Reads the state as a starting node does.
    pub(super) fn load(&self, name: &str) -> Core {
        let rows = Rows {
            settings: self.get(AGENT, SETTINGS_KEY).cloned(),
            contacts: self.scan(CONTACTS, &[]),
            keys: self.scan(KEYS, &[]),
            progress: self.scan(PROGRESS, &[]),
            outbox: self.scan(OUTBOX, &[]),
            invitations: self.scan(INVITATIONS, &[]),
            mailboxes: self.scan(MAILBOXES, &[]),
            quarantine: self.scan(QUARANTINE, &[]),
            mids: self.scan(MIDS, &[]),
            heard: self.scan(HEARD, &[]),
            profiles: self.scan(PROFILES, &[]),
            offers: self.scan(OFFERS, &[]),
            uploads: self.scan(UPLOADS, &[]),
            shares: self.scan(SHARES, &[]),
            downloads: self.scan(DOWNLOADS, &[]),
            locations: self.scan(LOCATIONS, &[]),
            questions: self.scan(QUESTIONS, &[]),
            fetch_limits: self.scan(FETCH_LIMITS, &[]),
            own_profile: self.get(AGENT, PROFILE_KEY).cloned(),
            last_message_id: self.scan(MESSAGE_IDS, &[]).pop().map(|(key, _)| key),
        };
        Core::new(profile(name), rows.decode().unwrap(), &mut ChaCha20Rng::seed_from_u64(0)).unwrap()
    }

    /// Reads the texts of one way.
    pub(super) fn texts(&self, cid: u32, way: Way) -> Vec<String> {
        let messages = self.messages(cid).into_iter().filter(|(key, _, _)| key.way == way);
        messages.filter_map(|(_, _, packets)| Some(packets.get(BASIC)?.as_str()?.to_owned())).collect()
    }

    /// Reads all messages of a contact with their packets, in the order of keys.
    pub(super) fn messages(&self, cid: u32) -> Vec<(MessageKey, Message, Map<String, Value>)> {
        let rows = self.scan(MESSAGES, &cid.to_be_bytes());
        let read = |(key, row): (Vec<u8>, Vec<u8>)| {
            let packets = serde_json::from_slice(self.get(BODIES, &key).unwrap()).unwrap();
            (MessageKey::decode(&key).unwrap(), Message::decode_record(&row).unwrap(), packets)
        };
        rows.into_iter().map(read).collect()
    }
}
