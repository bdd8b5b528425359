//! The Containerfiles in `deploy/container/`, as far as a machine tells that builds no images: the programs know every
//! option in them.

use petmail_integration_tests::deploy::{check_options, example};

/// The value of an instruction that stands once in a Containerfile.
fn instruction<'a>(text: &'a str, name: &str) -> &'a str {
    let mut found = text.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    let value = found.next().unwrap_or_else(|| panic!("no {name}"));
    assert_eq!(found.next(), None, "more than one {name}");
    value
}

#[test]
fn the_containerfiles_run_what_the_programs_know() {
    for server in ["mailbox", "rendezvous"] {
        let program = format!("petmail-{server}");
        let text = example(&format!("container/Containerfile.{server}"));
        assert_eq!(instruction(&text, "FROM"), "scratch");
        assert_ne!(instruction(&text, "USER"), "0");
        let list = |value: &str| {
            serde_json::from_str::<Vec<String>>(value).expect("the exec form, as there is no shell")
        };
        assert_eq!(list(instruction(&text, "ENTRYPOINT")), [format!("/{program}")]);
        let serve = list(instruction(&text, "CMD"));
        assert_eq!(serve.first().map(String::as_str), Some("serve"));
        check_options(&program, "serve", &serve.join(" "));
        check_options(&program, "serve", instruction(&text, "ENV"));
        let (_, health) = instruction(&text, "HEALTHCHECK").split_once("CMD ").expect("a command");
        assert_eq!(list(health), [format!("/{program}"), "status".to_owned()]);
        let port = instruction(&text, "EXPOSE");
        assert!(serve.iter().any(|argument| argument.ends_with(&format!(":{port}"))), "{serve:?}");
        assert_eq!(instruction(&text, "VOLUME"), "[\"/data\"]");
    }
}
