//! What the operator of a mailbox server does about an account reaches its owner at once, and is shown.

use petmail_integration_tests::node::Node;
use petmail_integration_tests::wait::eventually;
use petmail_integration_tests::world::{Start, World};
use serde_json::{Value, json};

/// The id of the account that was made first, as the operator sees it.
fn only_account(world: &World) -> String {
    let accounts = world.mailbox.accounts();
    assert_eq!(accounts.len(), 1);
    accounts.first().and_then(|account| account.get("id")?.as_str()).expect("an account has an id").to_owned()
}

fn mailbox(node: &Node) -> Value {
    node.run(&["mailboxes", "--json"]).json().swap_remove(0)
}

fn field(value: &Value, name: &str) -> Value {
    value.get(name).cloned().unwrap_or_default()
}

#[test]
fn an_owner_is_told_of_notices_suspension_and_quota() {
    let mut world = World::new();
    let alice = world.node("Alice", Start::Background);
    let id = only_account(&world);
    let bob = world.node("Bob", Start::Background);
    petmail_integration_tests::world::meet(&alice, &bob);
    let operate = |world: &World, arguments: &[&str]| world.mailbox.run(arguments).text();

    let said = operate(&world, &["account", "suspend", &id, "--notice", "please pay by Friday"]);
    assert!(
        said.contains("suspended: it takes nothing more") && said.contains("please pay by Friday"),
        "{said}"
    );
    alice.reports("is suspended by its operator: it takes nothing more");
    alice.reports("the operator of mailbox 1 says: please pay by Friday");
    bob.send(1, "for a suspended mailbox");
    bob.reports("is full; the next attempt");

    // What the node knows survives its restart, and a server that is away.
    let said = operate(&world, &["account", "resume", &id]);
    assert!(said.contains("state     active") && !said.contains("notice"), "{said}");
    alice.receives(&["for a suspended mailbox"]);
    eventually("nothing is wrong any more", || {
        let mailbox = mailbox(&alice);
        (field(&mailbox, "suspended") == json!(false) && field(&mailbox, "notices") == json!([]))
            .then_some(())
    });
    alice.is_well();

    operate(&world, &["account", "set", &id, "--mailbox-quota", "5MB", "--retention", "60"]);
    eventually("the new quota is known", || {
        (field(&mailbox(&alice), "quota_bytes") == json!(5_000_000)).then_some(())
    });
    assert_eq!(field(&mailbox(&alice), "retention_days"), json!(60));

    // The same commands work while the server is stopped; the owner learns of it when it is back.
    world.mailbox.kill();
    operate(&world, &["account", "notice", &id, "we move on Sunday"]);
    let shown = operate(&world, &["account", "show", &id]);
    assert!(shown.contains("notice    we move on Sunday") && shown.contains("kept      60 days"), "{shown}");
    world.mailbox.restart();
    alice.reports("the operator of mailbox 1 says: we move on Sunday");
    operate(&world, &["account", "notice", &id, "--clear"]);
    alice.is_well();
}

#[test]
fn a_removed_account_is_gone_and_its_owner_is_told() {
    let world = World::new();
    let alice = world.node("Alice", Start::Background);
    let id = only_account(&world);
    let refusal = world.mailbox.run(&["account", "remove", &id]).remarks();
    assert!(refusal.contains("the messages in it would be lost") && refusal.contains("--yes"), "{refusal}");
    assert_eq!(world.mailbox.accounts().len(), 1);
    assert_eq!(
        world.mailbox.run(&["account", "remove", &id, "--yes"]).text(),
        format!("removed account {id}\n")
    );
    assert_eq!(world.mailbox.accounts(), Vec::<Value>::new());
    alice.reports("the server does not know this account any more");
    let refusal = world.mailbox.run(&["account", "show", &id]).refusal();
    assert!(refusal.contains("there is no such account"), "{refusal}");
}
