//! What happens in the demo: two people get mailboxes, meet by a code, compare safety words, and talk.

use std::net::TcpListener;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::cast::{Cast, Speaker, ask};

/// The conversation: who writes, who reads, and what.
const CONVERSATION: [(&str, &str, &str); 3] = [
    ("alice", "bob", "Hello Bob, this is Alice."),
    ("bob", "alice", "Grüß dich, Alice! Schön, dass das ohne Dritte geht ✓"),
    ("alice", "bob", "See you at eight. 🐟"),
];

/// Plays the story.
///
/// # Errors
/// The first thing that did not work.
pub(super) async fn tell(cast: &mut Cast<'_>) -> Result<()> {
    let rendezvous = start_rendezvous(cast).await?;
    start_mailbox(cast).await?;
    for node in ["alice", "bob"] {
        start_node(cast, node, &rendezvous).await?;
        accept_mailbox(cast, node).await?;
    }
    meet(cast).await?;
    compare_safety_words(cast).await?;
    talk(cast).await
}

async fn start_rendezvous(cast: &mut Cast<'_>) -> Result<String> {
    let mut serve = cast.program("petmail-rendezvous");
    serve.args(["serve", "--listen", "127.0.0.1:0", "--plain-http", "-d"]).arg(cast.path("rendezvous"));
    cast.start("rendezvous", &mut serve).await
}

async fn start_mailbox(cast: &mut Cast<'_>) -> Result<()> {
    let (dir, address) = (cast.path("mailbox"), format!("127.0.0.1:{}", free_port()?));
    let mut init = cast.program("petmail-mailbox");
    ask("mailbox", init.args(["init", "--url", &format!("https://{address}")]).arg(&dir)).await?;
    let mut serve = cast.program("petmail-mailbox");
    serve.args(["serve", "--self-signed", "--listen", &address, "-d"]).arg(&dir);
    cast.start("mailbox", &mut serve).await.map(drop)
}

/// Returns a port that was free a moment ago: a mailbox's URL has to name its port before it is bound.
fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

async fn start_node(cast: &mut Cast<'_>, node: &str, rendezvous: &str) -> Result<()> {
    let mut create = cast.program("petmail-node");
    create.arg("create-node").arg(cast.path(node));
    create.args(["--name", petname(node), "--rendezvous", rendezvous, "--allow-private-transports"]);
    ask(node, &mut create).await?;
    let mut start = cast.petmail(node);
    cast.start(node, start.args(["start", "--foreground"])).await.map(drop)
}

async fn accept_mailbox(cast: &Cast<'_>, node: &str) -> Result<()> {
    let mut offer = cast.program("petmail-mailbox");
    let printed = ask("mailbox", offer.arg("offer").arg("-d").arg(cast.path("mailbox"))).await?;
    let offer = printed.lines().last().context("no offer was printed")?;
    ask(node, cast.petmail(node).args(["accept-mailbox", offer])).await.map(drop)
}

async fn meet(cast: &Cast<'_>) -> Result<()> {
    let mut invite = cast.petmail("alice");
    let mut alice = Speaker::start("alice", invite.args(["invite", "--petname", "Bob", "--wait"]))?;
    let code = alice.line().await?;
    println!("{code}");
    let mut invite = cast.petmail("bob");
    ask("bob", invite.args(["invite", "--petname", "Alice", &code, "--wait"])).await?;
    alice.finish().await
}

async fn compare_safety_words(cast: &Cast<'_>) -> Result<()> {
    let mut words = Vec::new();
    for node in ["alice", "bob"] {
        let contacts = ask(node, cast.petmail(node).args(["addressbook", "--json"])).await?;
        let contact: Value = serde_json::from_str(&contacts).context("one contact was expected")?;
        ensure!(
            contact.get("state").is_some_and(|state| state == "confirmed"),
            "{node}'s contact is not confirmed"
        );
        let shown = contact.get("safety_words").and_then(Value::as_str).context("no safety words")?;
        words.push(shown.to_owned());
    }
    println!();
    for (node, words) in ["alice", "bob"].iter().zip(&words) {
        println!("{:5} sees the safety words: {words}", petname(node));
    }
    let [alice, bob] = words.as_slice() else { unreachable!("there are two nodes") };
    ensure!(alice == bob && !alice.is_empty(), "the safety words differ");
    Ok(())
}

async fn talk(cast: &Cast<'_>) -> Result<()> {
    for (from, to, text) in CONVERSATION {
        let mut follow = cast.petmail(to);
        let mut inbox = Speaker::start(to, follow.args(["follow-messages", "--json", "--since", "0"]))?;
        ask(from, cast.petmail(from).args(["send-basic", "1", text, "--wait", "sent"])).await?;
        while !is_text(&inbox.line().await?, text)? {}
        println!("{} has it.", petname(to));
    }
    for node in ["alice", "bob"] {
        let shown = ask(node, cast.petmail(node).arg("fetch-messages")).await?;
        let mut wanted = CONVERSATION.iter().filter(|(_, to, _)| *to == node);
        ensure!(wanted.all(|(.., text)| shown.contains(text)), "{node} has not got everything");
    }
    Ok(())
}

fn is_text(message: &str, text: &str) -> Result<bool> {
    let message: Value = serde_json::from_str(message)?;
    Ok(message.pointer("/payload/basic").is_some_and(|basic| basic == text))
}

fn petname(node: &str) -> &'static str {
    if node == "alice" { "Alice" } else { "Bob" }
}
