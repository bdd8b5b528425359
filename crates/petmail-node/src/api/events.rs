//! The event stream: every change, as Server-Sent Events. A reader that falls behind is told so, and lists anew.

use axum::{
    extract::State,
    response::sse::{self, KeepAlive, Sse},
};
use futures::{Stream, StreamExt};
use tokio_stream::wrappers::{BroadcastStream, errors::BroadcastStreamRecvError};

use super::{Shared, types::Event};

/// Answers with the changes from now on: what happens after the answer's head is sent is in it.
pub(super) async fn events(
    State(shared): State<Shared>,
) -> Sse<impl Stream<Item = Result<sse::Event, axum::Error>>> {
    let changes = BroadcastStream::new(shared.agent.subscribe());
    // A stream of a former life would never end.
    let changes = changes.take_until(shared.life.clone().cancelled_owned());
    let frames = changes.map(|change| match change {
        Ok(event) => frame(&event),
        Err(BroadcastStreamRecvError::Lagged(_)) => frame(&Event::Lagged),
    });
    Sse::new(frames).keep_alive(KeepAlive::default())
}

fn frame(event: &Event) -> Result<sse::Event, axum::Error> {
    sse::Event::default().json_data(event)
}
