//! The protocol's rules, one by one, on a virtual clock.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use petmail_net::address::AddressGroup;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use serde_json::json;

use super::*;

pub(super) fn policy() -> Policy {
    Policy {
        motd: None,
        hashcash_bits: None,
        busy_hashcash_bits: None,
        allowed_appids: BTreeSet::new(),
        allow_list: false,
        retention: Duration::from_secs(86_400),
        limits: Limits::default(),
    }
}

pub(super) fn origin(last: u8) -> Origin {
    Some(AddressGroup::of(IpAddr::V4(Ipv4Addr::new(192, 0, 2, last))))
}

/// A server with its disk, its clock and its clients' screens.
pub(super) struct World {
    pub(super) state: State,
    policy: Policy,
    disk: BTreeMap<(Table, Vec<u8>), Vec<u8>>,
    pub(super) now: UnixMillis,
    rng: ChaCha20Rng,
    next: u64,
    inboxes: BTreeMap<ConnectionId, Vec<Value>>,
    refused: Vec<(ConnectionId, Refusal)>,
}

impl World {
    pub(super) fn new(policy: Policy) -> Self {
        Self {
            state: State::new(policy.clone()),
            policy,
            disk: BTreeMap::new(),
            now: UnixMillis(1_700_000_000_000),
            rng: ChaCha20Rng::seed_from_u64(7),
            next: 0,
            inboxes: BTreeMap::new(),
            refused: Vec::new(),
        }
    }

    fn carry_out(&mut self, step: Step) {
        for Change { table, key, value } in step.changes {
            match value {
                Some(value) => drop(self.disk.insert((table, key), value)),
                None => drop(self.disk.remove(&(table, key))),
            }
        }
        for effect in step.effects {
            match effect {
                Effect::Send(to, frame) => {
                    self.inboxes.entry(to).or_default().push(serde_json::to_value(&*frame).unwrap());
                }
                Effect::Refused(whom, refusal) => self.refused.push((whom, refusal)),
            }
        }
    }

    pub(super) fn input(&mut self, input: Input) {
        let step = self.state.handle(input, self.now, &mut self.rng);
        self.carry_out(step);
    }

    pub(super) fn connect_from(&mut self, origin: Origin) -> ConnectionId {
        let connection = ConnectionId(self.next);
        self.next += 1;
        self.input(Input::Connected(connection, origin));
        connection
    }

    fn connect(&mut self) -> ConnectionId {
        self.connect_from(origin(1))
    }

    /// A connection bound to an application and a side, with an empty screen.
    fn bound(&mut self, app: &str, side: &str) -> ConnectionId {
        let connection = self.connect();
        self.say(connection, json!({"type": "bind", "appid": app, "side": side}));
        connection
    }

    /// Sends a message and returns everything that this client has been shown and not read.
    pub(super) fn say(&mut self, connection: ConnectionId, message: Value) -> Vec<Value> {
        let request = Request::parse(message.to_string().as_bytes()).unwrap();
        self.input(Input::Request(connection, Box::new(request)));
        self.read(connection)
    }

    pub(super) fn read(&mut self, connection: ConnectionId) -> Vec<Value> {
        self.inboxes.remove(&connection).unwrap_or_default()
    }

    /// Says something and returns the one answer after the acknowledgement.
    fn ask(&mut self, connection: ConnectionId, message: Value) -> Value {
        let answers = self.say(connection, message);
        assert_eq!(answers.len(), 2, "{answers:?}");
        assert_eq!(answers[0]["type"], "ack");
        answers[1].clone()
    }

    fn claim(&mut self, connection: ConnectionId, nameplate: &str) -> String {
        let answer = self.ask(connection, json!({"type": "claim", "nameplate": nameplate}));
        assert_eq!(answer["type"], "claimed", "{answer}");
        answer["mailbox"].as_str().unwrap().to_owned()
    }

    fn error(&mut self, connection: ConnectionId, message: Value) -> String {
        let answer = self.ask(connection, message.clone());
        assert_eq!((&answer["type"], &answer["orig"]), (&json!("error"), &message));
        answer["error"].as_str().unwrap().to_owned()
    }

