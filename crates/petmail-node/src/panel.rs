//! The control panel's files: the page that a browser shows, embedded in the program.
//!
//! Knows nothing of what the page does: it uses the control API like everybody else. A debug build reads the files from the
//! source tree, so that an edit needs no build.

use axum::{
    extract::Path,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use rust_embed::RustEmbed;

/// What the page may do: run its own scripts and styles, talk to its own node, show pictures that it has made itself, and
/// nothing else. No text can become markup or script.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    img-src 'self' data: blob:; media-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

#[derive(RustEmbed)]
#[folder = "panel/"]
struct Files;

/// Answers with the page itself.
pub(crate) async fn index() -> Response {
    file("index.html")
}

/// Answers with one of the page's other files.
pub(crate) async fn asset(Path(path): Path<String>) -> Response {
    file(&path)
}

fn file(path: &str) -> Response {
    let Some(file) = Files::get(path) else {
        return (StatusCode::NOT_FOUND, "there is no such file\n").into_response();
    };
    let headers = [
        (header::CONTENT_TYPE, content_type(file.metadata.mimetype())),
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY.to_owned()),
    ];
    (headers, file.data).into_response()
}

/// All texts among the files are UTF-8; a script's type is that of RFC 9239.
fn content_type(media_type: &str) -> String {
    let media_type = if media_type.ends_with("/javascript") { "text/javascript" } else { media_type };
    if media_type.starts_with("text/") {
        format!("{media_type}; charset=utf-8")
    } else {
        media_type.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;
    use sha2::{Digest, Sha256};

    use super::*;

    #[test]
    fn every_file_has_a_type_that_browsers_take() {
        let mut scripts = 0;
        for path in Files::iter() {
            let response = file(&path);
            let media_type = response.headers()[header::CONTENT_TYPE].to_str().unwrap();
            let expected = match path.rsplit_once('.').map(|(_, extension)| extension) {
                Some("html") => "text/html; charset=utf-8",
                Some("mjs") => "text/javascript; charset=utf-8",
                Some("css") => "text/css; charset=utf-8",
                Some("svg") => "image/svg+xml",
                _ => continue,
            };
            scripts += usize::from(path.ends_with(".mjs"));
            assert_eq!(media_type, expected, "{path}");
        }
        assert!(scripts > 0);
    }

    #[test]
    fn nothing_outside_the_folder_is_served() {
        for path in ["", "../Cargo.toml", "/etc/passwd", "vendor/../../Cargo.toml", "no-such-file"] {
            assert_eq!(file(path).status(), StatusCode::NOT_FOUND, "{path}");
        }
    }

    #[test]
    fn libraries_of_others_are_as_they_were_taken() {
        let listed = Files::get("vendor/SHA256SUMS").unwrap();
        let listed = std::str::from_utf8(&listed.data).unwrap().lines();
        let listed: Vec<_> = listed.map(|line| line.split_once("  ").unwrap()).collect();
        for (sum, name) in &listed {
            let file = Files::get(&format!("vendor/{name}")).unwrap();
            assert_eq!(HEXLOWER.encode(&Sha256::digest(&file.data)), *sum, "{name}");
        }
        for path in Files::iter().filter(|path| path.starts_with("vendor/") && path.ends_with(".mjs")) {
            assert!(listed.iter().any(|(_, name)| path.ends_with(name)), "{path} has no checksum");
        }
    }
}
