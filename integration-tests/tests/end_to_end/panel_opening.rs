//! How the control panel is opened, and that nobody else gets in.
#![expect(clippy::unwrap_used, reason = "tests")]

use petmail_integration_tests::browser::{Browser, id};
use petmail_integration_tests::node::Node;
use petmail_integration_tests::world::{Start, World};
use reqwest::StatusCode;
use serde_json::{Value, json};

fn address(node: &Node) -> String {
    node.run(&["open", "--no-open"]).text().trim().to_owned()
}

/// Trades an opener token as whoever says to come from `origin`.
fn trade(address: &str, origin: Option<&str>, host: Option<&str>) -> (StatusCode, Value) {
    let (base, opener) = address.split_once("/#open=").unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let client = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
        let mut request = client.post(format!("{base}/api/open")).json(&json!({ "opener": opener }));
        if let Some(origin) = origin {
            request = request.header("origin", origin);
        }
        if let Some(host) = host {
            request = request.header("host", host);
        }
        let response = request.send().await.unwrap();
        (response.status(), response.json().await.unwrap())
    })
}

#[test]
fn an_address_opens_the_panel_once_and_says_how_to_get_back() {
    let world = World::new();
    let node = world.node_without_mailbox("Alice", Start::Background);
    let first = address(&node);
    let mut browser = Browser::start();
    browser.visit(&first);
    browser.see("nav-rooms");
    let opener = first.split_once("#open=").unwrap().1;
    assert!(!browser.address().contains(opener), "{}", browser.address());
    let history = browser.script("return [history.length, location.href, document.cookie]", &[]);
    assert_eq!(history[2], json!(""), "no cookies");
    browser.reload();
    browser.see("nav-rooms");

    // Somebody who has seen the address gets nothing by it.
    let mut other = Browser::start();
    other.expects("403");
    other.visit(&first);
    assert!(other.see("expired").contains("petmail-node open"), "{}", other.see("expired"));
    other.visit("about:blank");
    other.visit(first.split_once("/#").unwrap().0);
    other.see("expired");
    let second = address(&node);
    for (origin, host) in [
        (None, None),
        (Some("http://petmail.example"), None),
        (Some("null"), None),
        (Some("x"), Some("petmail.example")),
    ] {
        assert_eq!(trade(&second, origin, host).0, StatusCode::FORBIDDEN, "{origin:?} {host:?}");
    }
    other.visit(&second);
    other.see("nav-rooms");

    // A page whose token is not the node's any more says so.
    browser.expects("401");
    browser.script("sessionStorage.setItem('petmail-token', 'A'.repeat(43))", &[]);
    browser.reload();
    browser.see("expired");
}

#[test]
fn a_node_that_restarts_is_waited_for() {
    let world = World::new();
    let mut node = world.node_without_mailbox("Alice", Start::Child);
    let mut browser = Browser::at(&node);
    // The page asks again and again until the node is there, and before that until its database is open.
    for expected in ["ERR_", "503"] {
        browser.expects(expected);
    }
    browser.see_no(&id("banner"));
    node.kill();
    assert!(browser.see("banner").contains("not running"));
    node.start_as_child();
    browser.see_no(&id("banner"));
    browser.click("nav-settings");
    browser.fill("display-name", "Alicia");
    browser.click("save-name");
    petmail_integration_tests::wait::eventually("the name is kept", || {
        (node.status().get("display_name") == Some(&json!("Alicia"))).then_some(())
    });
}

#[test]
fn open_makes_and_starts_a_node_if_there_is_none() {
    let world = World::new();
    let node = Node::at(&world.path("new"));
    assert!(!node.command().args(["open", "--no-open"]).status().unwrap().success());
    let made = node.run(&["open", "--no-open", "--create"]).text();
    let mut browser = Browser::start();
    browser.expects("ERR_");
    browser.visit(made.trim());
    assert!(browser.see("welcome").contains("mailbox"));
    assert!(node.run(&["stop"]).text().is_empty());
}