    fn disconnect(&mut self, connection: ConnectionId) {
        self.input(Input::Disconnected(connection));
    }

    /// Forgets everything that is not on disk.
    pub(super) fn restart(&mut self) {
        let mut restore = Restore::new(self.policy.clone());
        for ((table, key), value) in &self.disk {
            restore.row(*table, key, value).unwrap();
        }
        self.state = restore.finish().unwrap();
        self.inboxes.clear();
    }

    pub(super) fn sweep(&mut self, max: usize) {
        let step = self.state.sweep(self.now, max);
        self.carry_out(step);
    }

    fn pass(&mut self, seconds: u64) {
        self.now = self.now.plus(Duration::from_secs(seconds));
    }
}

fn kinds(messages: &[Value]) -> Vec<&str> {
    messages.iter().map(|message| message["type"].as_str().unwrap()).collect()
}

fn add(phase: &str) -> Value {
    json!({"type": "add", "phase": phase, "body": "00ff", "id": "7"})
}

#[test]
fn welcome_tells_what_to_expect() {
    let mut world = World::new(Policy { motd: Some("news".to_owned()), ..policy() });
    let connection = world.connect();
    let expected = json!({"type": "welcome", "welcome": {"motd": "news", "petmail": {"retention": 86_400}}});
    assert_eq!(world.read(connection), [expected]);
}

#[test]
fn a_whole_exchange() {
    let mut world = World::new(policy());
    let alice = world.bound("app", "a");
    let nameplate = world.ask(alice, json!({"type": "allocate"}))["nameplate"].clone();
    let mailbox = world.claim(alice, nameplate.as_str().unwrap());
    assert_eq!(mailbox.len(), 26);
    let open = json!({"type": "open", "mailbox": mailbox});
    assert_eq!(kinds(&world.say(alice, open.clone())), ["ack"]);
    let echo = &world.say(alice, add("pake"))[1];
    let received = 1_700_000_000.0;
    let message = json!({"type": "message", "side": "a", "phase": "pake", "body": "00ff", "id": "7", "server_rx": received});
    assert_eq!(*echo, message);

    let bob = world.bound("app", "b");
    assert_eq!(world.claim(bob, nameplate.as_str().unwrap()), mailbox);
    assert_eq!(world.say(bob, open)[1], message);
    assert_eq!(kinds(&world.say(bob, add("pake"))), ["ack", "message"]);
    assert_eq!(world.read(alice)[0]["side"], "b");

    for side in [alice, bob] {
        assert_eq!(world.ask(side, json!({"type": "release"}))["type"], "released");
    }
    assert_eq!(world.state.counts().nameplates, 0);
    let close = json!({"type": "close", "mailbox": mailbox, "mood": "happy"});
    assert_eq!(world.ask(alice, close.clone())["type"], "closed");
    assert_eq!(world.state.counts().messages, 2);
    assert_eq!(world.ask(bob, close)["type"], "closed");
    assert_eq!(world.state.counts(), Counts { connections: 2, ..Counts::default() });
    assert!(world.disk.is_empty());
}

#[test]
fn everything_has_its_time() {
    let mut world = World::new(policy());
    let early = world.connect();
    world.read(early);
    for message in ["list", "allocate", "claim", "release", "open", "add", "close"] {
        assert_eq!(world.error(early, json!({"type": message})), "must bind first");
    }
    assert_eq!(world.ask(early, json!({"type": "ping", "ping": 3})), json!({"type": "pong", "pong": 3}));
    world.say(early, json!({"type": "bind", "appid": "app", "side": "a"}));
    assert_eq!(world.error(early, json!({"type": "bind", "appid": "app", "side": "a"})), "already bound");
    assert_eq!(world.error(early, json!({"type": "release"})), "release without nameplate must follow claim");
    assert_eq!(world.error(early, json!({"type": "close"})), "close without mailbox must follow open");
    assert_eq!(world.error(early, add("0")), "must open mailbox before adding");
    assert_eq!(world.error(early, json!({"type": "nonsense"})), "unknown type");
    let missing = &world.say(early, json!({"kind": "bind"}));
    assert_eq!((kinds(missing), &missing[0]["error"]), (vec!["error"], &json!("missing 'type'")));
}

