//! What the owner has chosen, and can change while the node runs: kept in `config.toml`, whose comments stay.

use axum::{Json, extract::State, http::header, response::IntoResponse};
use data_encoding::BASE64;
use petmail_proto::channel::profile::Picture;
use tokio::{sync::Mutex, task::spawn_blocking};

use super::{
    Shared,
    arguments::Arguments,
    problem::Refusal,
    types::{Event, NoArguments, PictureChange, PictureRequest, SettingsChange, SettingsView},
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
    Ok(Json(view(&shared, config).await))
}

/// Changes what is named: first the file, then the running node.
pub(super) async fn set(
    State(shared): State<Shared>,
    Arguments(change): Arguments<SettingsChange>,
) -> Answer<SettingsView> {
    let changing = CHANGING.lock().await;
    let basedir = shared.desk.basedir.clone();
    let config = blocking(move || config::change(&basedir.config_file(), &change)).await?;
    shared.agent.choose(&config).await?;
    drop(changing);
    let view = view(&shared, config).await;
    shared.agent.publish_event(Event::Settings(view.clone()));
    Ok(Json(view))
}

/// Takes a picture of the owner for all contacts, or takes it away.
pub(super) async fn set_picture(
    State(shared): State<Shared>,
    Arguments(request): Arguments<PictureChange>,
) -> Answer<SettingsView> {
    let refuse = |problem: String| CommandError::new(Fault::BadRequest, problem, "choose another picture");
    let picture = match request.picture {
        Some(text) => {
            let bytes = BASE64.decode(text.as_bytes());
            let bytes = bytes.map_err(|error| refuse(format!("the picture is no base64: {error}")))?;
            Some(Picture::parse(bytes).map_err(|error| refuse(error.to_string()))?)
        }
        None => None,
    };
    shared.agent.set_picture(picture).await?;
    let Json(view) = show(State(shared.clone()), Arguments(NoArguments {})).await?;
    shared.agent.publish_event(Event::Settings(view.clone()));
    Ok(Json(view))
}

/// Answers with a picture: a contact's, or, without one, the owner's.
pub(super) async fn picture(
    State(shared): State<Shared>,
    Arguments(request): Arguments<PictureRequest>,
) -> Result<impl IntoResponse, Refusal> {
    let picture = match request.cid {
        Some(cid) => shared.agent.picture_of(cid).await?,
        None => shared.agent.own_picture().await,
    };
    let none = || CommandError::new(Fault::NotFound, "there is no such picture", "");
    let picture = picture.ok_or_else(none)?;
    Ok(([(header::CONTENT_TYPE, picture.media_type())], picture.bytes().to_vec()))
}

async fn view(shared: &Shared, config: Config) -> SettingsView {
    SettingsView {
        display_name: config.name,
        picture: shared.agent.own_picture().await.map(|picture| picture.id()),
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
