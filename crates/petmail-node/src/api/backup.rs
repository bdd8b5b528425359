//! `backup`, whose answer is a file, and `restore`, which takes one: first the file, then its passphrase.

use std::io::{BufReader, Seek};

use axum::{
    Json,
    body::Body,
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use futures::StreamExt;
use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt, task::spawn_blocking};
use tokio_util::io::ReaderStream;

use super::{
    Shared, arguments::Arguments, lives::Order, passphrase::checked, problem::Refusal,
    types::PassphraseRequest,
};
use crate::{
    agent::error::{CommandError, Fault},
    backup::{BackupError, BackupReader},
};

/// How many bytes of an upload are written between two looks at the room on the disk.
const ROOM_EVERY: u64 = 4 * 1024 * 1024;

/// Answers with an encrypted file of a declared length, so that a reader notices if it breaks off.
pub(super) async fn backup(
    State(shared): State<Shared>,
    Arguments(request): Arguments<PassphraseRequest>,
) -> Result<Response, Refusal> {
    let passphrase = checked(request.passphrase)?;
    let file = shared.agent.back_up(&shared.desk.basedir, passphrase).await?;
    let length = file.metadata().map_err(|error| failed(&error))?.len();
    tracing::info!(bytes = length, "a backup was made");
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
        (header::CONTENT_LENGTH, length.to_string()),
    ];
    let body = Body::from_stream(ReaderStream::new(tokio::fs::File::from_std(file)));
    Ok((headers, body).into_response())
}

/// Takes the file of a backup, in place of one that was taken before. It has no name, and goes with the process.
pub(super) async fn upload(State(shared): State<Shared>, body: Body) -> Result<Json<Value>, Refusal> {
    shared.agent.refuse_unless_blank().await?;
    let file = shared.desk.basedir.nameless_file().map_err(|error| failed(&error))?;
    let mut file = tokio::fs::File::from_std(file);
    let (mut bytes, mut looked) = (0, None);
    let mut body = body.into_data_stream();
    while let Some(piece) = body.next().await {
        let piece = piece.map_err(|_| Refusal::Interrupted)?;
        if looked.replace(bytes / ROOM_EVERY) != Some(bytes / ROOM_EVERY) {
            shared.agent.check_room()?;
        }
        file.write_all(&piece).await.map_err(|error| failed(&error))?;
        bytes += piece.len() as u64;
    }
    file.flush().await.map_err(|error| failed(&error))?;
    *shared.upload.lock().await = Some(file.into_std().await);
    Ok(Json(json!({ "bytes": bytes })))
}

/// Puts the backup that was uploaded in place of the node's database, which has nothing yet.
pub(super) async fn restore(
    State(shared): State<Shared>,
    Arguments(request): Arguments<PassphraseRequest>,
) -> Result<Json<Value>, Refusal> {
    let passphrase = checked(request.passphrase)?;
    shared.agent.refuse_unless_blank().await?;
    let upload = shared.upload.lock().await;
    let Some(file) = upload.as_ref() else {
        return Err(CommandError::new(
            Fault::Conflict,
            "no backup has been uploaded",
            "choose its file first",
        )
        .into());
    };
    let mut file = file.try_clone().map_err(|error| failed(&error))?;
    let opened = spawn_blocking(move || {
        file.rewind()?;
        BackupReader::open(BufReader::new(file), &passphrase)
    });
    let backup = opened.await.map_err(|error| failed(&error))?.map_err(|error| refuse(&error))?;
    shared.desk.orders.give(Order::Restore(backup)).await?;
    Ok(Json(json!({ "restored": true })))
}

fn refuse(error: &BackupError) -> CommandError {
    let hint = match error {
        BackupError::Passphrase(_) => "type it again; nothing was changed",
        _ => "choose another file; nothing was changed",
    };
    CommandError::new(Fault::Conflict, format!("this backup cannot be restored: {error}"), hint)
}

fn failed(error: &dyn std::fmt::Display) -> CommandError {
    CommandError::new(Fault::Internal, format!("cannot read or write the backup: {error}"), "check the disk")
}