#[test]
fn most_things_once() {
    let mut world = World::new(policy());
    let alice = world.bound("app", "a");
    world.ask(alice, json!({"type": "allocate"}));
    assert_eq!(world.error(alice, json!({"type": "allocate"})), "you already allocated one, don't be greedy");
    let mailbox = world.claim(alice, "4");
    assert_eq!(
        world.error(alice, json!({"type": "claim", "nameplate": "4"})),
        "only one claim per connection"
    );
    let other = json!({"type": "release", "nameplate": "5"});
    assert_eq!(world.error(alice, other), "release and claim must use same nameplate");
    world.ask(alice, json!({"type": "release"}));
    assert_eq!(world.error(alice, json!({"type": "release"})), "only one release per connection");
    let open = json!({"type": "open", "mailbox": mailbox});
    world.say(alice, open.clone());
    assert_eq!(world.error(alice, open), "only one open per connection");
    let other = json!({"type": "close", "mailbox": "elsewhere"});
    assert_eq!(world.error(alice, other), "open and close must use same mailbox");
    world.ask(alice, json!({"type": "close"}));
    assert_eq!(world.error(alice, json!({"type": "close"})), "only one close per connection");
}

/// Two junk claims must not brick a code: they are refused without a trace.
#[test]
fn third_sides_are_refused_without_being_recorded() {
    let mut world = World::new(policy());
    let (alice, bob) = (world.bound("app", "a"), world.bound("app", "b"));
    let mailbox = world.claim(alice, "4");
    assert_eq!(world.claim(bob, "4"), mailbox);
    let (before, disk) = (world.state.counts(), world.disk.clone());
    for side in ["x", "y"] {
        let junk = world.bound("app", side);
        assert_eq!(world.error(junk, json!({"type": "claim", "nameplate": "4"})), "crowded");
        assert_eq!(world.error(junk, json!({"type": "open", "mailbox": mailbox})), "crowded");
        assert_eq!(world.error(junk, json!({"type": "close", "mailbox": mailbox})), "crowded");
        world.disconnect(junk);
    }
    assert_eq!(world.state.counts(), before);
    assert_eq!(world.disk, disk);
    for side in ["a", "b"] {
        let again = world.bound("app", side);
        assert_eq!(world.claim(again, "4"), mailbox);
        assert_eq!(kinds(&world.say(again, json!({"type": "open", "mailbox": mailbox}))), ["ack"]);
    }
}

#[test]
fn a_released_nameplate_cannot_be_reclaimed_while_the_other_side_holds_it() {
    let mut world = World::new(policy());
    let (alice, bob) = (world.bound("app", "a"), world.bound("app", "b"));
    let mailbox = world.claim(alice, "4");
    world.claim(bob, "4");
    world.ask(alice, json!({"type": "release"}));
    let again = world.bound("app", "a");
    assert_eq!(world.error(again, json!({"type": "claim", "nameplate": "4"})), "reclaimed");
    world.ask(bob, json!({"type": "release"}));
    let third = world.bound("app", "a");
    assert_ne!(world.claim(third, "4"), mailbox, "a free nameplate leads to a new mailbox");
}

#[test]
fn what_was_missed_can_be_repeated() {
    let mut world = World::new(policy());
    let alice = world.bound("app", "a");
    let mailbox = world.claim(alice, "4");
    world.disconnect(alice);
    let again = world.bound("app", "a");
    assert_eq!(world.claim(again, "4"), mailbox);
    assert_eq!(world.ask(again, json!({"type": "release"}))["type"], "released");
    world.say(again, json!({"type": "open", "mailbox": mailbox}));
    world.ask(again, json!({"type": "close"}));
    // The answers were lost.
    let third = world.bound("app", "a");
    let release = json!({"type": "release", "nameplate": "4"});
    assert_eq!(world.ask(third, release)["type"], "released");
    assert_eq!(world.ask(third, json!({"type": "close", "mailbox": mailbox}))["type"], "closed");
    assert!(world.disk.is_empty());
}

