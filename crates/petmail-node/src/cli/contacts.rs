//! `addressbook` and `contact rename|verify|block|unblock|remove`.

use clap::{Args, Subcommand};
use petmail_mailbox::size::ByteSize;
use petmail_net::program::Failure;
use serde::Deserialize;
use serde_json::Value;

use super::{
    block_on,
    client::Client,
    terminal::{note, one_line, print, print_json_lines, table},
};
use crate::{
    api::types::{ContactRequest, ContactState, ContactView, FetchLimitRequest, MailboxView, RenameRequest},
    basedir::Basedir,
};

/// List the contacts
#[derive(Debug, Args)]
#[command(after_help = "Compare the safety words with each contact, then use `contact verify`.\n\n\
    Examples:\n  petmail-node -d n1 addressbook\n  petmail-node -d n1 addressbook --json")]
pub(super) struct Addressbook {
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

/// Change an entry of the address book
#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:\n  petmail-node -d n1 contact rename 1 bob\n  \
    petmail-node -d n1 contact verify 1\n  petmail-node -d n1 contact remove 1")]
pub(super) enum Contact {
    /// Give a contact another petname
    #[command(after_help = "Examples:\n  petmail-node -d n1 contact rename 1 bob")]
    Rename {
        /// The contact's number
        cid: u32,
        /// The new name; it is never sent to anyone
        petname: String,
    },
    /// Record that both people have the same safety words
    #[command(after_help = "Examples:\n  petmail-node -d n1 contact verify 1")]
    Verify {
        /// The contact's number
        cid: u32,
    },
    /// Take nothing in from a contact any more, and send nothing to it
    #[command(after_help = "The contact is not told; its messages are deleted unread. All others are told \
        where to write from now on.\n\n\
        Examples:\n  petmail-node -d n1 contact block 1")]
    Block {
        /// The contact's number
        cid: u32,
    },
    /// Let a blocked contact in again
    #[command(after_help = "Examples:\n  petmail-node -d n1 contact unblock 1")]
    Unblock {
        /// The contact's number
        cid: u32,
    },
    /// Take the mailbox that a contact offers
    #[command(after_help = "Examples:\n  petmail-node -d n1 contact accept-mailbox 1")]
    AcceptMailbox {
        /// The contact's number
        cid: u32,
    },
    /// Choose up to which size a contact's files are fetched without asking
    #[command(
        after_help = "They are saved in your folder for downloads (`download_folder` in config.toml).\n\n\
        Examples:\n  petmail-node -d n1 contact fetch-limit 1 50MB\n  petmail-node -d n1 contact fetch-limit 1 0B"
    )]
    FetchLimit {
        /// The contact's number
        cid: u32,
        /// The largest size; 0B for never
        size: ByteSize,
    },
    /// Remove a contact for good
    #[command(after_help = "Examples:\n  petmail-node -d n1 contact remove 1")]
    Remove {
        /// The contact's number
        cid: u32,
    },
}

/// The answer to `addressbook`.
#[derive(Debug, Deserialize)]
struct Listed {
    contacts: Vec<ContactView>,
}

impl Addressbook {
    pub(super) fn run(self, basedir: &Basedir) -> Result<(), Failure> {
        block_on(async {
            let client = Client::find(basedir)?;
            let Listed { contacts } = client.ask("addressbook").await?;
            if self.json {
                return print_json_lines(&contacts);
            }
            client.note_missing_mailbox().await?;
            if contacts.is_empty() {
                note("no contacts yet; `invite` makes a code for somebody");
                return Ok(());
            }
            print(&describe(&contacts))
        })
    }
}

