//! Verifying the rows and files of a queue that nobody has open: each can be read, and each finds the others that it names.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    path::Path,
};

use petmail_proto::{
    delivery::MsgADigest, retrieval::MessageNumber, server::account::AccountId, time::UnixMillis,
    wire::Record,
};
use petmail_store::{BlobDir, BlobName, Direction, Keyspace, Store};

use super::{
    RetrievalId, SCAN_ROWS, SERIAL, after_key, open_store,
    rows::{self, ACCOUNTS, BODIES, EXPIRY, MESSAGES, META, MessageRow, OFFERS, OfferRow, Place, REPLAYS},
};
use crate::{
    check::{Problem, ProblemKind, Report},
    queue::{Account, QueueError},
};

/// What was found in a queue.
#[derive(Debug, Default)]
pub(crate) struct Checked {
    pub(crate) report: Report,
    /// The accounts that can be read.
    pub(crate) accounts: Vec<Account>,
}

/// Verifies the queue in `dir`; nothing is changed. A queue that was never made is in order.
pub(crate) async fn check_queue(dir: &Path) -> Checked {
    let mut check = Check::default();
    if dir.join("store").exists()
        && let Err(error) = check.run(dir).await
    {
        check.problem(ProblemKind::StoreUnreadable, error);
    }
    let Check { checked, .. } = check;
    checked
}

/// The name of a message within the store.
type MessageName = (AccountId, MessageNumber);

/// How a row, its key and its value, is looked at.
type Look = fn(&mut Check, &[u8], &[u8]) -> Result<(), QueueError>;

#[derive(Default)]
struct Check {
    checked: Checked,
    /// The messages whose bodies are rows that were not seen yet, with their lengths.
    expected: BTreeMap<MessageName, u32>,
    /// All messages that were not yet seen among what is to be forgotten.
    unswept: BTreeSet<MessageName>,
    /// The messages whose bodies are files.
    files: HashMap<BlobName, (MessageName, u32)>,
    /// Until when a digest is remembered.
    remembered: HashMap<MsgADigest, UnixMillis>,
}

impl Check {
    async fn run(&mut self, dir: &Path) -> Result<(), QueueError> {
        let store = open_store(dir, None).map_err(QueueError::new)?;
        let looked = self.rows(&store).await;
        store.close().await;
        looked?;
        self.blobs(&dir.join("blobs")).await
    }

    async fn rows(&mut self, store: &Store) -> Result<(), QueueError> {
        self.each(store, META, Self::number).await?;
        self.each(store, ACCOUNTS, Self::account).await?;
        self.collisions();
        self.each(store, OFFERS, Self::offer).await?;
        self.each(store, MESSAGES, Self::message).await?;
        self.each(store, BODIES, Self::body).await?;
        for (name, _) in std::mem::take(&mut self.expected) {
            self.problem(ProblemKind::BodyMissing, format_args!("{} has no body", named(&name)));
        }
        self.each(store, REPLAYS, Self::replay).await?;
        self.each(store, EXPIRY, Self::expiry).await?;
        for name in std::mem::take(&mut self.unswept) {
            self.problem(ProblemKind::NeverSwept, format_args!("{} would be kept for ever", named(&name)));
        }
        for (digest, _) in std::mem::take(&mut self.remembered).into_iter().collect::<BTreeMap<_, _>>() {
            let text = format!("the digest {} would be remembered for ever", hex(digest.as_bytes()));
            self.problem(ProblemKind::DigestForever, text);
        }
        Ok(())
    }

    /// Looks at every row of a keyspace; one that cannot be read is a problem.
    async fn each(&mut self, store: &Store, keyspace: Keyspace, look: Look) -> Result<(), QueueError> {
        let mut from = Vec::new();
        loop {
            let rows = store.range(keyspace, from.., Direction::Ascending, SCAN_ROWS).await;
            let rows = rows.map_err(QueueError::new)?;
            let Some((last, _)) = rows.last() else { return Ok(()) };
            from = after_key(last);
            for (key, value) in &rows {
                if let Err(error) = look(self, key, value) {
                    let text = format!("row {} of `{}`: {error}", hex(key), keyspace.name());
                    self.problem(ProblemKind::RowDamaged, text);
                }
            }
        }
    }

    fn number(&mut self, key: &[u8], value: &[u8]) -> Result<(), QueueError> {
        let is_good = key == SERIAL && value.len() == size_of::<u64>();
        if is_good { Ok(()) } else { Err(QueueError::new("it is no serial")) }
    }

    fn account(&mut self, key: &[u8], value: &[u8]) -> Result<(), QueueError> {
        let account = Account::decode_record(value).map_err(QueueError::new)?;
        if key != account.id.as_bytes() {
            let text = format!("account {} is in the row {}", account.id, hex(key));
            self.problem(ProblemKind::AccountMisplaced, text);
        }
        let accounts = &mut self.checked.report.accounts;
        *accounts = accounts.saturating_add(1);
        self.checked.accounts.push(account);
        Ok(())
    }

