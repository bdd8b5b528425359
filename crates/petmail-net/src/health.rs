//! What every server answers to anybody: `/healthz` for monitors, and a page at `/` for people who follow the address.

use axum::{
    Router,
    http::{StatusCode, header},
    response::{Html, IntoResponse},
    routing::get,
};

/// Routes `/healthz` (200 or 503 by `is_healthy`, asked each time) and `/` (a page that says `title` and `text`, which
/// are plain text).
pub fn routes<F>(title: &str, text: &str, is_healthy: F) -> Router
where
    F: Fn() -> bool + Clone + Send + Sync + 'static,
{
    let page = page(title, text);
    let health = move || async move {
        if is_healthy() { (StatusCode::OK, "ok\n") } else { (StatusCode::SERVICE_UNAVAILABLE, "failing\n") }
    };
    let show = move || async move {
        ([(header::CONTENT_SECURITY_POLICY, "default-src 'none'")], Html(page.clone())).into_response()
    };
    Router::new().route("/healthz", get(health)).route("/", get(show))
}

fn page(title: &str, text: &str) -> String {
    let (title, text) = (escape(title), escape(text));
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>{title}</title>\n\
         <h1>{title}</h1>\n<p>{text}</p>\n</html>\n"
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