impl Contact {
    pub(super) fn run(self, basedir: &Basedir) -> Result<(), Failure> {
        block_on(async {
            let client = Client::find(basedir)?;
            match self {
                Self::Rename { cid, petname } => {
                    let renamed: ContactView =
                        client.call("contact/rename", &RenameRequest { cid, petname }).await?;
                    note(&format!("contact {cid} is now called {}", one_line(&renamed.petname)));
                }
                Self::Verify { cid } => {
                    let verified: ContactView =
                        client.call("contact/verify", &ContactRequest { cid }).await?;
                    note(&format!("contact {cid}, {}, is verified", one_line(&verified.petname)));
                }
                Self::Block { cid } => {
                    let blocked: ContactView = client.call("contact/block", &ContactRequest { cid }).await?;
                    note(&format!("contact {cid}, {}, is blocked", one_line(&blocked.petname)));
                }
                Self::Unblock { cid } => {
                    let unblocked: ContactView =
                        client.call("contact/unblock", &ContactRequest { cid }).await?;
                    note(&format!("contact {cid}, {}, is no longer blocked", one_line(&unblocked.petname)));
                }
                Self::AcceptMailbox { cid } => {
                    let mailbox: MailboxView =
                        client.call("contact/accept-mailbox", &ContactRequest { cid }).await?;
                    print(&format!("mailbox {} at {}\n", mailbox.id, one_line(&mailbox.url)))?;
                }
                Self::FetchLimit { cid, size: ByteSize(bytes) } => {
                    let _: ContactView =
                        client.call("contact/fetch-limit", &FetchLimitRequest { cid, bytes }).await?;
                    note(&match bytes {
                        0 => format!("files of contact {cid} are fetched when you say so"),
                        _ => format!(
                            "files of contact {cid} of up to {} are fetched by themselves",
                            ByteSize(bytes)
                        ),
                    });
                }
                Self::Remove { cid } => {
                    let _: Value = client.call("contact/remove", &ContactRequest { cid }).await?;
                    note(&format!("contact {cid} is removed"));
                }
            }
            Ok(())
        })
    }
}

fn describe(contacts: &[ContactView]) -> String {
    let rows: Vec<_> = contacts.iter().map(row).collect();
    let mut text = table(["CID", "PETNAME", "STATE", "SAFETY WORDS", "REMARK"], &rows);
    for contact in contacts {
        if let Some(url) = &contact.offered_mailbox {
            text.push_str(&format!(
                "{} offers you a mailbox at {}: `contact accept-mailbox {0}` takes it\n",
                contact.cid,
                one_line(url)
            ));
        }
    }
    // Names that people give themselves are shown apart: they can claim anything.
    for contact in contacts.iter().filter(|contact| contact.display_name != contact.petname) {
        if !contact.display_name.is_empty() {
            text.push_str(&format!("{} calls itself {}\n", contact.cid, one_line(&contact.display_name)));
        }
    }
    text
}

fn row(contact: &ContactView) -> [String; 5] {
    let state = match contact.state {
        ContactState::Pending => "pending",
        ContactState::Confirmed => "confirmed",
        ContactState::Verified => "verified",
        ContactState::Blocked => "blocked",
        ContactState::Disputed => "disputed",
    };
    let remark = match &contact.reason {
        Some(reason) => reason.as_str(),
        None if !contact.can_send => "has no mailbox yet: messages wait here",
        None => "",
    };
    [
        contact.cid.to_string(),
        contact.petname.clone(),
        state.to_owned(),
        contact.safety_words.clone(),
        remark.to_owned(),
    ]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn contact(fields: Value) -> ContactView {
        let mut contact = json!({
            "cid": 1, "petname": "bob", "display_name": "bob", "state": "confirmed", "reason": null, "can_send": true,
            "my_verfkey": "A", "their_verfkey": "B", "safety_words": "one two three four five six",
            "since": "2026-01-02T03:04:05Z"
        });
        contact.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        serde_json::from_value(contact).unwrap()
    }

    #[test]
    fn the_address_book_shows_states_words_and_reasons() {
        let contacts = [
            contact(json!({})),
            contact(
                json!({"cid": 12, "petname": "zoë", "display_name": "\u{1b}[31mZoë\nbob", "can_send": false}),
            ),
            contact(json!({"cid": 13, "display_name": "", "state": "pending", "reason": "wait"})),
        ];
        let expected = "\
CID  PETNAME  STATE      SAFETY WORDS                 REMARK
1    bob      confirmed  one two three four five six
12   zoë      confirmed  one two three four five six  has no mailbox yet: messages wait here
13   bob      pending    one two three four five six  wait
12 calls itself \\u{1b}[31mZoë\\nbob
";
        assert_eq!(describe(&contacts), expected);
    }
}