#[test]
fn a_closed_mailbox_can_be_opened_again() {
    let mut world = World::new(policy());
    let (alice, bob) = (world.bound("app", "a"), world.bound("app", "b"));
    let open = json!({"type": "open", "mailbox": "box"});
    for side in [alice, bob] {
        world.say(side, open.clone());
    }
    world.say(alice, add("pake"));
    world.read(bob);
    world.ask(alice, json!({"type": "close"}));
    assert_eq!(kinds(&world.say(alice, open)), ["ack", "message"]);
    world.ask(bob, json!({"type": "close"}));
    assert_eq!(world.state.counts().messages, 1, "one side still has it open");
}

#[test]
fn a_mailbox_deleted_under_a_listener_must_be_opened_anew() {
    let mut world = World::new(policy());
    let (one, two) = (world.bound("app", "a"), world.bound("app", "a"));
    let open = json!({"type": "open", "mailbox": "box"});
    for connection in [one, two] {
        world.say(connection, open.clone());
    }
    world.ask(one, json!({"type": "close"}));
    assert_eq!(world.error(two, add("0")), "must open mailbox before adding");
    assert_eq!(kinds(&world.say(two, open)), ["ack"]);
    assert_eq!(kinds(&world.say(two, add("0"))), ["ack", "message"]);
}

#[test]
fn applications_do_not_see_each_other() {
    let mut world = World::new(Policy { allow_list: true, ..policy() });
    let (here, there) = (world.bound("here", "a"), world.bound("there", "b"));
    assert_ne!(world.claim(here, "4"), world.claim(there, "4"));
    let open = json!({"type": "open", "mailbox": "box"});
    world.say(here, open.clone());
    world.say(here, add("pake"));
    assert_eq!(kinds(&world.say(there, open)), ["ack"]);
    world.say(there, add("pake"));
    assert!(world.read(here).is_empty());
    let elsewhere = world.bound("elsewhere", "a");
    assert_eq!(world.ask(elsewhere, json!({"type": "list"}))["nameplates"], json!([]));
    assert_eq!(world.ask(here, json!({"type": "list"}))["nameplates"], json!([{"id": "4"}]));
}

#[test]
fn lists_are_empty_unless_allowed() {
    let mut world = World::new(policy());
    let alice = world.bound("app", "a");
    world.claim(alice, "4");
    assert_eq!(world.ask(alice, json!({"type": "list"})), json!({"type": "nameplates", "nameplates": []}));
}

#[test]
fn only_allowed_appids_are_served() {
    let allowed = BTreeSet::from([AppId::new("app").unwrap()]);
    let mut world = World::new(Policy { allowed_appids: allowed, ..policy() });
    world.bound("app", "a");
    assert!(world.refused.is_empty());
    let stranger = world.bound("other", "a");
    assert_eq!(world.refused, [(stranger, Refusal::AppIdNotAllowed)]);
    assert!(Refusal::AppIdNotAllowed.ends_connection());
    assert_eq!(world.state.counts().connections, 1);
}

#[test]
fn a_bind_needs_a_stamp_made_for_this_connection() {
    let mut world = World::new(Policy { hashcash_bits: Some(8), ..policy() });
    let bind = json!({"type": "bind", "appid": "app", "side": "a"});
    let submit = |stamp: &str| json!({"type": "submit-permissions", "method": "hashcash", "stamp": stamp});
    let challenge = |world: &mut World, connection| -> HashcashChallenge {
        let welcome = world.read(connection).remove(0);
        serde_json::from_value(welcome["welcome"]["permission-required"]["hashcash"].clone()).unwrap()
    };
    let alice = world.connect();
    let first = challenge(&mut world, alice);
    assert_eq!(first.bits, 8);
    let stamp = first.mint(world.now, &mut ChaCha20Rng::seed_from_u64(1)).unwrap();
    assert_eq!(kinds(&world.say(alice, submit(&stamp))), ["ack"]);
    assert_eq!(kinds(&world.say(alice, bind.clone())), ["ack"]);
    assert_eq!(world.ask(alice, json!({"type": "allocate"}))["type"], "allocated");

    let replay = world.connect();
    world.read(replay);
    assert!(world.error(replay, submit(&stamp)).starts_with("permission denied"), "a stamp serves once");
    let impatient = world.connect();
    world.read(impatient);
    assert!(world.error(impatient, bind).starts_with("permission denied"));
    let other = world.connect();
    world.read(other);
    let method = json!({"type": "submit-permissions", "method": "none"});
    assert!(world.error(other, method).starts_with("permission denied"));
    assert!(world.refused.iter().all(|(_, refusal)| *refusal == Refusal::PermissionDenied));
    assert!(Refusal::PermissionDenied.ends_connection());
    assert_eq!(world.state.counts().connections, 1);
}

