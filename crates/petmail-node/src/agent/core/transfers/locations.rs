//! Where files are after a while: links run out, servers move. The receiver asks, the sender finds out and answers.
//! Specification: `docs/protocol/delivery.md`, "Where a file is now".

use std::time::Duration;

use petmail_proto::{
    channel::file::{LocatePacket, LocationPacket},
    content::Location,
    time::UnixMillis,
};
use rand_core::CryptoRngCore;

use super::{super::send::News, Core, Step, Transfers};
use crate::{
    agent::{
        Question,
        error::CommandError,
        records::transfers::{Hitch, LOCATIONS, Located, Phase, QUESTIONS, question_key},
    },
    transfer::Stopped,
};

/// How long what was found out counts: nobody asks anew, and nobody finds out anew.
const IS_NEW_FOR: Duration = Duration::from_secs(3_600);

/// The most questions of a contact that are open.
const MAX_QUESTIONS: usize = 256;

impl Transfers {
    /// Where a file is, if that is not where its message says.
    pub(crate) fn location(&self, id: u64) -> Option<Location> {
        self.located.get(&id)?.location()
    }

    fn newly_located(&self, id: u64, now: UnixMillis) -> Option<&Located> {
        self.located.get(&id).filter(|located| now.since(located.at) < IS_NEW_FOR)
    }
}

impl Core {
    /// Asks a file's sender where it is now, unless that was answered a short while ago; tells whether they were asked.
    pub(crate) fn ask_location(
        &mut self,
        step: &mut Step,
        id: u64,
        now: UnixMillis,
        rng: &mut impl CryptoRngCore,
    ) -> Result<bool, CommandError> {
        let Some(download) = self.transfers.downloads.get(&id) else { return Ok(false) };
        let (cid, mid) = (download.cid, download.mid);
        // Own files can be fetched too.
        let is_theirs = self.mids.contains_key(&(cid, mid)) && self.check_written_to(cid).is_ok();
        let is_wanted = download.phase == Phase::Active && download.saved.is_none();
        if !is_theirs || !is_wanted || self.transfers.newly_located(id, now).is_some() {
            return Ok(false);
        }
        self.enqueue_own(step, cid, News { locate: Some(LocatePacket { mid }), ..News::NONE }, now, rng)?;
        self.set_phase(step, id, Phase::Asked)?;
        Ok(true)
    }

    /// Takes in that a contact asks where a file is.
    pub(in crate::agent::core) fn hear_locate(&mut self, step: &mut Step, cid: u32, asked: LocatePacket) {
        let questions = &mut self.transfers.questions;
        let of_contact = questions.keys().filter(|(of, _)| *of == cid).count();
        if of_contact >= MAX_QUESTIONS {
            return;
        }
        questions.entry((cid, asked.mid)).or_default();
        step.put_bytes(QUESTIONS, question_key(cid, &asked.mid), Vec::new());
        step.transfers_changed = true;
    }

    /// Takes in where a file is that was asked for.
    pub(in crate::agent::core) fn hear_location(
        &mut self,
        step: &mut Step,
        cid: u32,
        told: LocationPacket,
        now: UnixMillis,
    ) -> Result<(), CommandError> {
        let mut downloads = self.transfers.downloads.iter();
        let asked = downloads.find(|(_, download)| {
            download.cid == cid && download.mid == told.mid && download.phase == Phase::Asked
        });
        let Some((id, _)) = asked.map(|(id, download)| (*id, download)) else { return Ok(()) };
        self.note_location(step, id, told.location.as_ref(), now)?;
        let phase = match told.location {
            Some(_) => Phase::Active,
            None => Phase::Failed(Hitch::from(&Stopped::Gone)),
        };
        self.set_phase(step, id, phase)
    }

    /// Returns what contacts ask for and were not told yet.
    pub(crate) fn questions(&self, now: UnixMillis) -> Vec<Question> {
        let asked = self.transfers.questions.keys().map(|(cid, mid)| {
            let mut shares = self.transfers.shares.iter();
            let share = shares.find(|(_, share)| share.cid == *cid && share.mid == *mid);
            let share = share.map(|(id, share)| (*id, share.clone()));
            let known = share.as_ref().and_then(|(id, _)| self.transfers.newly_located(*id, now)).cloned();
            Question { cid: *cid, mid: *mid, share, known }
        });
        asked.collect()
    }

    /// Tells a contact where a file is now.
    pub(crate) fn answer(
        &mut self,
        step: &mut Step,
        question: &Question,
        location: Option<Location>,
        now: UnixMillis,
        rng: &mut impl CryptoRngCore,
    ) -> Result<(), CommandError> {
        let (cid, mid) = (question.cid, question.mid);
        let key = (cid, mid);
        if !self.transfers.questions.contains_key(&key) {
            return Ok(());
        }
        // It may have been taken back meanwhile.
        let share = question.share.as_ref().map(|(id, _)| *id);
        let share = share.filter(|id| self.transfers.shares.contains_key(id));
        let location = location.filter(|_| share.is_some());
        if let Some(id) = share.filter(|_| question.known.is_none()) {
            self.note_location(step, id, location.as_ref(), now)?;
        }
        if self.check_written_to(cid).is_ok() {
            let told = LocationPacket { mid, location };
            self.enqueue_own(step, cid, News { location: Some(told), ..News::NONE }, now, rng)?;
        }
        self.transfers.questions.remove(&key);
        step.delete(QUESTIONS, question_key(cid, &mid));
        Ok(())
    }

    /// Notes why a contact cannot be told yet.
    pub(crate) fn cannot_answer(&mut self, question: &Question, hitch: Hitch) {
        if let Some(reason) = self.transfers.questions.get_mut(&(question.cid, question.mid)) {
            *reason = Some(hitch);
        }
    }

    /// Forgets what a removed contact has asked for.
    pub(super) fn forget_questions_of(&mut self, step: &mut Step, cid: u32) {
        let asked: Vec<_> = self.transfers.questions.keys().filter(|(of, _)| *of == cid).copied().collect();
        for (cid, mid) in asked {
            self.transfers.questions.remove(&(cid, mid));
            step.delete(QUESTIONS, question_key(cid, &mid));
        }
    }

    fn note_location(
        &mut self,
        step: &mut Step,
        id: u64,
        location: Option<&Location>,
        now: UnixMillis,
    ) -> Result<(), CommandError> {
        let located = Located::new(location, now);
        step.put(LOCATIONS, id.to_be_bytes(), &located)?;
        self.transfers.located.insert(id, located);
        Ok(())
    }
}
