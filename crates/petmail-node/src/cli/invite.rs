//! `invite`, `invitations`, `cancel-invitation`.

use clap::Args;
use petmail_net::program::Failure;
use serde::Deserialize;
use serde_json::Value;

use super::{
    block_on,
    client::{Client, Events, NO_MAILBOX},
    send::argument_or_stdin,
    terminal::{local_time, note, one_line, print, print_json_lines, table},
};
use crate::{
    api::types::{
        CancelRequest, Event, InvitationState, InvitationView, InviteRequest, MailboxView, StatusView,
    },
    basedir::Basedir,
    config::forgets_codes,
};

/// Longest code in bytes, far above any that a person types.
const MAX_CODE_BYTES: usize = 1024;

/// Make a code to tell somebody, or use the code that somebody told you
#[derive(Debug, Args)]
#[command(
    after_help = "Without CODE it prints a new code, alone on a line. Whoever knows the code can take the other \
    person's place, once: tell it over a channel that you trust.\n\n\
    Examples:\n  petmail-node -d n1 invite --petname bob\n  \
    petmail-node -d n2 invite --petname alice 4-purple-sausages-tonight --wait\n  \
    petmail-node -d n2 invite - < code.txt"
)]
pub(super) struct Invite {
    /// The other person's code; `-` reads it from standard input, out of sight of other users
    code: Option<String>,
    /// The name that the contact will get here; it is never sent to anyone
    #[arg(long, value_name = "NAME")]
    petname: Option<String>,
    /// Return only once both sides have each other, or the invitation has failed
    #[arg(long)]
    wait: bool,
}