/// How many bits of work a new client is asked for.
fn asked(world: &mut World) -> Option<u64> {
    let client = world.connect();
    let welcome = world.read(client).remove(0);
    welcome["welcome"]["permission-required"]["hashcash"]["bits"].as_u64()
}

#[test]
fn a_busy_server_asks_for_work() {
    let limits = Limits { busy_connections: 3, mailboxes: 4, ..Limits::default() };
    let busy = Policy { busy_hashcash_bits: Some(9), limits, ..policy() };
    let mut world = World::new(busy.clone());
    assert_eq!([asked(&mut world), asked(&mut world), asked(&mut world)], [None; 3]);
    assert_eq!(asked(&mut world), Some(9), "three are connected");
    world.disconnect(ConnectionId(0));
    world.disconnect(ConnectionId(1));
    assert_eq!(asked(&mut world), None, "it is quiet again");

    let always = Policy { hashcash_bits: Some(4), ..busy.clone() };
    let mut world = World::new(always);
    assert_eq!([asked(&mut world), asked(&mut world), asked(&mut world)], [Some(4); 3]);
    assert_eq!(asked(&mut world), Some(9), "the greater holds");

    let mut world =
        World::new(Policy { limits: Limits { busy_connections: 100, ..busy.limits.clone() }, ..busy });
    let one = world.bound("app", "a");
    world.say(one, json!({"type": "open", "mailbox": "one"}));
    assert_eq!(asked(&mut world), None);
    let two = world.bound("app", "b");
    world.say(two, json!({"type": "open", "mailbox": "two"}));
    assert_eq!(asked(&mut world), Some(9), "half of the room is taken");
}

#[test]
fn a_connection_that_does_not_bind_is_refused() {
    let mut world = World::new(policy());
    let (late, bound) = (world.connect(), world.bound("app", "a"));
    world.pass(61);
    let fresh = world.connect();
    let step = world.state.refuse_unbound(world.now);
    world.carry_out(step);
    assert_eq!(world.refused, [(late, Refusal::BindTimeout)]);
    assert_eq!(world.state.counts().connections, 2);
    for connection in [bound, fresh] {
        assert_eq!(kinds(&world.say(connection, json!({"type": "ping", "ping": 1}))).last(), Some(&"pong"));
    }
}

#[test]
fn a_restart_loses_nothing() {
    let mut world = World::new(policy());
    let (alice, bob) = (world.bound("app", "a"), world.bound("app", "b"));
    let mailbox = world.claim(alice, "4");
    world.claim(bob, "4");
    let open = json!({"type": "open", "mailbox": mailbox});
    world.say(alice, open.clone());
    let big = json!({"type": "add", "phase": "0", "body": "ab".repeat(65_536), "id": "x"});
    let echoes: Vec<Value> = [add("pake"), big, json!({"type": "add", "phase": "1", "body": ""})]
        .into_iter()
        .map(|message| world.ask(alice, message))
        .collect();
    let before = Counts { connections: 0, ..world.state.counts() };
    world.restart();
    world.state.directory.check_invariants();
    assert_eq!(world.state.counts(), before);
    let again = world.bound("app", "a");
    assert_eq!(world.claim(again, "4"), mailbox);
    assert_eq!(world.say(again, open)[1..], echoes);
    let third = world.bound("app", "c");
    assert_eq!(world.error(third, json!({"type": "claim", "nameplate": "4"})), "crowded");
}