    /// Every owner, slot and retrieval token leads to one account.
    fn collisions(&mut self) {
        let (mut owners, mut slots, mut tokens) = (HashMap::new(), HashMap::new(), HashMap::new());
        let mut collisions = Vec::new();
        for account in &self.checked.accounts {
            let id = account.id;
            let owner = owners.insert(account.owner, id).map(|other| ("owner", other));
            let token = RetrievalId::of(&account.secrets.retrieval_token);
            let token = tokens.insert(token, id).map(|other| ("retrieval token", other));
            let slots = account.slots().filter_map(|(slot, _)| Some(("slot", slots.insert(slot, id)?)));
            let found = owner.into_iter().chain(token).chain(slots);
            collisions
                .extend(found.map(|(what, other)| format!("accounts {other} and {id} have the same {what}")));
        }
        for text in collisions {
            self.problem(ProblemKind::AccountsCollide, text);
        }
    }

    fn offer(&mut self, key: &[u8], value: &[u8]) -> Result<(), QueueError> {
        rows::parse_offer_key(key)?;
        OfferRow::decode_record(value).map_err(QueueError::new)?;
        let offers = &mut self.checked.report.offers;
        *offers = offers.saturating_add(1);
        Ok(())
    }

    fn message(&mut self, key: &[u8], value: &[u8]) -> Result<(), QueueError> {
        let name = rows::parse_message_key(key)?;
        let row = MessageRow::decode_record(value).map_err(QueueError::new)?;
        self.unswept.insert(name);
        match row.place {
            Place::Row => drop(self.expected.insert(name, row.length)),
            Place::File(file) => {
                let file = BlobName::from_bytes(file);
                if let Some((other, _)) = self.files.insert(file, (name, row.length)) {
                    let text = format!("file {file} belongs to {} and to {}", named(&other), named(&name));
                    self.problem(ProblemKind::FileShared, text);
                }
            }
        }
        let report = &mut self.checked.report;
        report.messages = report.messages.saturating_add(1);
        report.message_bytes = report.message_bytes.saturating_add(u64::from(row.length));
        Ok(())
    }

    fn body(&mut self, key: &[u8], value: &[u8]) -> Result<(), QueueError> {
        let name = rows::parse_message_key(key)?;
        let found = u64::try_from(value.len()).map_err(QueueError::new)?;
        match self.expected.remove(&name) {
            None => {
                self.problem(
                    ProblemKind::BodyOrphan,
                    format_args!("the body of {} has no row", named(&name)),
                );
            }
            Some(length) => self.length(&name, length, found),
        }
        Ok(())
    }

    fn replay(&mut self, key: &[u8], value: &[u8]) -> Result<(), QueueError> {
        let digest = MsgADigest::from_bytes(key.try_into().map_err(QueueError::new)?);
        let expiry = u64::from_be_bytes(value.try_into().map_err(QueueError::new)?);
        self.remembered.insert(digest, UnixMillis(expiry));
        let digests = &mut self.checked.report.digests;
        *digests = digests.saturating_add(1);
        Ok(())
    }

    /// Of two rows for the same digest the later one counts, and comes later.
    fn expiry(&mut self, key: &[u8], value: &[u8]) -> Result<(), QueueError> {
        let (expiry, digest) = rows::parse_expiry_key(key)?;
        let name = rows::parse_message_key(value)?;
        self.unswept.remove(&name);
        match self.remembered.get(&digest) {
            Some(until) if *until == expiry => drop(self.remembered.remove(&digest)),
            Some(until) if *until > expiry => {}
            _ => {
                let text = format!("the digest {} of {} is forgotten", hex(digest.as_bytes()), named(&name));
                self.problem(ProblemKind::DigestForgotten, text);
            }
        }
        Ok(())
    }

    async fn blobs(&mut self, dir: &Path) -> Result<(), QueueError> {
        let listed = BlobDir::open(dir).map_err(QueueError::new)?.list().await.map_err(QueueError::new)?;
        let mut seen = HashSet::new();
        for (file, length) in listed.blobs {
            match self.files.get(&file).copied() {
                None => {
                    self.problem(ProblemKind::FileOrphan, format_args!("file {file} belongs to no message"))
                }
                Some((name, expected)) => self.length(&name, expected, length),
            }
            seen.insert(file);
        }
        if listed.temporaries > 0 {
            let text = format!("{} files were not finished", listed.temporaries);
            self.problem(ProblemKind::FileOrphan, text);
        }
        let missing = self.files.iter().filter(|(file, _)| !seen.contains(file));
        let missing: BTreeMap<_, _> = missing.map(|(file, (name, _))| (*name, *file)).collect();
        for (name, file) in missing {
            self.problem(ProblemKind::BodyMissing, format_args!("{} has no body: file {file}", named(&name)));
        }
        Ok(())
    }

    fn length(&mut self, name: &MessageName, expected: u32, found: u64) {
        if found != u64::from(expected) {
            let text = format!("the body of {} has {found} bytes instead of {expected}", named(name));
            self.problem(ProblemKind::BodyLength, text);
        }
    }

    fn problem(&mut self, kind: ProblemKind, text: impl std::fmt::Display) {
        self.checked.report.problems.push(Problem::new(kind, text));
    }
}

fn named((account, number): &MessageName) -> String {
    format!("message {} of account {account}", number.0)
}

fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}
