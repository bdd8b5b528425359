use clap::error::ErrorKind;

use super::*;

fn parse(line: &str) -> Result<Cli, ErrorKind> {
    let words = std::iter::once("petmail-node").chain(line.split(' '));
    Cli::try_parse_from(words).map_err(|error| error.kind())
}

fn debug(line: &str) -> String {
    format!("{:?}", parse(line).unwrap().command)
}

#[test]
fn the_description_is_consistent() {
    command().debug_assert();
}

#[test]
fn every_command_has_examples() {
    fn check(command: &clap::Command) {
        for sub in command.get_subcommands() {
            let help = sub.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("Examples:\n  petmail-node "), "{}", sub.get_name());
            check(sub);
        }
    }
    check(&command());
}

#[test]
fn the_basedir_stands_before_or_after_the_command() {
    for line in
        ["-d n1 status", "status -d n1", "--basedir n1 status --json", "contact verify 1 --basedir n1"]
    {
        assert_eq!(parse(line).unwrap().global.basedir, Some(PathBuf::from("n1")), "{line}");
    }
    let basedir = resolve(Some(PathBuf::from("n1"))).unwrap();
    assert!(basedir.path().is_absolute() && basedir.path().ends_with("n1"));
}

#[test]
fn the_contract_of_the_command_line_parses() {
    for line in [
        "create-node",
        "create-node n1 --rendezvous ws://h:1/v1 --listen 127.0.0.1:0 --name Zoë --socks5 127.0.0.1:9050",
        "create-node n1 --local-mailbox --hostname h --mailbox-listen 0.0.0.0:0 --allow-private-transports",
        "create-node --privacy high",
        "start --foreground --no-open",
        "start",
        "stop",
        "restart",
        "status --json",
        "doctor --json",
        "print-baseurl",
        "invite",
        "invite --petname bob 4-a-b-c --wait",
        "invite 4-a-b-c --petname bob",
        "invitations --json",
        "cancel-invitation 1",
        "accept-mailbox OFFER",
        "mailboxes --json",
        "mailbox remove 1",
        "addressbook --json",
        "contact rename 1 bob",
        "contact verify 1",
        "contact remove 1",
        "contact block 1",
        "contact unblock 1",
        "reset-keys 1",
        "reset-keys --all",
        "send-basic 1 hello --wait sent",
        "send-basic 1 hello --wait delivered",
        "retry 7",
        "cancel 7",
        "mark-read 7",
        "send 1 hello",
        "fetch-messages --json --cid 1 --since 7",
        "follow-messages --json",
        "messages --json --cid 1 --since 7",
        "start --passphrase-file f",
        "restart --passphrase-fd 3",
        "passphrase set",
        "passphrase set --passphrase-file old --new-passphrase-file new",
        "passphrase remove --passphrase-fd 0",
        "backup f",
        "backup f --force --passphrase-file f --node-passphrase-fd 3",
        "restore f",
        "restore f n1 --passphrase-file f",
        "completions bash",
        "status --log-format json",
    ] {
        assert!(parse(line).is_ok(), "{line}: {:?}", parse(line));
    }
}

#[test]
fn wrong_usage_is_refused() {
    for line in [
        "frobnicate",
        "send-basic 1",
        "send-basic bob hello",
        "send-basic 1 hello --wait read-aloud",
        "create-node --local-mailbox",
        "create-node --hostname h",
        "create-node --listen localhost",
        "create-node --privacy extreme",
        "contact",
        "passphrase",
        "passphrase set secret",
        "start --passphrase secret",
        "start --passphrase-file f --passphrase-fd 3",
        "backup",
        "backup f secret",
        "reset-keys",
        "reset-keys 1 --all",
        "restore",
        "status --log-format xml",
    ] {
        assert!(parse(line).is_err(), "{line}");
    }
}

#[test]
fn a_message_may_begin_with_a_hyphen() {
    assert!(debug("send-basic 1 -5").contains("message: \"-5\""));
    assert!(debug("send-basic 1 -").contains("message: \"-\""));
    assert!(debug("send-basic 1 --wait sent hello").contains("message: \"hello\", wait: Some(Sent)"));
    assert!(debug("send-basic 1 -5 --wait sent").contains("message: \"-5\", wait: Some(Sent)"));
}
