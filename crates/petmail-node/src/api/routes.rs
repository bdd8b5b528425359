//! The routes: one for each command, named like it. A handler checks names and texts, asks the agent, and wraps the
//! answer; whatever decides more than that belongs to the agent.

use axum::{
    Extension, Json, Router,
    extract::State,
    http::{HeaderMap, header},
    response::IntoResponse,
    routing::{MethodRouter, any, get, post},
};
use petmail_net::address::ClientAddr;
use rand_core::OsRng;
use serde_json::{Value, json};

use super::{
    Desk, Shared,
    arguments::Arguments,
    backup::{backup, restore, upload},
    check::{check_draft, check_petname, check_search, check_text},
    codes,
    events::events,
    files, opener, passphrase,
    problem::Refusal,
    settings,
    types::{
        AcceptMailboxRequest, CancelRequest, ContactRequest, ContactView, Direction, Draft, FetchQuery,
        FindMessageRequest, InvitationView, InviteRequest, MailboxRequest, MailboxView, MessageQuery,
        MessageRequest, MessageView, NoArguments, OfferMailboxRequest, OpenView, OpenerRequest,
        PassphraseRequest, RenameRequest, ResetKeysRequest, ResetKeysView, SearchRequest, SendRequest,
        StatusView,
    },
};
use crate::{
    agent::error::{CommandError, Fault},
    panel,
};

/// The description of the API for programs.
const OPENAPI: &str = include_str!("openapi.json");

type Answer<T> = Result<Json<T>, Refusal>;

