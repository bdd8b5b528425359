//! Files: sending them from a path or as what a request carries, listing, fetching, and what is in one.

use std::path::PathBuf;

use axum::{
    Json,
    body::Body,
    extract::State,
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
};
use data_encoding::BASE64;
use futures::StreamExt;
use petmail_proto::channel::file::{MAX_FILE_NAME_BYTES, StoredKind};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::task::spawn_blocking;
use tokio_util::io::ReaderStream;

use super::{
    Shared,
    arguments::Arguments,
    problem::Refusal,
    types::{
        AddServiceRequest, ChangeServiceRequest, ContactView, FetchFileRequest, FetchLimitRequest,
        FileRequest, FileRow, FilesQuery, MessageRequest, NoArguments, RemoveServiceRequest, SendFileRequest,
        ServiceRequest, ServiceView,
    },
};
use crate::agent::{
    error::{CommandError, Fault},
    records::transfers::Target,
    transfers::{Content, KEEP_DAYS, Parcel},
};

/// The header of `upload` that says what is sent: the JSON of an [`UploadHeader`], percent-encoded.
const FILE_HEADER: &str = "petmail-file";

/// The longest time that files are kept, in days.
const MAX_KEEP_DAYS: u32 = 365;

/// How many bytes of an upload are written between two looks at the room on the disk.
const ROOM_EVERY: u64 = 16 << 20;

/// What an uploaded file is.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct UploadHeader {
    cid: u32,
    name: String,
    #[serde(default)]
    keep_days: Option<u32>,
    /// Whether it is a folder: the length of a list u32, its JSON, and the content of all files in its order. The list is an array of
    /// `{path, size?, modified?}`, without `size` a folder.
    #[serde(default)]
    folder: bool,
}

/// Sends a file or folder of this machine, or a small file that the request carries.
pub(super) async fn send(
    State(shared): State<Shared>,
    Arguments(request): Arguments<SendFileRequest>,
) -> Result<Json<FileRow>, Refusal> {
    let SendFileRequest { cid, path, name, content, keep_days } = request;
    let row = match (path, name, content) {
        (Some(path), name, None) => {
            let path = PathBuf::from(path);
            if !path.is_absolute() {
                let hint = "the node has another current folder than you";
                return Err(refuse("the path is not absolute", hint).into());
            }
            let name = name.or_else(|| Some(path.file_name()?.to_string_lossy().into_owned()));
            shared.agent.send_path(parcel(cid, name.unwrap_or_default(), keep_days)?, path).await?
        }
        (None, Some(name), Some(content)) => {
            let content = BASE64.decode(content.as_bytes());
            let content = content.map_err(|error| {
                refuse(format!("the content is no base64: {error}"), "send the whole file")
            })?;
            shared.agent.send_inline(parcel(cid, name, keep_days)?, content).await?
        }
        _ => return Err(refuse("there is no file", "give a path, or a name with the content").into()),
    };
    Ok(Json(row))
}

