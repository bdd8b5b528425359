//! Codes and QR codes: help for typing, showing and reading them. Nothing here asks a server.

use axum::Json;
use data_encoding::BASE64;
use petmail_proto::invitation::words;
use serde_json::{Value, json};
use tokio::task::spawn_blocking;

use super::{
    arguments::Arguments,
    problem::Refusal,
    types::{CodeRequest, CodeView, NoArguments, QrReadRequest, QrRequest},
};
use crate::{
    agent::error::{CommandError, Fault},
    qr, spelling,
};

type Answer<T> = Result<Json<T>, Refusal>;

/// Lists the words of codes, in the order of their turns.
pub(super) async fn list_words(_: Arguments<NoArguments>) -> Json<Value> {
    Json(json!({ "odd": words::list_at(0).as_slice(), "even": words::list_at(1).as_slice() }))
}

/// Looks at a code before it is used up.
pub(super) async fn check_code(Arguments(request): Arguments<CodeRequest>) -> Answer<CodeView> {
    let checked = spelling::check(&request.code);
    Ok(Json(checked.map_err(|error| {
        refuse(error.to_string(), "a code is a number and words: 4-vocalist-glucose-onlooker")
    })?))
}

/// Draws a QR code.
pub(super) async fn draw_qr(Arguments(request): Arguments<QrRequest>) -> Answer<Value> {
    if !(1..=qr::MAX_TEXT_BYTES).contains(&request.text.len()) {
        return Err(refuse("the text is empty or too long for a QR code", "1 to 1,000 bytes"));
    }
    let rows = qr::draw(&request.text).map_err(|error| refuse(error.to_string(), "show it as text"))?;
    Ok(Json(json!({ "size": rows.len(), "rows": rows })))
}

/// Reads the QR codes of a picture.
pub(super) async fn read_qr(Arguments(request): Arguments<QrReadRequest>) -> Answer<Value> {
    let QrReadRequest { width, height, luma } = request;
    let luma = BASE64.decode(luma.as_bytes()).unwrap_or_default();
    let is_side = |side: usize| (1..=qr::MAX_SIDE).contains(&side);
    if !is_side(width) || !is_side(height) || width.checked_mul(height) != Some(luma.len()) {
        return Err(refuse(
            "the picture's size and its pixels do not agree",
            "a byte of brightness for each pixel, in base64; sides of 1 to 1,024 pixels",
        ));
    }
    // Searching a picture takes a while, and is somebody else's code on somebody's data: a panic there ends here.
    let texts = spawn_blocking(move || qr::read(width, height, &luma)).await.unwrap_or_default();
    Ok(Json(json!({ "texts": texts })))
}

fn refuse(problem: impl Into<String>, hint: &str) -> Refusal {
    CommandError::new(Fault::BadRequest, problem, hint).into()
}