/// What is there whatever the node is doing.
fn always() -> [(&'static str, MethodRouter<Desk>); 4] {
    [
        ("/api/openapi.json", get(openapi)),
        ("/api/open", post(trade_opener)),
        ("/api/v1/open", post(make_opener)),
        ("/api/v1/stop", post(stop)),
    ]
}

/// What is there while the node runs. `openapi.json` describes these and the others.
fn routes() -> [(&'static str, MethodRouter<Shared>); 58] {
    [
        ("/api/v1/unlock", post(not_locked)),
        ("/api/v1/status", post(status)),
        ("/api/v1/doctor", post(doctor)),
        ("/api/v1/invite", post(invite)),
        ("/api/v1/invitations", post(invitations)),
        ("/api/v1/cancel-invitation", post(cancel_invitation)),
        ("/api/v1/forget-invitation", post(forget_invitation)),
        ("/api/v1/accept-mailbox", post(accept_mailbox)),
        ("/api/v1/offer-mailbox", post(offer_mailbox)),
        ("/api/v1/mailboxes", post(mailboxes)),
        ("/api/v1/mailbox/remove", post(remove_mailbox)),
        ("/api/v1/addressbook", post(addressbook)),
        ("/api/v1/contact/rename", post(rename_contact)),
        ("/api/v1/contact/verify", post(verify_contact)),
        ("/api/v1/contact/block", post(block_contact)),
        ("/api/v1/contact/unblock", post(unblock_contact)),
        ("/api/v1/contact/accept-mailbox", post(accept_offered)),
        ("/api/v1/contact/fetch-limit", post(files::set_fetch_limit)),
        ("/api/v1/contact/remove", post(remove_contact)),
        ("/api/v1/reset-keys", post(reset_keys)),
        ("/api/v1/rooms", post(rooms)),
        ("/api/v1/search", post(search)),
        ("/api/v1/find-message", post(find_message)),
        ("/api/v1/draft", post(keep_draft)),
        ("/api/v1/send-basic", post(send_basic)),
        ("/api/v1/send-file", post(files::send)),
        ("/api/v1/upload", post(files::upload)),
        ("/api/v1/files", post(files::list)),
        ("/api/v1/file", post(files::fetch)),
        ("/api/v1/fetch-file", post(files::begin_fetch)),
        ("/api/v1/pause-file", post(files::pause)),
        ("/api/v1/resume-file", post(files::resume)),
        ("/api/v1/cancel-file", post(files::cancel)),
        ("/api/v1/revoke-file", post(files::revoke)),
        ("/api/v1/storage", post(files::storage)),
        ("/api/v1/storage/add", post(files::add_service)),
        ("/api/v1/storage/change", post(files::change_service)),
        ("/api/v1/storage/test", post(files::test_service)),
        ("/api/v1/storage/remove", post(files::remove_service)),
        ("/api/v1/fetch-messages", post(fetch_messages)),
        ("/api/v1/messages", post(messages)),
        ("/api/v1/retry", post(retry)),
        ("/api/v1/cancel", post(cancel)),
        ("/api/v1/mark-read", post(mark_read)),
        ("/api/v1/events", get(events).post(events)),
        ("/api/v1/backup", post(backup)),
        ("/api/v1/restore/upload", post(upload)),
        ("/api/v1/restore", post(restore)),
        ("/api/v1/passphrase/set", post(passphrase::set)),
        ("/api/v1/passphrase/remove", post(passphrase::remove)),
        ("/api/v1/settings", post(settings::show)),
        ("/api/v1/settings/set", post(settings::set)),
        ("/api/v1/settings/picture", post(settings::set_picture)),
        ("/api/v1/picture", post(settings::picture)),
        ("/api/v1/words", post(codes::list_words)),
        ("/api/v1/check-code", post(codes::check_code)),
        ("/api/v1/qr", post(codes::draw_qr)),
        ("/api/v1/qr/read", post(codes::read_qr)),
    ]
}

/// What a running node answers with.
pub(super) fn open(shared: Shared) -> Router {
    let desk = shared.desk.clone();
    let running =
        routes().into_iter().fold(Router::new(), |router, (path, method)| router.route(path, method));
    complete(desk, running.with_state(shared))
}

/// What a node that waits for its passphrase answers with.
pub(super) fn locked(desk: Desk, display_name: &str) -> Router {
    let status = StatusView {
        baseurl: desk.base_url.as_ref().to_owned(),
        ..StatusView::locked(display_name.to_owned())
    };
    let locked = refusing(Refusal::Locked, |path| match path {
        "/api/v1/status" => Some(say(status.clone())),
        "/api/v1/unlock" => Some(post(passphrase::unlock)),
        _ => None,
    });
    complete(desk.clone(), locked.with_state(desk))
}

/// What a node answers with while its database is written anew.
pub(super) fn closed(desk: Desk) -> Router {
    complete(desk.clone(), refusing(Refusal::Busy, |_| None).with_state(desk))
}

/// Always answers the same.
fn say(status: StatusView) -> MethodRouter<Desk> {
    post(move |_: Arguments<NoArguments>| async { Json(status) })
}

/// Refuses everything that a running node does, with exceptions.
fn refusing(refusal: Refusal, except: impl Fn(&str) -> Option<MethodRouter<Desk>>) -> Router<Desk> {
    routes().into_iter().fold(Router::new(), |router, (path, _)| {
        let refusal = refusal.clone();
        router.route(path, except(path).unwrap_or_else(|| any(async move || refusal)))
    })
}

/// Adds what is always there, and answers to what is nowhere.
fn complete(desk: Desk, router: Router) -> Router {
    let always =
        always().into_iter().fold(Router::new(), |router, (path, method)| router.route(path, method));
    always
        .with_state(desk)
        .merge(router)
        .route("/", get(panel::index))
        .route("/panel/{*path}", get(panel::asset))
        .fallback(async || Refusal::NoSuchEndpoint)
        .method_not_allowed_fallback(async || Refusal::WrongMethod)
}

async fn openapi() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], OPENAPI)
}

/// Gives the access token to the control panel's page. Whoever asks without an `Origin` is no page.
async fn trade_opener(
    State(desk): State<Desk>,
    Extension(client): Extension<ClientAddr>,
    headers: HeaderMap,
    Arguments(request): Arguments<OpenerRequest>,
) -> Answer<Value> {
    let from_page = headers.contains_key(header::ORIGIN) && opener::is_own_user(client, desk.port);
    if !from_page || !desk.openers.redeem(&request.opener) {
        return Err(Refusal::OpenerRefused);
    }
    Ok(Json(json!({ "token": desk.token.expose_text() })))
}

