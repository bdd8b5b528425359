//! The operator's commands: through the running server's socket, or on the store itself while the server is stopped.

use petmail_net::program::{DirLock, Failure};
use petmail_proto::{server::account::AccountState, token::TokenKeyId};
use serde::Serialize;

use super::{client::AdminClient, explain, print, qr};
use crate::{
    admin::{
        AccountRequest, AccountSummary, AdminError, ChangeRequest, MoveRequest, Moved, OfferRequest, Offers,
        PacksStatus, RotatedKeys, Status,
    },
    basedir::Basedir,
    config::{AdminListen, Settings},
    queue::QueueStats,
    server::{Mailbox, MailboxError},
    size::ByteSize,
};

/// Administers the server in a basedir, running or not.
pub(super) struct Operator {
    basedir: Basedir,
    settings: Settings,
}

/// Who does it.
enum Way {
    Running(AdminClient),
    Stopped(Box<Mailbox>),
}

impl Operator {
    pub(super) const fn new(basedir: Basedir, settings: Settings) -> Self {
        Self { basedir, settings }
    }

    pub(super) async fn offer(self, request: &OfferRequest, show_qr: bool) -> Result<(), Failure> {
        let offers = match self.way().await? {
            Way::Running(client) => client.post::<_, Offers>("/offers", request).await?,
            Way::Stopped(mailbox) => {
                let now = crate::http::now();
                let minted = mailbox.services().admin().mint_offers(request, now).await;
                mailbox.close().await;
                minted.map_err(Failure::failed)?
            }
        };
        for offer in &offers.offers {
            if show_qr {
                qr::show(offer)?;
            }
            print(format_args!("{offer}\n"))?;
        }
        Ok(())
    }

    pub(super) async fn accounts(self, json: bool) -> Result<(), Failure> {
        let accounts = match self.way().await? {
            Way::Running(client) => client.get::<Vec<AccountSummary>>("/accounts").await?,
            Way::Stopped(mailbox) => {
                let accounts = mailbox.services().admin().accounts().await;
                mailbox.close().await;
                accounts.map_err(Failure::failed)?
            }
        };
        accounts
            .iter()
            .try_for_each(|account| if json { print_json(account) } else { print(account_line(account)) })
    }

    pub(super) async fn account(self, request: AccountRequest, json: bool) -> Result<(), Failure> {
        let account = match self.way().await? {
            Way::Running(client) => client.post::<_, AccountSummary>("/account", &request).await?,
            Way::Stopped(mailbox) => {
                let account = mailbox.services().admin().account(request).await;
                mailbox.close().await;
                account.map_err(explain_admin)?
            }
        };
        if json { print_json(&account) } else { print(account_text(&account)) }
    }

    pub(super) async fn change(self, request: &ChangeRequest) -> Result<(), Failure> {
        let account = match self.way().await? {
            Way::Running(client) => client.post::<_, AccountSummary>("/account/change", request).await?,
            Way::Stopped(mailbox) => {
                let account = mailbox.services().admin().change(request).await;
                mailbox.close().await;
                account.map_err(explain_admin)?
            }
        };
        print(account_text(&account))
    }

    pub(super) async fn remove(self, request: AccountRequest) -> Result<(), Failure> {
        match self.way().await? {
            Way::Running(client) => {
                client.post::<_, AccountRequest>("/account/remove", &request).await?;
            }
            Way::Stopped(mailbox) => {
                let removed = mailbox.services().admin().remove(request).await;
                mailbox.close().await;
                removed.map_err(explain_admin)?;
            }
        }
        print(format_args!("removed account {}\n", request.account))
    }

    /// Without a request it stays.
    pub(super) async fn move_to(self, request: Option<&MoveRequest>) -> Result<(), Failure> {
        let Moved { url, moved_to } = match self.way().await? {
            Way::Running(client) => match request {
                Some(request) => client.post::<_, Moved>("/move", request).await?,
                None => client.post::<_, Moved>("/move/cancel", &()).await?,
            },
            Way::Stopped(mailbox) => {
                let (services, now) = (mailbox.services(), crate::http::now());
                let moved = match request {
                    Some(request) => services.move_to(request, now).await,
                    None => services.stay(now).await,
                };
                mailbox.close().await;
                moved.map_err(explain_admin)?
            }
        };
        let Some(to) = moved_to else {
            return print(format_args!("the server stays at {url} and takes messages again\n"));
        };
        print(format_args!(
            "the server at {url} says from now on that it has moved to {to}, and takes nothing more\n\
             next: stop it, `export` it, `import` it on the other machine and `serve` it there; then `serve` this one again, \
             for two weeks at least, so that everybody finds the new address\n"
        ))
    }

    pub(super) async fn rotate_keys(self) -> Result<(), Failure> {
        let RotatedKeys { kid, former_end } = match self.way().await? {
            Way::Running(client) => client.post::<_, RotatedKeys>("/rotate-keys", &()).await?,
            Way::Stopped(mailbox) => {
                let rotated = mailbox.services().rotate_keys(crate::http::now()).await;
                mailbox.close().await;
                rotated.map_err(explain_admin)?
            }
        };
        print(format_args!(
            "the server has new keys, number {}; the former ones end {former_end}\n",
            number(kid)
        ))
    }

