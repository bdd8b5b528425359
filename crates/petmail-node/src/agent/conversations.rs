//! Conversations as people read them: the list with what is unread, pages of long ones, search, and texts being written.

use petmail_proto::channel::MessageNumber;
use rand_core::OsRng;

use super::{
    Agent,
    error::{CommandError, Fault},
    internal, now,
    page::Page,
    records::{MessageKey, Way},
    stored::{self, Summary},
    view,
};
use crate::api::types::{
    Direction, Draft, FindMessageRequest, MessageQuery, MessageView, RoomView, SearchRequest, SendRequest,
};

/// How many messages a search finds unless told otherwise.
const FOUND: u32 = 50;

impl Agent {
    /// Queues a text for a contact; it is durable when this returns.
    ///
    /// # Errors
    /// If there is no such contact, the text is empty or too long, or it answers no message of this conversation.
    pub async fn send_basic(&self, request: SendRequest) -> Result<MessageView, CommandError> {
        let SendRequest { cid, text, reply_to } = request;
        self.check_room()?;
        let answers = match reply_to {
            Some(id) => Some(self.message_of(cid, id).await?),
            None => None,
        };
        self.step(|core, step, now| core.send_basic(step, cid, &text, answers, now, &mut OsRng)).await
    }

    /// Lists the conversations, the latest first; who has not written yet counts from the introduction on.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn rooms(&self) -> Result<Vec<RoomView>, CommandError> {
        let read: Vec<(u32, MessageNumber)> = {
            let core = self.0.core.lock().await;
            core.peers.iter().map(|(cid, peer)| (*cid, peer.progress.read)).collect()
        };
        let mut summaries = stored::summarize(&self.0.db, &read).await.map_err(|error| internal(&error))?;
        let core = self.0.core.lock().await;
        let mut rooms = Vec::new();
        // Who was removed meanwhile is left out.
        for peer in read.iter().filter_map(|(cid, _)| core.peers.get(cid)) {
            let contact = view::contact(peer, core.can_receive());
            let Summary { last, unread, draft } = summaries.remove(&contact.cid).unwrap_or_default();
            let last = last.map(|(key, message, packets)| {
                self.dress(&core, view::message(peer, key, &message, packets, now()))
            });
            let when = last.as_ref().map_or(contact.since, |last| last.when_received);
            let (cid, petname, state) = (contact.cid, contact.petname, contact.state);
            rooms.push((when, RoomView { cid, petname, state, unread, draft, last }));
        }
        rooms.sort_by_key(|(when, room)| (std::cmp::Reverse(*when), room.cid));
        Ok(rooms.into_iter().map(|(_, room)| room).collect())
    }

    /// Lists a part of a conversation.
    pub(super) async fn page(&self, query: MessageQuery) -> Result<Vec<MessageView>, CommandError> {
        let page = Page::of(query)?;
        if let Some(id) = page.stands_at() {
            self.message_of(page.cid, id).await?;
        }
        let rows = stored::page(&self.0.db, page).await.map_err(|error| internal(&error))?;
        Ok(self.show(rows).await)
    }

    /// Searches the texts of messages, in capitals or not, and lists what it finds, the newest first.
    ///
    /// # Errors
    /// If there is no such contact, or the database fails.
    pub async fn search(&self, request: SearchRequest) -> Result<Vec<MessageView>, CommandError> {
        let SearchRequest { text, cid, limit } = request;
        if let Some(cid) = cid {
            self.0.core.lock().await.peer(cid)?;
        }
        let limit = usize::try_from(limit.unwrap_or(FOUND)).unwrap_or(usize::MAX);
        let found = stored::search(&self.0.db, &text, cid, limit).await.map_err(|error| internal(&error))?;
        Ok(self.show(found).await)
    }

    /// Finds a message by what names it in its conversation.
    ///
    /// # Errors
    /// If there is no such contact or message.
    pub async fn find_message(&self, request: FindMessageRequest) -> Result<MessageView, CommandError> {
        let FindMessageRequest { cid, direction, epoch, seqnum } = request;
        self.0.core.lock().await.peer(cid)?;
        let way = match direction {
            Direction::In => Way::In,
            Direction::Out => Way::Out,
        };
        let key = MessageKey { cid, way, number: MessageNumber { epoch, seqnum } };
        let found = stored::message_at(&self.0.db, key).await.map_err(|error| internal(&error))?;
        self.show(found.into_iter().collect()).await.pop().ok_or_else(|| {
            CommandError::new(
                Fault::NotFound,
                "this message is not here",
                "the messages command lists those that are",
            )
        })
    }

    /// Keeps the text that is being written to a contact; an empty one is none.
    ///
    /// # Errors
    /// If there is no such contact.
    pub async fn keep_draft(&self, draft: Draft) -> Result<Draft, CommandError> {
        if !draft.text.is_empty() {
            self.check_room()?;
        }
        self.step(|core, step, _| core.keep_draft(step, &draft)).await?;
        Ok(draft)
    }

    /// Returns the key of a message of a contact's conversation.
    async fn message_of(&self, cid: u32, id: u64) -> Result<MessageKey, CommandError> {
        let (key, ..) = self.message(id).await?;
        if key.cid == cid {
            return Ok(key);
        }
        let problem = format!("message {id} is of another conversation");
        Err(CommandError::new(
            Fault::BadRequest,
            problem,
            "the messages command lists them with their numbers",
        ))
    }

    /// Shows messages; those of contacts that were removed meanwhile are left out.
    pub(super) async fn show(&self, rows: Vec<stored::Row>) -> Vec<MessageView> {
        let now = now();
        let core = self.0.core.lock().await;
        let shown = rows.into_iter().filter_map(|(key, message, packets)| {
            let view = view::message(core.peers.get(&key.cid)?, key, &message, packets, now);
            Some(self.dress(&core, view))
        });
        shown.collect()
    }
}