async fn make_opener(State(desk): State<Desk>, _: Arguments<NoArguments>) -> Json<OpenView> {
    let opener = desk.openers.make(&mut OsRng);
    Json(OpenView { url: format!("{}/#open={}", desk.base_url, *opener) })
}

async fn status(State(shared): State<Shared>, _: Arguments<NoArguments>) -> Json<StatusView> {
    let status = shared.agent.status().await;
    Json(StatusView { baseurl: shared.desk.base_url.as_ref().to_owned(), ..status })
}

async fn doctor(State(shared): State<Shared>, _: Arguments<NoArguments>) -> Json<Value> {
    Json(json!({ "checks": shared.agent.doctor().await }))
}

async fn invite(
    State(shared): State<Shared>,
    Arguments(request): Arguments<InviteRequest>,
) -> Answer<InvitationView> {
    if let Some(petname) = &request.petname {
        check_petname(petname)?;
    }
    Ok(Json(shared.agent.invite(request).await?))
}

async fn invitations(State(shared): State<Shared>, _: Arguments<NoArguments>) -> Json<Value> {
    Json(json!({ "invitations": shared.agent.invitations().await }))
}

async fn cancel_invitation(
    State(shared): State<Shared>,
    Arguments(request): Arguments<CancelRequest>,
) -> Answer<InvitationView> {
    Ok(Json(shared.agent.cancel_invitation(request.id).await?))
}

async fn forget_invitation(
    State(shared): State<Shared>,
    Arguments(request): Arguments<CancelRequest>,
) -> Answer<Value> {
    shared.agent.dismiss_invitation(request.id).await?;
    Ok(Json(json!({ "id": request.id })))
}

async fn accept_mailbox(
    State(shared): State<Shared>,
    Arguments(request): Arguments<AcceptMailboxRequest>,
) -> Answer<MailboxView> {
    Ok(Json(shared.agent.accept_mailbox(request.offer.trim()).await?))
}

async fn offer_mailbox(
    State(shared): State<Shared>,
    Arguments(request): Arguments<OfferMailboxRequest>,
) -> Answer<InvitationView> {
    check_petname(&request.petname)?;
    Ok(Json(shared.agent.offer_mailbox(request).await?))
}

async fn mailboxes(State(shared): State<Shared>, _: Arguments<NoArguments>) -> Json<Value> {
    Json(json!({ "mailboxes": shared.agent.mailboxes().await }))
}

async fn remove_mailbox(
    State(shared): State<Shared>,
    Arguments(request): Arguments<MailboxRequest>,
) -> Answer<Value> {
    Ok(Json(json!({ "mailboxes": shared.agent.remove_mailbox(request.id).await? })))
}

async fn addressbook(State(shared): State<Shared>, _: Arguments<NoArguments>) -> Json<Value> {
    Json(json!({ "contacts": shared.agent.addressbook().await }))
}

async fn rename_contact(
    State(shared): State<Shared>,
    Arguments(request): Arguments<RenameRequest>,
) -> Answer<ContactView> {
    check_petname(&request.petname)?;
    Ok(Json(shared.agent.rename_contact(request.cid, &request.petname).await?))
}

async fn verify_contact(
    State(shared): State<Shared>,
    Arguments(request): Arguments<ContactRequest>,
) -> Answer<ContactView> {
    Ok(Json(shared.agent.verify_contact(request.cid).await?))
}

async fn reset_keys(
    State(shared): State<Shared>,
    Arguments(request): Arguments<ResetKeysRequest>,
) -> Answer<ResetKeysView> {
    Ok(Json(shared.agent.reset_keys(&request).await?))
}

async fn block_contact(
    State(shared): State<Shared>,
    Arguments(request): Arguments<ContactRequest>,
) -> Answer<ContactView> {
    Ok(Json(shared.agent.block_contact(request.cid).await?))
}

