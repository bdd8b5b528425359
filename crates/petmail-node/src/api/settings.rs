//! What the owner has chosen, and can change while the node runs: kept in `config.toml`, whose comments stay.

use axum::{Json, extract::State};
use tokio::{sync::Mutex, task::spawn_blocking};

use super::{
    Shared,
    arguments::Arguments,
    problem::Refusal,
    types::{Event, NoArguments, SettingsChange, SettingsView},
};
use crate::{
    agent::error::{CommandError, Fault},
    config::{self, Config},
};

type Answer<T> = Result<Json<T>, Refusal>;

/// One change at a time: each reads the file and writes it anew.
static CHANGING: Mutex<()> = Mutex::const_new(());

/// Shows what is chosen.
pub(super) async fn show(State(shared): State<Shared>, _: Arguments<NoArguments>) -> Answer<SettingsView> {
    let basedir = shared.desk.basedir.clone();
    let config = blocking(move || Config::load(&basedir.config_file())).await?;
    Ok(Json(view(&shared, config)))
}

/// Changes what is named: first the file, then the running node.
pub(super) async fn set(
    State(shared): State<Shared>,
    Arguments(change): Arguments<SettingsChange>,
) -> Answer<SettingsView> {
    let changing = CHANGING.lock().await;
    let basedir = shared.desk.basedir.clone();
    let config = blocking(move || config::change(&basedir.config_file(), &change)).await?;
    shared.agent.choose(&config).await;
    drop(changing);
    let view = view(&shared, config);
    shared.agent.publish_event(Event::Settings(view.clone()));
    Ok(Json(view))
}

fn view(shared: &Shared, config: Config) -> SettingsView {
    SettingsView {
        display_name: config.name,
        privacy: config.privacy,
        read_receipts: config.read_receipts,
        copies_everywhere: config.copies_everywhere,
        rendezvous: config.rendezvous,
        encrypted: shared.agent.is_encrypted(),
        basedir: shared.desk.basedir.path().display().to_string(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

async fn blocking<T, E>(work: impl FnOnce() -> Result<T, E> + Send + 'static) -> Result<T, Refusal>
where
    T: Send + 'static,
    E: Into<config::ChangeError> + Send + 'static,
{
    let done = spawn_blocking(move || work().map_err(Into::into)).await;
    let failed = |problem: String| {
        CommandError::new(Fault::Internal, problem, "look at config.toml in the node's folder")
    };
    match done {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(config::ChangeError::Value(error))) => {
            Err(CommandError::new(Fault::BadRequest, error.to_string(), "choose another value").into())
        }
        Ok(Err(error)) => Err(failed(error.to_string()).into()),
        Err(error) => Err(failed(error.to_string()).into()),
    }
}
