//! `doctor` of a node that is well, and of nodes that are not.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use petmail_integration_tests::node::{Node, has};
use petmail_integration_tests::world::{Start, World};
use serde_json::Value;

/// What `doctor` finds, and whether it is content.
fn doctor(node: &Node) -> (Vec<Value>, bool) {
    let output = node.command().args(["doctor", "--json"]).output().unwrap();
    let lines = String::from_utf8(output.stdout).unwrap();
    (lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect(), output.status.success())
}

fn found<'a>(checks: &'a [Value], name: &str) -> &'a Value {
    let found = checks.iter().find(|check| check["check"].as_str().unwrap().starts_with(name));
    found.unwrap_or_else(|| panic!("no {name} in {checks:?}"))
}

#[test]
fn trouble_is_named_with_what_to_do() {
    let mut world = World::new();
    let (alice, mut bob) = world.two_who_met(Start::Background);
    alice.is_well();
    let (checks, is_well) = doctor(&alice);
    assert!(is_well, "{checks:?}");
    for name in
        ["folder", "disk", "configuration", "clock", "database", "mailbox 1", "contacts'", "rendezvous"]
    {
        assert!(!has(found(&checks, name), "state", "problem"), "{checks:?}");
    }

    world.mailbox.kill();
    let (checks, is_well) = doctor(&alice);
    let mailbox = found(&checks, "mailbox 1");
    assert!(!is_well && has(mailbox, "state", "problem"), "{checks:?}");
    assert!(mailbox["check"].as_str().unwrap().contains(&world.mailbox.url()));
    assert!(!mailbox["hint"].as_str().unwrap().is_empty());
    assert!(has(found(&checks, "contacts'"), "state", "problem"));

    fs::set_permissions(alice.basedir().join("config.toml"), Permissions::from_mode(0o644)).unwrap();
    let (checks, _) = doctor(&alice);
    assert!(has(found(&checks, "folder"), "state", "problem"), "{checks:?}");

    bob.stop();
    let (checks, is_well) = doctor(&bob);
    assert!(!is_well && has(found(&checks, "node"), "state", "problem"), "{checks:?}");
    // Without a node its disk is looked at all the same; how full that is, is the machine's business.
    assert!(!has(found(&checks, "disk"), "state", "problem"));
}