async fn unblock_contact(
    State(shared): State<Shared>,
    Arguments(request): Arguments<ContactRequest>,
) -> Answer<ContactView> {
    Ok(Json(shared.agent.unblock_contact(request.cid).await?))
}

async fn accept_offered(
    State(shared): State<Shared>,
    Arguments(request): Arguments<ContactRequest>,
) -> Answer<MailboxView> {
    Ok(Json(shared.agent.accept_offered(request.cid).await?))
}

async fn remove_contact(
    State(shared): State<Shared>,
    Arguments(request): Arguments<ContactRequest>,
) -> Answer<Value> {
    shared.agent.remove_contact(request.cid).await?;
    Ok(Json(json!({ "cid": request.cid })))
}

async fn send_basic(
    State(shared): State<Shared>,
    Arguments(request): Arguments<SendRequest>,
) -> Answer<MessageView> {
    check_text(&request.text)?;
    Ok(Json(shared.agent.send_basic(request).await?))
}

async fn fetch_messages(
    State(shared): State<Shared>,
    Arguments(query): Arguments<FetchQuery>,
) -> Answer<Value> {
    let inbound = MessageQuery {
        cid: query.cid,
        since: query.since,
        direction: Some(Direction::In),
        ..MessageQuery::default()
    };
    Ok(Json(json!({ "messages": shared.agent.messages(inbound).await? })))
}

async fn messages(State(shared): State<Shared>, Arguments(query): Arguments<MessageQuery>) -> Answer<Value> {
    Ok(Json(json!({ "messages": shared.agent.messages(query).await? })))
}

async fn rooms(State(shared): State<Shared>, _: Arguments<NoArguments>) -> Answer<Value> {
    Ok(Json(json!({ "rooms": shared.agent.rooms().await? })))
}

async fn search(State(shared): State<Shared>, Arguments(request): Arguments<SearchRequest>) -> Answer<Value> {
    check_search(&request)?;
    Ok(Json(json!({ "messages": shared.agent.search(request).await? })))
}

async fn find_message(
    State(shared): State<Shared>,
    Arguments(request): Arguments<FindMessageRequest>,
) -> Answer<MessageView> {
    Ok(Json(shared.agent.find_message(request).await?))
}

async fn keep_draft(State(shared): State<Shared>, Arguments(draft): Arguments<Draft>) -> Answer<Draft> {
    check_draft(&draft.text)?;
    Ok(Json(shared.agent.keep_draft(draft).await?))
}

async fn retry(
    State(shared): State<Shared>,
    Arguments(request): Arguments<MessageRequest>,
) -> Answer<MessageView> {
    Ok(Json(shared.agent.retry_message(request.id).await?))
}

async fn mark_read(
    State(shared): State<Shared>,
    Arguments(request): Arguments<MessageRequest>,
) -> Answer<MessageView> {
    Ok(Json(shared.agent.mark_read(request.id).await?))
}

async fn cancel(
    State(shared): State<Shared>,
    Arguments(request): Arguments<MessageRequest>,
) -> Answer<MessageView> {
    Ok(Json(shared.agent.cancel_message(request.id).await?))
}

async fn not_locked(_: Arguments<PassphraseRequest>) -> Refusal {
    CommandError::new(Fault::Conflict, "the node is not locked", "it runs already").into()
}

async fn stop(State(desk): State<Desk>, _: Arguments<NoArguments>) -> Json<Value> {
    tracing::info!("asked to stop");
    desk.shutdown.cancel();
    Json(json!({ "stopping": true }))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_description_has_every_route_and_no_other() {
        let described: Value = serde_json::from_str(OPENAPI).unwrap();
        let described: BTreeSet<&str> =
            described["paths"].as_object().unwrap().keys().map(String::as_str).collect();
        let (always, running) = (always(), routes());
        let routed = always.iter().map(|(path, _)| *path).chain(running.iter().map(|(path, _)| *path));
        let routed: BTreeSet<&str> = routed.collect();
        assert_eq!(described, routed);
    }
}
