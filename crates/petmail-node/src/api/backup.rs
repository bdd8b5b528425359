//! `backup`: the one answer that is no JSON, but a file.

use axum::{
    body::Body,
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use petmail_proto::at_rest::Passphrase;
use tokio_util::io::ReaderStream;

use super::{Shared, arguments::Arguments, problem::Refusal, types::BackupRequest};
use crate::agent::error::{CommandError, Fault};

/// Answers with an encrypted file of a declared length, so that a reader notices if it breaks off.
pub(super) async fn backup(
    State(shared): State<Shared>,
    Arguments(request): Arguments<BackupRequest>,
) -> Result<Response, Refusal> {
    let passphrase = Passphrase::new(request.into_passphrase())
        .map_err(|error| CommandError::new(Fault::BadRequest, error.to_string(), "choose another one"))?;
    let file = shared.agent.back_up(&shared.basedir, passphrase).await?;
    let length = file.metadata().map_err(|error| unreadable(&error))?.len();
    tracing::info!(bytes = length, "a backup was made");
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
        (header::CONTENT_LENGTH, length.to_string()),
    ];
    let body = Body::from_stream(ReaderStream::new(tokio::fs::File::from_std(file)));
    Ok((headers, body).into_response())
}

fn unreadable(error: &std::io::Error) -> CommandError {
    CommandError::new(Fault::Internal, format!("cannot read the backup: {error}"), "check the disk")
}
