//! What the tests read from an OpenAPI file, to compare it with the routes.

use std::collections::BTreeSet;

use axum::routing::MethodRouter;
use serde_json::Value;

/// Returns the paths that a file describes.
pub(super) fn paths(file: &str) -> BTreeSet<String> {
    let described: Value = serde_json::from_str(file).unwrap();
    described["paths"].as_object().unwrap().keys().cloned().collect()
}

/// Returns every status that a file describes.
pub(super) fn statuses(file: &str) -> BTreeSet<u16> {
    let described: Value = serde_json::from_str(file).unwrap();
    let operations =
        described["paths"].as_object().unwrap().values().flat_map(|path| path.as_object().unwrap());
    let responses = operations.flat_map(|(_, operation)| operation["responses"].as_object().unwrap());
    responses.map(|(status, _)| status.parse().unwrap()).collect()
}

/// Returns the paths of routes.
pub(super) fn routed<S>(routes: &[(&'static str, MethodRouter<S>)]) -> BTreeSet<String> {
    routes.iter().map(|(path, _)| (*path).to_owned()).collect()
}
