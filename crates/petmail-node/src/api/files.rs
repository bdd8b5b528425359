//! Files that messages bring: `send-file`, `files`, and `file`, whose answer is what is in one.

use std::{
    io::Read,
    path::{Path, PathBuf},
};

use axum::{Json, extract::State, http::header, response::IntoResponse};
use data_encoding::BASE64;
use petmail_proto::channel::file::{FilePacket, InlineFile, MAX_FILE_NAME_BYTES, MAX_INLINE_BYTES};
use serde_json::{Value, json};
use tokio::task::spawn_blocking;

use super::{
    Shared,
    arguments::Arguments,
    problem::Refusal,
    types::{FileRequest, FilesQuery, MessageView, SendFileRequest},
};
use crate::agent::error::{CommandError, Fault};

/// Queues a file for a contact.
pub(super) async fn send(
    State(shared): State<Shared>,
    Arguments(request): Arguments<SendFileRequest>,
) -> Result<Json<MessageView>, Refusal> {
    let (name, content) = match (request.path, request.name, request.content) {
        (Some(path), name, None) => {
            let path = PathBuf::from(path);
            let name = name.or_else(|| Some(path.file_name()?.to_string_lossy().into_owned()));
            let read = spawn_blocking(move || read(&path)).await;
            let content =
                read.map_err(|error| CommandError::new(Fault::Internal, error.to_string(), "try again"))??;
            (name.unwrap_or_default(), content)
        }
        (None, Some(name), Some(content)) => {
            let content = BASE64.decode(content.as_bytes());
            (
                name,
                content.map_err(|error| {
                    refuse(format!("the content is no base64: {error}"), "send the whole file")
                })?,
            )
        }
        _ => return Err(refuse("there is no file", "give a path, or a name with the content").into()),
    };
    if !(1..=MAX_FILE_NAME_BYTES).contains(&name.len()) {
        return Err(
            refuse(format!("the file's name has {} bytes", name.len()), "rename it: 1 to 255 bytes").into()
        );
    }
    let inline = InlineFile::new(content).map_err(|_| too_large())?;
    Ok(Json(shared.agent.send_file(request.cid, &FilePacket { name, inline }).await?))
}

/// Lists files.
pub(super) async fn list(
    State(shared): State<Shared>,
    Arguments(query): Arguments<FilesQuery>,
) -> Result<Json<Value>, Refusal> {
    Ok(Json(json!({ "files": shared.agent.files(query).await? })))
}

/// Answers with what is in a file. It is never said to be anything that a browser would run or show by itself.
pub(super) async fn fetch(
    State(shared): State<Shared>,
    Arguments(request): Arguments<FileRequest>,
) -> Result<impl IntoResponse, Refusal> {
    let content = shared.agent.file(request.id).await?;
    Ok(([(header::CONTENT_TYPE, "application/octet-stream")], content))
}

/// Reads a file of this machine, and one byte more than can be sent at the most.
fn read(path: &Path) -> Result<Vec<u8>, CommandError> {
    let cannot = |error: std::io::Error| {
        refuse(format!("cannot read {}: {error}", path.display()), "name another file")
    };
    if !path.is_absolute() {
        return Err(refuse("the path is not absolute", "the node has another current folder than you"));
    }
    // A pipe or a device may never end, and opening one may wait for ever.
    let is_file = std::fs::metadata(path).map_err(cannot)?.is_file();
    if !is_file {
        return Err(refuse(
            format!("{} is no file", path.display()),
            "folders cannot be sent yet: pack it into one file",
        ));
    }
    let file = std::fs::File::open(path).map_err(cannot)?;
    let mut content = Vec::new();
    file.take(MAX_INLINE_BYTES as u64 + 1).read_to_end(&mut content).map_err(cannot)?;
    Ok(content)
}

fn too_large() -> CommandError {
    let problem =
        format!("the file has more than {} KiB, which is what a message can carry", MAX_INLINE_BYTES / 1024);
    refuse(problem, "larger files need a storage server, which this version cannot use yet")
}

fn refuse(problem: impl Into<String>, hint: &str) -> CommandError {
    CommandError::new(Fault::BadRequest, problem, hint)
}
