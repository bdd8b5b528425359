//! `unlock`, `passphrase/set`, `passphrase/remove`: what protects the node when its computer is in other hands.

use axum::{Json, extract::State};
use petmail_proto::at_rest::Passphrase;
use serde_json::{Value, json};
use tokio::{sync::Mutex, task::spawn_blocking};

use super::{
    Desk, Shared,
    arguments::Arguments,
    lives::Order,
    problem::Refusal,
    types::{PassphraseChange, PassphraseRequest, SecretText},
};
use crate::{
    agent::error::{CommandError, Fault},
    basedir::Basedir,
    vault::{self, LockedVault, Vault, VaultError},
};

type Answer = Result<Json<Value>, Refusal>;

/// One guess at a time: each takes 64 MiB.
static UNLOCKING: Mutex<()> = Mutex::const_new(());

/// Opens a locked node.
pub(super) async fn unlock(
    State(desk): State<Desk>,
    Arguments(request): Arguments<PassphraseRequest>,
) -> Answer {
    let passphrase = checked(request.passphrase)?;
    let vault = opened(&desk.basedir, passphrase).await?.ok_or_else(none)?;
    desk.orders.give(Order::Unlock(vault)).await?;
    Ok(Json(json!({ "locked": false })))
}

/// Encrypts the node, or changes its passphrase.
pub(super) async fn set(
    State(shared): State<Shared>,
    Arguments(change): Arguments<PassphraseChange>,
) -> Answer {
    let new = checked(change.new_passphrase)?;
    let basedir = &shared.desk.basedir;
    match change.passphrase.map(checked).transpose()? {
        None if shared.agent.is_encrypted() => {
            let problem = "the node has a passphrase already";
            return Err(CommandError::new(Fault::Conflict, problem, "say that one as well").into());
        }
        None => shared.desk.orders.give(Order::Encrypt(new)).await?,
        Some(old) => {
            let vault = opened(basedir, old).await?.ok_or_else(none)?;
            let basedir = basedir.clone();
            let changed = spawn_blocking(move || vault::change(&basedir, &vault, &new)).await;
            changed.map_err(|error| internal(&error.into()))?.map_err(|error| internal(&error))?;
        }
    }
    Ok(Json(json!({ "encrypted": true })))
}

/// Decrypts the node.
pub(super) async fn remove(
    State(shared): State<Shared>,
    Arguments(request): Arguments<PassphraseRequest>,
) -> Answer {
    let passphrase = checked(request.passphrase)?;
    opened(&shared.desk.basedir, passphrase).await?.ok_or_else(none)?;
    shared.desk.orders.give(Order::Decrypt).await?;
    Ok(Json(json!({ "encrypted": false })))
}

/// Takes a passphrase out of a request.
pub(super) fn checked(text: SecretText) -> Result<Passphrase, CommandError> {
    Passphrase::new(text.into_text())
        .map_err(|error| CommandError::new(Fault::BadRequest, error.to_string(), "choose another one"))
}

/// Opens the vault of the node in `basedir`; none if it has none.
async fn opened(basedir: &Basedir, passphrase: Passphrase) -> Result<Option<Vault>, CommandError> {
    let _one_at_a_time = UNLOCKING.lock().await;
    let basedir = basedir.clone();
    let unlock = move || match LockedVault::find(&basedir)? {
        Some(locked) => locked.unlock(&passphrase).map(Some),
        None => Ok(None),
    };
    let opened = spawn_blocking(unlock).await.map_err(|error| internal(&error.into()))?;
    opened.map_err(|error| match error {
        VaultError::WrongPassphrase => {
            CommandError::new(Fault::Conflict, error.to_string(), "type it again; nothing was changed")
        }
        error => internal(&error.into()),
    })
}

fn none() -> CommandError {
    CommandError::new(Fault::Conflict, "the node has no passphrase", "nothing was changed")
}

fn internal(error: &anyhow::Error) -> CommandError {
    CommandError::new(Fault::Internal, format!("{error:#}"), "mend what is named, then try again")
}
