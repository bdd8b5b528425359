//! Random clients against the core: it never panics, its rules hold after every input, and a restart changes nothing.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::json;

use super::tests::{World, origin, policy};
use super::*;

#[derive(Clone, Debug)]
enum Act {
    Connect,
    Disconnect(usize),
    Say(usize, Value),
    Pass(u64),
    Sweep,
    Restart,
}

fn message() -> impl Strategy<Value = Value> {
    let name = prop_oneof![Just("1"), Just("2"), Just("x")];
    prop_oneof![
        4 => ("[ab]", "[abc]").prop_map(|(app, side)| json!({"type": "bind", "appid": app, "side": side})),
        1 => Just(json!({"type": "allocate"})),
        1 => Just(json!({"type": "list"})),
        3 => name.clone().prop_map(|it| json!({"type": "claim", "nameplate": it})),
        1 => Just(json!({"type": "release"})),
        1 => name.clone().prop_map(|it| json!({"type": "release", "nameplate": it})),
        3 => name.clone().prop_map(|it| json!({"type": "open", "mailbox": it})),
        4 => "[a-z0-9]{0,4}".prop_map(|it| json!({"type": "add", "phase": it, "body": "00"})),
        1 => Just(json!({"type": "close"})),
        1 => name.prop_map(|it| json!({"type": "close", "mailbox": it, "mood": "happy"})),
        1 => any::<i64>().prop_map(|it| json!({"type": "ping", "ping": it})),
        1 => ".{0,8}".prop_map(|it| json!({"type": it, "id": it})),
    ]
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        3 => Just(Act::Connect),
        1 => (0..8_usize).prop_map(Act::Disconnect),
        20 => (0..8_usize, message()).prop_map(|(who, what)| Act::Say(who, what)),
        1 => (0..50_000_u64).prop_map(Act::Pass),
        1 => Just(Act::Sweep),
        1 => Just(Act::Restart),
    ]
}

/// What the test knows of the connections: which are open, and to which application each is bound.
#[derive(Default)]
struct Audience {
    open: Vec<ConnectionId>,
    apps: BTreeMap<ConnectionId, Value>,
}

impl Audience {
    fn pick(&self, index: usize) -> Option<ConnectionId> {
        self.open.get(index % self.open.len().max(1)).copied()
    }

    fn perform(&mut self, world: &mut World, act: Act) {
        match act {
            Act::Connect => self.open.push(world.connect_from(origin(1))),
            Act::Disconnect(index) => {
                if let Some(connection) = self.pick(index) {
                    self.open.retain(|other| *other != connection);
                    world.input(Input::Disconnected(connection));
                }
            }
            Act::Say(index, message) => {
                if let Some(connection) = self.pick(index) {
                    self.say(world, connection, message);
                }
            }
            Act::Pass(seconds) => world.now = world.now.plus(Duration::from_secs(seconds)),
            Act::Sweep => world.sweep(3),
            Act::Restart => {
                let before = Counts { connections: 0, ..world.state.counts() };
                world.restart();
                assert_eq!(world.state.counts(), before);
                self.open.clear();
            }
        }
    }

    /// Says something that carries its application's name, and checks that only that application reads it.
    fn say(&mut self, world: &mut World, connection: ConnectionId, mut message: Value) {
        if message["type"] == "bind" {
            self.apps.entry(connection).or_insert_with(|| message["appid"].clone());
        } else if message["type"] == "add" {
            message["phase"] = self.apps.get(&connection).cloned().unwrap_or(Value::Null);
        }
        let mut read = vec![(connection, world.say(connection, message))];
        read.extend(self.open.iter().map(|reader| (*reader, world.read(*reader))));
        for (reader, messages) in read {
            for message in messages.iter().filter(|message| message["type"] == "message") {
                assert_eq!(Some(&message["phase"]), self.apps.get(&reader));
            }
        }
    }
}

proptest! {
    #[test]
    fn random_clients(acts in prop::collection::vec(act(), 0..120), allow_list: bool) {
        let mut world = World::new(Policy { allow_list, ..policy() });
        let mut audience = Audience::default();
        for act in acts {
            audience.perform(&mut world, act);
            world.state.directory.check_invariants();
        }
    }

    #[test]
    fn random_bytes_are_judged_without_a_panic(bytes: Vec<u8>) {
        drop(Request::parse(&bytes));
    }
}