    pub(super) async fn status(self, json: bool) -> Result<(), Failure> {
        let status = match self.way().await? {
            Way::Running(client) => client.get::<Status>("/status").await?,
            Way::Stopped(mailbox) => {
                let status = mailbox.services().status().await;
                mailbox.close().await;
                status.map_err(Failure::failed)?
            }
        };
        if json { print_json(&status) } else { print(status_text(&status)) }
    }

    /// The lock of the basedir decides: who holds it answers, and if nobody does, this process may.
    async fn way(self) -> Result<Way, Failure> {
        let path = self.basedir.path();
        if !self.basedir.is_initialised() {
            return Err(explain(MailboxError::NotInitialised(path.to_owned())));
        }
        if DirLock::holder(path).map_err(Failure::failed)?.is_none() {
            let mailbox = Mailbox::open_stopped(self.basedir, self.settings).await.map_err(explain)?;
            return Ok(Way::Stopped(Box::new(mailbox)));
        }
        let socket = AdminListen::Unix(self.basedir.admin_socket());
        Ok(Way::Running(AdminClient::new(self.settings.admin_listen.unwrap_or(socket))))
    }
}

fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    let line = serde_json::to_string(value).map_err(Failure::failed)?;
    print(format_args!("{line}\n"))
}

fn explain_admin(error: AdminError) -> Failure {
    let hint = match error {
        AdminError::NoSuchAccount => "`accounts` lists the ids",
        AdminError::TooManyKeys(_) => {
            "wait until then: who has not asked for a new address before needs the old keys"
        }
        _ => return Failure::failed(error),
    };
    Failure::failed(error).hint(hint)
}

fn number(kid: Option<TokenKeyId>) -> u32 {
    kid.map_or(0, |kid| kid.0)
}

fn account_text(account: &AccountSummary) -> String {
    let state = match account.state {
        AccountState::Active => "active",
        AccountState::Suspended => "suspended: it takes nothing more",
    };
    let mut text = format!(
        "account   {}\nstate     {state}\nholds     {} bytes of {}, {} messages of {}\nkept      {} days\nsince     {}\n",
        account.id,
        account.used_bytes,
        ByteSize(account.quota_bytes),
        account.messages,
        account.quota_messages,
        account.retention_seconds / (24 * 3_600),
        account.created,
    );
    if let Some(total) = account.provider_total_bytes {
        let given = ByteSize(account.given_bytes);
        text.push_str(&format!("gives     {given} of {} to others\n", ByteSize(total)));
    }
    if account.storage_bytes > 0 {
        text.push_str(&format!("stores    up to {} in packs\n", ByteSize(account.storage_bytes)));
    }
    text.extend(account.given_by.map(|provider| format!("given by  {provider}\n")));
    text.extend(account.notices.iter().map(|notice| format!("notice    {notice}\n")));
    text
}

fn account_line(account: &AccountSummary) -> String {
    format!(
        "{}  {:?}  {} bytes of {}, {} messages, kept {} days, since {}\n",
        account.id,
        account.state,
        account.used_bytes,
        ByteSize(account.quota_bytes),
        account.messages,
        account.retention_seconds / (24 * 3_600),
        account.created,
    )
}

fn status_text(status: &Status) -> String {
    let state = if status.running { "running" } else { "stopped" };
    let kid = number(status.kid);
    let keys = match status.former_keys_end.last() {
        Some(end) => format!("number {kid}; {} earlier ones, until {end}", status.former_keys_end.len()),
        None => format!("number {kid}"),
    };
    let moved = status.moved_to.as_ref();
    let moved = moved.map_or_else(String::new, |url| format!("moved to  {url}: takes nothing more here\n"));
    let pin = status.pin.map_or_else(|| "none".to_owned(), |pin| pin.to_string());
    format!(
        "petmail-mailbox {}, {state}\nurl       {}\n{moved}identity  {}\npin       {pin}\nkeys      {keys}\naccounts  {}\nmessages  {} ({} bytes)\nstreams   {}\nstore     {} bytes on disk, {}\nfiles     {}\n",
        status.version,
        status.url,
        status.identity,
        status.accounts,
        status.messages,
        status.message_bytes,
        status.streams,
        status.store.disk_bytes,
        match status.store {
            QueueStats { healthy: false, .. } => "FAILED: see the log",
            QueueStats { disk_full: true, .. } => "THE DISK IS FULL: nothing new is accepted; make room",
            _ => "healthy",
        },
        status.packs.as_ref().map_or_else(|| "none are kept".to_owned(), packs_text),
    )
}

fn packs_text(status: &PacksStatus) -> String {
    let PacksStatus { packs, charged_bytes, service, problem } = status;
    let place = match (service, problem) {
        (None, _) => String::new(),
        (Some(service), None) => format!(" at {service}"),
        (Some(service), Some(problem)) => format!(
            " at {service}, WHICH CANNOT BE USED: {problem}; nodes try again by themselves once it can"
        ),
    };
    format!("{packs} packs ({charged_bytes} bytes){place}")
}
