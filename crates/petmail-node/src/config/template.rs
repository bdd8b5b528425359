//! The commented configuration file that `create-node` writes.

use toml::Value;

use super::{Config, Privacy, default_mailbox_listen};

/// Writes a file that says `config`; keys without a value are there as comments.
pub(super) fn render(config: &Config) -> String {
    let mut text = format!(
        r#"# The configuration of this Petmail node. It is read at start; unknown keys are refused.

# The name that new contacts are sent. It may be empty.
name = {name}

# The rendezvous server, where invitations meet: ws://HOST[:PORT]/v1 or wss://HOST[:PORT]/v1.
rendezvous = {rendezvous}

# Where the control API listens: a loopback address. Port 0 is chosen once, at the first start.
listen = {listen}

# "normal", or "high": acknowledgements wait longer, so that they say less about when you read.
privacy = {privacy}

# Whether contacts are told how far you have read what they wrote.
read_receipts = {receipts}

# Whether each mailbox of a contact gets a copy of a message, and not only the first that works: safer against mailboxes
# that lose messages, and more to carry.
copies_everywhere = {everywhere}

# Whether mailbox addresses learnt from contacts may lead into this machine's own networks (for trials and LANs).
allow_private_transports = {private}

# Where fetched files go unless you say otherwise: an absolute path. Without it, your folder for downloads.
{downloads}

# The SOCKS5 proxy, for instance Tor's, that every connection goes through.
{socks5}
"#,
        name = quoted(&config.name),
        rendezvous = quoted(&config.rendezvous),
        listen = quoted(&config.listen.to_string()),
        privacy = quoted(match config.privacy {
            Privacy::Normal => "normal",
            Privacy::High => "high",
        }),
        receipts = config.read_receipts,
        everywhere = config.copies_everywhere,
        private = config.allow_private_transports,
        downloads = match &config.download_folder {
            Some(folder) => format!("download_folder = {}", quoted(folder)),
            None => "# download_folder = \"/home/me/Downloads\"".to_owned(),
        },
        socks5 = match &config.socks5 {
            Some(proxy) => format!("socks5 = {}", quoted(proxy)),
            None => "# socks5 = \"127.0.0.1:9050\"".to_owned(),
        },
    );
    text.push_str(&local_mailbox(config));
    text
}

fn local_mailbox(config: &Config) -> String {
    let about =
        "\n# A mailbox inside the node, if other people's machines can reach this one under `hostname`.\n";
    match &config.local_mailbox {
        Some(mailbox) => format!(
            "{about}[local_mailbox]\nhostname = {}\nlisten = {}\n",
            quoted(&mailbox.hostname),
            quoted(&mailbox.listen.to_string()),
        ),
        None => format!(
            "{about}# [local_mailbox]\n# hostname = \"home.example\"\n# listen = \"{}\"\n",
            default_mailbox_listen(),
        ),
    }
}

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}
