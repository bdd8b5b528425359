use clap::{CommandFactory, Parser};

use super::*;

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    settings: Settings,
}

fn load(text: &str) -> Result<Settings, ConfigError> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.toml");
    std::fs::write(&path, text).unwrap();
    Settings::load(&path)
}

fn flags(flags: &[&str]) -> Settings {
    Command::try_parse_from([&["x"], flags].concat()).unwrap().settings
}

#[test]
fn flags_win_over_the_file() {
    let file =
        load("listen = '127.0.0.1:1'\nstore = 'redb'\nplain-http = true\n[network]\nmax_headers = 9\n");
    let file = file.unwrap();
    assert_eq!(file.tls(), Some(TlsChoice::PlainHttp));
    let settings =
        flags(&["--listen", "127.0.0.1:2", "--tls-cert", "c", "--tls-key", "k"]).over(file.clone());
    assert_eq!(settings.listen.unwrap().port(), 2);
    assert_eq!(settings.tls(), Some(TlsChoice::Certificate { cert: "c".into(), key: "k".into() }));
    assert_eq!(settings.store, Some(EngineKind::Redb));
    assert_eq!(settings.network.max_headers, 9);
    let settings = flags(&[]).over(file);
    assert_eq!(settings.tls(), Some(TlsChoice::PlainHttp));
    assert_eq!(settings.listen.unwrap().port(), 1);
}

#[test]
fn proxies_are_named_one_by_one() {
    let file =
        load("trusted-proxy = ['10.0.0.0/8', '::1']\nlog-addresses = true\nmetrics-listen = '127.0.0.1:9'\n");
    let file = file.unwrap();
    assert_eq!(file.peers().trusted_proxies.len(), 2);
    let settings = flags(&["--trusted-proxy", "192.0.2.1", "--trusted-proxy", "192.0.2.2"]).over(file);
    let expected: Vec<AddressRange> = ["192.0.2.1", "192.0.2.2"].map(|range| range.parse().unwrap()).into();
    assert_eq!(settings.peers(), Peers { trusted_proxies: expected, log_addresses: true });
    assert_eq!(settings.metrics_listen.unwrap().port(), 9);
    assert!(load("trusted-proxy = ['proxy.example']").is_err());
}

#[test]
fn mistakes_in_the_file_are_refused() {
    for text in ["lisen = '127.0.0.1:1'", "store = 'etcd'", "listen = 5", "[network]\nmax_heads = 9", "="] {
        assert!(matches!(load(text), Err(ConfigError::Malformed { .. })), "{text}");
    }
    for text in ["tls-cert = 'c'", "self-signed = true\nplain-http = true"] {
        assert!(matches!(load(text), Err(ConfigError::Contradiction { .. })), "{text}");
    }
    assert!(Settings::load(Path::new("/nonexistent/config.toml")).unwrap().tls().is_none());
}

#[test]
fn contradicting_flags_are_refused() {
    for wrong in [["--self-signed", "--plain-http"], ["--tls-cert", "c"], ["--store", "etcd"]] {
        assert!(Command::try_parse_from(["x", wrong[0], wrong[1]]).is_err(), "{wrong:?}");
    }
}

#[test]
fn defaults_follow_the_url() {
    for (url, listen) in [
        ("https://mail.example.org", "0.0.0.0:443"),
        ("http://abc.onion/p", "0.0.0.0:80"),
        ("https://127.0.0.1:8443/p", "127.0.0.1:8443"),
        ("https://[::1]:9", "[::1]:9"),
        ("http://[::1]", "[::1]:80"),
        ("http://localhost:7", "127.0.0.1:7"),
    ] {
        assert_eq!(default_listen(&url.parse().unwrap()).to_string(), listen, "{url}");
    }
    assert_eq!(default_tls(&"https://a.b".parse().unwrap()), TlsChoice::SelfSigned);
    assert_eq!(default_tls(&"http://a.b".parse().unwrap()), TlsChoice::PlainHttp);
}

#[test]
fn administration_stays_on_this_machine() {
    assert_eq!("unix:/run/x".parse(), Ok(AdminListen::Unix("/run/x".into())));
    assert!(matches!("127.0.0.1:0".parse(), Ok(AdminListen::Loopback(_))));
    for text in ["", "unix:", "/run/x", "0.0.0.0:1", "192.0.2.1:1"] {
        assert_eq!(text.parse::<AdminListen>(), Err(ParseAdminListenError), "{text}");
    }
}

#[test]
fn the_shipped_example_names_every_setting_and_equals_the_defaults() {
    let text = include_str!("../../../../deploy/petmail-mailbox.toml");
    let example: Settings = toml::from_str(text).unwrap();
    assert_eq!(
        format!("{example:?}"),
        format!(
            "{:?}",
            Settings { store: Some(EngineKind::Sled), blobs: Some(Blobs::Folder), ..Settings::default() }
        )
    );
    let complete: toml::Table = toml::from_str(&text.replace("#! ", "")).unwrap();
    assert!(toml::from_str::<Settings>(&text.replace("#! ", "")).is_ok());
    for flag in Command::command().get_arguments().filter_map(clap::Arg::get_long) {
        assert!(complete.contains_key(flag), "{flag} is missing");
    }
    let network = toml::Table::try_from(Limits::default()).unwrap();
    for key in network.keys() {
        assert!(complete["network"].get(key).is_some(), "{key} is missing");
    }
}