/// Takes in a file or folder of any size, as the body, and sends it.
pub(super) async fn upload(
    State(shared): State<Shared>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<FileRow>, Refusal> {
    let UploadHeader { cid, name, keep_days, folder } = upload_header(&headers)?;
    let kind = if folder { StoredKind::Folder } else { StoredKind::File };
    let parcel = parcel(cid, name, keep_days)?;
    let (id, mut writer) = shared.agent.begin_spool(cid).await?;
    let (mut bytes, mut looked) = (0_u64, None);
    let mut body = body.into_data_stream();
    while let Some(piece) = body.next().await {
        let piece = piece.map_err(|_| Refusal::Interrupted)?;
        bytes = bytes.saturating_add(piece.len() as u64);
        if looked.replace(bytes / ROOM_EVERY) != Some(bytes / ROOM_EVERY) {
            shared.agent.check_room()?;
        }
        let written = spawn_blocking(move || writer.write(&piece).map(|()| writer)).await;
        writer = written.map_err(|error| failed(&error))?.map_err(|error| failed(&error))?;
    }
    let finished = spawn_blocking(move || writer.finish()).await;
    let size = finished.map_err(|error| failed(&error))?.map_err(|error| failed(&error))?;
    Ok(Json(shared.agent.send_spooled(parcel, id, size, kind).await?))
}

fn upload_header(headers: &HeaderMap) -> Result<UploadHeader, CommandError> {
    let hint =
        "say what it is in the header Petmail-File: {\"cid\": 1, \"name\": \"a.iso\"}, percent-encoded";
    let text = headers.get(FILE_HEADER).and_then(|value| value.to_str().ok());
    let text = text.ok_or_else(|| refuse("it is not said what this file is", hint))?;
    let text = percent_encoding::percent_decode_str(text).decode_utf8_lossy();
    serde_json::from_str(&text)
        .map_err(|error| refuse(format!("it is not said well what this file is: {error}"), hint))
}

fn parcel(cid: u32, name: String, keep_days: Option<u32>) -> Result<Parcel, CommandError> {
    if !(1..=MAX_FILE_NAME_BYTES).contains(&name.len()) {
        let problem = format!("the file's name has {} bytes", name.len());
        return Err(refuse(problem, "rename it: 1 to 255 bytes"));
    }
    let keep_days = keep_days.unwrap_or(KEEP_DAYS);
    if !(1..=MAX_KEEP_DAYS).contains(&keep_days) {
        return Err(refuse("a file cannot be kept that long", "choose 1 to 365 days"));
    }
    Ok(Parcel { cid, name, keep_days })
}

/// Lists files.
pub(super) async fn list(
    State(shared): State<Shared>,
    Arguments(query): Arguments<FilesQuery>,
) -> Result<Json<Value>, Refusal> {
    Ok(Json(json!({ "files": shared.agent.files(query).await? })))
}

/// Begins to fetch a file, or goes on; returns at once.
pub(super) async fn begin_fetch(
    State(shared): State<Shared>,
    Arguments(request): Arguments<FetchFileRequest>,
) -> Result<Json<FileRow>, Refusal> {
    let FetchFileRequest { id, to, mode } = request;
    if mode.is_some_and(|mode| mode & !0o666 != 0) {
        return Err(refuse("these are no permissions for a file", "choose some of 0o666").into());
    }
    let target = to.map(target).transpose()?;
    Ok(Json(shared.agent.fetch_file(id, target, mode).await?))
}

fn target(to: String) -> Result<Target, CommandError> {
    let path = PathBuf::from(&to);
    if !path.is_absolute() {
        return Err(refuse("the path is not absolute", "the node has another current folder than you"));
    }
    if path.is_dir() {
        return Ok(Target::Folder(to));
    }
    if std::fs::symlink_metadata(&path).is_ok() {
        return Err(refuse(format!("{to} is there already"), "name another file, or a folder"));
    }
    match path.parent() {
        Some(parent) if parent.is_dir() => Ok(Target::Exactly(to)),
        _ => Err(refuse(format!("there is no folder for {to}"), "make it, or name another")),
    }
}

/// Stops a transfer for now.
pub(super) async fn pause(
    State(shared): State<Shared>,
    Arguments(request): Arguments<MessageRequest>,
) -> Result<Json<FileRow>, Refusal> {
    Ok(Json(shared.agent.pause_file(request.id).await?))
}

/// Lets a transfer that was stopped, or has failed, go on.
pub(super) async fn resume(
    State(shared): State<Shared>,
    Arguments(request): Arguments<MessageRequest>,
) -> Result<Json<FileRow>, Refusal> {
    Ok(Json(shared.agent.resume_file(request.id).await?))
}

/// Gives a transfer up.
pub(super) async fn cancel(
    State(shared): State<Shared>,
    Arguments(request): Arguments<MessageRequest>,
) -> Result<Json<Value>, Refusal> {
    shared.agent.cancel_file(request.id).await?;
    Ok(Json(json!({ "id": request.id })))
}

/// Takes a sent file away from its storage server.
pub(super) async fn revoke(
    State(shared): State<Shared>,
    Arguments(request): Arguments<MessageRequest>,
) -> Result<Json<FileRow>, Refusal> {
    Ok(Json(shared.agent.revoke_file(request.id).await?))
}

/// Says what storage servers keep for this node.
pub(super) async fn storage(
    State(shared): State<Shared>,
    _: Arguments<NoArguments>,
) -> Result<Json<Value>, Refusal> {
    let (storage, services) = (shared.agent.storage().await, shared.agent.service_views().await?);
    Ok(Json(json!({ "storage": storage, "services": services })))
}

/// Tries a service out, and keeps it.
pub(super) async fn add_service(
    State(shared): State<Shared>,
    Arguments(request): Arguments<AddServiceRequest>,
) -> Result<Json<ServiceView>, Refusal> {
    Ok(Json(shared.agent.add_service(request).await?))
}

/// Tries a service out with another account, and keeps that.
pub(super) async fn change_service(
    State(shared): State<Shared>,
    Arguments(request): Arguments<ChangeServiceRequest>,
) -> Result<Json<ServiceView>, Refusal> {
    Ok(Json(shared.agent.change_service(request).await?))
}

/// Tries a service out again.
pub(super) async fn test_service(
    State(shared): State<Shared>,
    Arguments(request): Arguments<ServiceRequest>,
) -> Result<Json<ServiceView>, Refusal> {
    Ok(Json(shared.agent.test_service(request.id).await?))
}

/// Forgets a service.
pub(super) async fn remove_service(
    State(shared): State<Shared>,
    Arguments(request): Arguments<RemoveServiceRequest>,
) -> Result<Json<Value>, Refusal> {
    shared.agent.remove_service(request.id, request.force).await?;
    Ok(Json(json!({ "id": request.id })))
}

/// Chooses up to which size a contact's files are fetched without asking.
pub(super) async fn set_fetch_limit(
    State(shared): State<Shared>,
    Arguments(request): Arguments<FetchLimitRequest>,
) -> Result<Json<ContactView>, Refusal> {
    Ok(Json(shared.agent.set_fetch_limit(request.cid, request.bytes).await?))
}

/// Answers with what is in a file. It is never said to be anything that a browser would run or show by itself.
pub(super) async fn fetch(
    State(shared): State<Shared>,
    Arguments(request): Arguments<FileRequest>,
) -> Result<Response, Refusal> {
    let octets = (header::CONTENT_TYPE, "application/octet-stream".to_owned());
    match shared.agent.file(request.id).await? {
        Content::Inline(content) => Ok(([octets], content).into_response()),
        Content::Saved(path) => {
            let gone = |error: std::io::Error| {
                let problem = format!("cannot read {}: {error}", path.display());
                CommandError::new(
                    Fault::Conflict,
                    problem,
                    "it was moved or deleted after it was saved; save-file fetches it again",
                )
            };
            let file = tokio::fs::File::open(&path).await.map_err(gone)?;
            let metadata = file.metadata().await.map_err(gone)?;
            if !metadata.is_file() {
                return Err(CommandError::new(
                    Fault::Conflict,
                    format!("{} is a folder", path.display()),
                    "open it where it is",
                )
                .into());
            }
            let headers = [octets, (header::CONTENT_LENGTH, metadata.len().to_string())];
            Ok((headers, Body::from_stream(ReaderStream::new(file))).into_response())
        }
    }
}

fn refuse(problem: impl Into<String>, hint: &str) -> CommandError {
    CommandError::new(Fault::BadRequest, problem, hint)
}

fn failed(error: &dyn std::fmt::Display) -> CommandError {
    CommandError::new(
        Fault::Internal,
        format!("cannot keep the file until it is sent: {error}"),
        "check the disk",
    )
}
