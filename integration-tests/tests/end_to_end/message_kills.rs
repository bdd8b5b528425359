//! Nodes and mailbox servers are killed again and again while everybody writes; what was accepted arrives once, in order.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout, reason = "tests")]

use std::thread;
use std::time::Duration;

use petmail_integration_tests::chance::Chance;
use petmail_integration_tests::mailbox::{MailboxServer, Scheme};
use petmail_integration_tests::node::Node;
use petmail_integration_tests::traffic::{Writers, arrived_once, came_in_order, until_delivered};
use petmail_integration_tests::world::{Start, World, meet};

/// Kills in the gate, for each number of mailbox servers.
const ROUNDS: usize = 20;

/// How many people write through each node.
const WRITERS: usize = 2;

/// The longest time between two kills: at most some dozens of messages are under way.
const LONGEST_PAUSE_MS: u64 = 1_200;

/// The longest time that killed programs are away in most rounds.
const LONGEST_ABSENCE_MS: u64 = 400;

/// Once in so many rounds they are away until senders have turned to other mailboxes: longer than 30 s.
const ROUNDS_BETWEEN_LONG_ABSENCES: usize = 100;
const LONG_ABSENCE: Duration = Duration::from_secs(40);

/// A program that can be killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victim {
    Node(usize),
    Server(usize),
}

/// Two people, and the mailbox servers where both have accounts.
struct Stage {
    world: World,
    more_servers: Vec<MailboxServer>,
    nodes: [Node; 2],
}

impl Stage {
    fn new(servers: usize) -> Self {
        let world = World::new();
        let start =
            |number| MailboxServer::start(&world.path(&format!("mailbox {number}")), Scheme::PinnedHttps);
        let more_servers: Vec<_> = (1..servers).map(start).collect();
        let nodes = ["Alice", "Bob"].map(|name| world.node_without_mailbox(name, Start::Child));
        let stage = Self { world, more_servers, nodes };
        for (index, node) in stage.nodes.iter().enumerate() {
            // Each prefers another one, so that all of them have work.
            let mut offers: Vec<_> = (0..servers).map(|server| stage.server(server).offer()).collect();
            offers.rotate_left(index % servers);
            offers.iter().for_each(|offer| node.accept_mailbox(offer));
        }
        meet(&stage.nodes[0], &stage.nodes[1]);
        stage
    }

    fn server(&self, number: usize) -> &MailboxServer {
        if number == 0 { &self.world.mailbox } else { &self.more_servers[number - 1] }
    }

    fn server_mut(&mut self, number: usize) -> &mut MailboxServer {
        if number == 0 { &mut self.world.mailbox } else { &mut self.more_servers[number - 1] }
    }

    fn everybody(&self) -> Vec<Victim> {
        let servers = (0..=self.more_servers.len()).map(Victim::Server);
        [Victim::Node(0), Victim::Node(1)].into_iter().chain(servers).collect()
    }

    fn kill(&mut self, victim: Victim) {
        match victim {
            Victim::Node(number) => self.nodes[number].kill(),
            Victim::Server(number) => self.server_mut(number).kill(),
        }
    }

    fn restart(&mut self, victim: Victim) {
        match victim {
            Victim::Node(number) => self.nodes[number].start_as_child(),
            Victim::Server(number) => self.server_mut(number).restart(),
        }
    }
}

#[test]
fn what_was_accepted_arrives_once_whoever_is_killed() {
    kill_under_load(1);
}

#[test]
fn what_was_accepted_arrives_once_with_two_mailboxes() {
    kill_under_load(2);
}

/// `PETMAIL_KILL_ROUNDS` sets the number of rounds, `PETMAIL_KILL_SEED` repeats who is killed when.
fn kill_under_load(servers: usize) {
    let mut chance = Chance::from_env(ROUNDS);
    let story = format!("PETMAIL_KILL_SEED={}, {servers} mailbox servers", chance.seed);
    println!("{story}, {} rounds", chance.rounds);
    let mut stage = Stage::new(servers);
    let start = |number: usize, name| Writers::start(&stage.nodes[number], name, WRITERS, chance.seed);
    let writers = [start(0, "Alice"), start(1, "Bob")];
    for round in 1..=chance.rounds {
        thread::sleep(Duration::from_millis(chance.below(LONGEST_PAUSE_MS)));
        let (victims, absence) = draw(&mut chance, &stage, round);
        println!("round {round}: {victims:?} away for {absence:?}");
        victims.iter().for_each(|victim| stage.kill(*victim));
        thread::sleep(absence);
        for victim in victims {
            stage.restart(victim);
            if let Victim::Node(number) = victim {
                writers[number].follow(&stage.nodes[number]);
            }
        }
    }
    let written = writers.map(Writers::stop);
    let [alice, bob] = &stage.nodes;
    for node in [alice, bob] {
        until_delivered(node, &story);
    }
    for (sender, receiver, written) in [(alice, bob, &written[0]), (bob, alice, &written[1])] {
        arrived_once(sender, receiver, written, &story);
        if servers == 1 {
            came_in_order(receiver, &story);
        }
        println!("{} accepted and delivered once, {} unsure", written.accepted.len(), written.unsure.len());
    }
}

/// Draws who is killed, one or two, and for how long they are away.
fn draw(chance: &mut Chance, stage: &Stage, round: usize) -> (Vec<Victim>, Duration) {
    let everybody = stage.everybody();
    if round.is_multiple_of(ROUNDS_BETWEEN_LONG_ABSENCES) {
        let server = chance.one_of(&everybody[2..]);
        return (vec![server], LONG_ABSENCE);
    }
    let mut victims = vec![chance.one_of(&everybody), chance.one_of(&everybody)];
    victims.truncate(1 + usize::try_from(chance.below(2)).unwrap());
    victims.dedup();
    (victims, Duration::from_millis(chance.below(LONGEST_ABSENCE_MS)))
}
