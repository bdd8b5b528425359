//! Numbers for monitoring, in Prometheus' text form: the one recorder of the process, and the route that shows it.
//!
//! Programs install the recorder; what is counted before, or in a program that does not, is counted nowhere. No name and
//! no label says who a client is or what was asked for. Source: `docs/operating.md`, "Monitoring".

use std::sync::OnceLock;

pub use metrics::counter;

use axum::{Router, http::header, response::IntoResponse, routing::get};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();

/// The bounds of every histogram of durations: from a request that touches no disk to the default time-out.
const SECONDS: [f64; 13] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 20.0, 90.0];

/// The text form's media type.
const TEXT: [(header::HeaderName, &str); 1] = [(header::CONTENT_TYPE, "text/plain; version=0.0.4")];

/// Installs the recorder of the process, unless that has been done.
///
/// # Panics
/// Never: the bounds of the histograms are fixed.
pub fn install() {
    RECORDER.get_or_init(|| {
        let recorder = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)
            .expect("there are buckets")
            .build_recorder();
        let handle = recorder.handle();
        // Somebody else's recorder has the counts then, and the text stays empty.
        drop(metrics::set_global_recorder(recorder));
        handle
    });
}

/// Routes `GET /metrics`; `refresh` is called before each answer, to set what is not counted as it happens.
pub fn routes<F, R>(refresh: F) -> Router
where
    F: Fn() -> R + Clone + Send + Sync + 'static,
    R: Future<Output = ()> + Send + 'static,
{
    let show = move || async move {
        refresh().await;
        let text = RECORDER.get().map(PrometheusHandle::render).unwrap_or_default();
        (TEXT, text).into_response()
    };
    Router::new().route("/metrics", get(show))
}

/// Adds up what histograms have collected: else that grows for as long as nobody asks.
pub(crate) fn add_up() {
    if let Some(recorder) = RECORDER.get() {
        recorder.run_upkeep();
    }
}

/// Shows `value` as the gauge `name`. Prometheus has floating-point numbers only: beyond 2^53 the last digits are lost.
pub fn set(name: &'static str, value: impl TryInto<u64>) {
    let value = value.try_into().unwrap_or(u64::MAX);
    #[expect(clippy::cast_precision_loss, reason = "as said")]
    metrics::gauge!(name).set(value as f64);
}