#[test]
fn quiet_exchanges_expire_and_used_ones_stay() {
    let mut world = World::new(policy());
    for number in 10..15 {
        let side = world.bound("app", "a");
        world.claim(side, &number.to_string());
        world.disconnect(side);
    }
    world.pass(1);
    let listener = world.bound("app", "a");
    world.say(listener, json!({"type": "open", "mailbox": "box"}));
    world.say(listener, add("pake"));
    world.pass(86_399);
    assert!(!world.state.needs_sweep(world.now), "not yet");
    world.pass(2);
    world.sweep(2);
    assert_eq!(world.state.counts().mailboxes, 4, "in small batches");
    while world.state.needs_sweep(world.now) {
        world.sweep(2);
    }
    assert_eq!(world.state.counts().mailboxes, 1);
    assert_eq!(world.state.counts().nameplates, 0);
    world.disconnect(listener);
    world.restart();
    world.pass(86_400);
    world.sweep(9);
    assert_eq!(world.state.counts().mailboxes, 1, "it was in use a day ago");
    world.pass(1);
    world.sweep(9);
    assert!(world.disk.is_empty());
    assert_eq!(world.state.counts(), Counts::default());
}

#[test]
fn each_quota_bites() {
    let limits = Limits { messages_per_mailbox: 2, mailbox_bytes: 2_000, ..Limits::default() };
    let mut world = World::new(Policy { limits, ..policy() });
    let alice = world.bound("app", "a");
    world.say(alice, json!({"type": "open", "mailbox": "box"}));
    let big = json!({"type": "add", "phase": "0", "body": "00".repeat(2_000)});
    assert_eq!(world.error(alice, big), "the mailbox is full");
    world.ask(alice, add("0"));
    world.ask(alice, add("1"));
    assert_eq!(world.error(alice, add("2")), "the mailbox is full");

    let limits = Limits { mailboxes: 3, mailboxes_per_address: 2, stored_bytes: 600, ..Limits::default() };
    let mut world = World::new(Policy { limits, ..policy() });
    let open = |name: &str| json!({"type": "open", "mailbox": name});
    let mut from = |last, name| {
        let connection = world.connect_from(origin(last));
        world.say(connection, json!({"type": "bind", "appid": "app", "side": "a"}));
        (connection, world.say(connection, open(name)).last().unwrap()["type"].clone())
    };
    let (first, opened) = from(1, "1");
    assert_eq!(opened, "ack");
    assert_eq!(from(1, "2").1, "ack");
    assert_eq!(from(1, "3").1, "error", "this address has its share");
    assert_eq!(from(2, "3").1, "ack");
    assert_eq!(from(3, "4").1, "error", "the server is full");
    assert_eq!(from(3, "3").1, "ack", "what is there can be used");
    world.ask(first, add("0"));
    world.ask(first, add("1"));
    assert!(world.error(first, add("2")).starts_with("the server is full"));
    let other = world.connect_from(origin(1));
    world.say(other, json!({"type": "bind", "appid": "app", "side": "a"}));
    world.ask(other, json!({"type": "close", "mailbox": "2"}));
    assert_eq!(kinds(&world.say(other, open("5"))), ["ack"], "closing frees the share");
}

#[test]
fn unusable_rows_are_errors() {
    let mut restore = Restore::new(policy());
    assert!(restore.row(Table::Mailboxes, b"\0\x01a", b"{}").is_err());
    let orphan = record::put_message(
        &Place { app: AppId::new("a").unwrap(), mailbox: "m".to_owned().try_into().unwrap() },
        0,
        &record::message_frame(
            "s".to_owned().try_into().unwrap(),
            "p".to_owned().try_into().unwrap(),
            String::new().try_into().unwrap(),
            None,
            UnixMillis(0),
        ),
    );
    assert!(restore.row(orphan[0].table, &orphan[0].key, orphan[0].value.as_ref().unwrap()).is_err());
}