/// List the invitations
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  petmail-node -d n1 invitations\n  petmail-node -d n1 invitations --json"
)]
pub(super) struct Invitations {
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

/// Cancel an invitation
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  petmail-node -d n1 cancel-invitation 3")]
pub(super) struct CancelInvitation {
    /// The invitation's number
    id: u32,
}

/// Forget an invitation that ended without a contact
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  petmail-node -d n1 forget-invitation 3")]
pub(super) struct ForgetInvitation {
    /// The invitation's number
    id: u32,
}

/// The answer to `invitations`.
#[derive(Debug, Deserialize)]
struct Listed {
    invitations: Vec<InvitationView>,
}

impl Invite {
    pub(super) fn run(self, basedir: &Basedir) -> Result<(), Failure> {
        let code = self.code.map(|code| argument_or_stdin(code, MAX_CODE_BYTES)).transpose()?;
        let request = InviteRequest { petname: self.petname, code, wants_mailbox: false };
        block_on(async {
            let client = Client::find(basedir)?;
            if !self.wait {
                return tell_begin(&begin(&client, &request).await?, request.code.is_some());
            }
            // First the stream, then the invitation: no change can be missed.
            let mut events = client.events().await?;
            let invitation = begin(&client, &request).await?;
            let invitation = wait_for_end(&client, &mut events, invitation).await?;
            tell_end(&invitation, request.code.is_some())
        })
    }
}

/// Starts the invitation, and prints its code if it has just been made.
async fn begin(client: &Client, request: &InviteRequest) -> Result<InvitationView, Failure> {
    let status: StatusView = client.ask("status").await?;
    if status.mailboxes.iter().all(MailboxView::is_for_files_alone) {
        note(NO_MAILBOX);
    }
    let invitation: InvitationView = client.call("invite", request).await?;
    if request.code.is_none() {
        print_code(&invitation, &status.rendezvous.url)?;
    }
    Ok(invitation)
}

/// Prints the code of an invitation that has just been made, alone on a line.
pub(super) fn print_code(invitation: &InvitationView, rendezvous: &str) -> Result<(), Failure> {
    let Some(code) = &invitation.code else { return Ok(()) };
    print(&format!("{}\n", one_line(code)))?;
    explain_code(invitation, rendezvous);
    Ok(())
}

fn explain_code(invitation: &InvitationView, rendezvous: &str) {
    let (id, until) = (invitation.id, local_time(invitation.expires));
    note(&format!("Tell the other person this code. It can be used once, until {until} (invitation {id})."));
    if forgets_codes(rendezvous) {
        note(
            "note: the public rendezvous server forgets codes when both people are away: keep this node running.",
        );
    }
}

async fn wait_for_end(
    client: &Client,
    events: &mut Events,
    invitation: InvitationView,
) -> Result<InvitationView, Failure> {
    let mut invitation = invitation;
    while !has_ended(invitation.state) {
        let changed = match events.next().await? {
            Event::Invitation(changed) if changed.id == invitation.id => changed,
            Event::Lagged => look_up(client, invitation.id).await?,
            _ => continue,
        };
        if changed.state == InvitationState::Pending && changed.reason != invitation.reason {
            note(&format!("pending: {}", one_line(changed.reason.as_deref().unwrap_or("almost there"))));
        }
        invitation = changed;
    }
    Ok(invitation)
}

async fn look_up(client: &Client, id: u32) -> Result<InvitationView, Failure> {
    let Listed { invitations } = client.ask("invitations").await?;
    invitations
        .into_iter()
        .find(|invitation| invitation.id == id)
        .ok_or_else(|| Failure::failed("the invitation is gone"))
}

pub(super) fn tell_begin(invitation: &InvitationView, code_was_given: bool) -> Result<(), Failure> {
    if !code_was_given {
        return Ok(());
    }
    note(&format!("see `invitations` for how invitation {} goes on", invitation.id));
    print(&format!("{}\n", state_word(invitation.state)))
}

pub(super) fn tell_end(invitation: &InvitationView, code_was_given: bool) -> Result<(), Failure> {
    let state = state_word(invitation.state);
    if invitation.state != InvitationState::Confirmed {
        let reason = invitation.reason.as_deref().unwrap_or("no reason is known");
        return Err(Failure::failed(format!(
            "the invitation {}: {}",
            ended_how(invitation.state),
            one_line(reason)
        ))
        .hint("`invite` makes a new code"));
    }
    if let Some(cid) = invitation.cid {
        note(&format!("you have each other: contact {cid} in `addressbook`"));
    }
    // Where the code is printed, it is the only line.
    if code_was_given { print(&format!("{state}\n")) } else { Ok(()) }
}

impl Invitations {
    pub(super) fn run(self, basedir: &Basedir) -> Result<(), Failure> {
        let Listed { invitations } = block_on(async { Client::find(basedir)?.ask("invitations").await })?;
        if self.json {
            return print_json_lines(&invitations);
        }
        if invitations.is_empty() {
            note("no invitations; `invite` makes a code for somebody");
            return Ok(());
        }
        let rows: Vec<_> = invitations.iter().map(row).collect();
        print(&table(["ID", "PETNAME", "STATE", "CODE", "UNTIL", "REMARK"], &rows))
    }
}

impl CancelInvitation {
    pub(super) fn run(self, basedir: &Basedir) -> Result<(), Failure> {
        let request = CancelRequest { id: self.id };
        let cancelled: InvitationView =
            block_on(async { Client::find(basedir)?.call("cancel-invitation", &request).await })?;
        note(&format!("invitation {} is {}", cancelled.id, state_word(cancelled.state)));
        Ok(())
    }
}

impl ForgetInvitation {
    pub(super) fn run(self, basedir: &Basedir) -> Result<(), Failure> {
        let request = CancelRequest { id: self.id };
        let _: Value = block_on(async { Client::find(basedir)?.call("forget-invitation", &request).await })?;
        note(&format!("invitation {} is forgotten", self.id));
        Ok(())
    }
}

fn row(invitation: &InvitationView) -> [String; 6] {
    [
        invitation.id.to_string(),
        invitation.petname.clone().unwrap_or_default(),
        state_word(invitation.state).to_owned(),
        invitation.code.clone().unwrap_or_default(),
        local_time(invitation.expires),
        invitation.reason.clone().unwrap_or_default(),
    ]
}

pub(super) fn has_ended(state: InvitationState) -> bool {
    match state {
        InvitationState::Waiting | InvitationState::Exchanging | InvitationState::Pending => false,
        InvitationState::Confirmed
        | InvitationState::Failed
        | InvitationState::Expired
        | InvitationState::Cancelled => true,
    }
}

fn state_word(state: InvitationState) -> &'static str {
    match state {
        InvitationState::Waiting => "waiting",
        InvitationState::Exchanging => "exchanging",
        InvitationState::Pending => "pending",
        InvitationState::Confirmed => "confirmed",
        InvitationState::Failed => "failed",
        InvitationState::Expired => "expired",
        InvitationState::Cancelled => "cancelled",
    }
}

fn ended_how(state: InvitationState) -> &'static str {
    match state {
        InvitationState::Expired => "expired",
        InvitationState::Cancelled => "was cancelled",
        _ => "failed",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_invitation_that_came_to_nothing_is_a_failure_with_its_reason() {
        for (state, how) in [("failed", "failed"), ("expired", "expired"), ("cancelled", "was cancelled")] {
            let invitation: InvitationView = serde_json::from_value(json!({
                "id": 1, "petname": null, "code": null, "state": state, "reason": "wrong\u{1b} code", "cid": null,
                "expires": "2026-01-02T03:04:05Z"
            }))
            .unwrap();
            assert!(has_ended(invitation.state));
            let failure = tell_end(&invitation, true).unwrap_err().to_string();
            assert!(
                failure.starts_with(&format!("error: the invitation {how}: wrong\\u{{1b}} code\nhint: ")),
                "{failure}"
            );
        }
    }
}
