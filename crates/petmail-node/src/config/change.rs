//! Changes some keys of a configuration file and leaves the rest, comments too, as its owner wrote it.

use std::{fs, io, path::Path};

use petmail_net::program::write_private_file;
use toml_edit::{DocumentMut, Item, value};

use super::{Config, ConfigError, LoadError, Privacy};
use crate::api::types::SettingsChange;

/// Makes the change in the file at `path`, atomically, and returns what it says then.
///
/// # Errors
/// The file cannot be read or written, or the new values make no sense; the file is as before.
pub(crate) fn change(path: &Path, change: &SettingsChange) -> Result<Config, ChangeError> {
    let text =
        fs::read_to_string(path).map_err(|source| LoadError::Read { path: path.to_owned(), source })?;
    let changed = apply(&text, change)?;
    let config = Config::parse(&changed).map_err(ChangeError::Value)?;
    if changed != text {
        write_private_file(path, changed.as_bytes()).map_err(ChangeError::Write)?;
    }
    Ok(config)
}

fn apply(text: &str, change: &SettingsChange) -> Result<String, ChangeError> {
    let mut document: DocumentMut =
        text.parse().map_err(|error: toml_edit::TomlError| ChangeError::Toml(error.to_string()))?;
    let mut set = |key: &str, new: toml_edit::Value| match document.get_mut(key).and_then(Item::as_value_mut)
    {
        // Comments before and behind it stay.
        Some(old) => {
            let decor = old.decor().clone();
            *old = new;
            *old.decor_mut() = decor;
        }
        None => drop(document.insert(key, value(new))),
    };
    if let Some(name) = &change.display_name {
        set("name", name.as_str().into());
    }
    if let Some(privacy) = change.privacy {
        set("privacy", if privacy == Privacy::High { "high" } else { "normal" }.into());
    }
    if let Some(receipts) = change.read_receipts {
        set("read_receipts", receipts.into());
    }
    if let Some(everywhere) = change.copies_everywhere {
        set("copies_everywhere", everywhere.into());
    }
    Ok(document.to_string())
}

/// Why a configuration file was not changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum ChangeError {
    /// It cannot be read.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// It is no TOML.
    #[error("config.toml cannot be changed: {0}")]
    Toml(String),
    /// The new values make no sense.
    #[error(transparent)]
    Value(ConfigError),
    /// It cannot be written.
    #[error("config.toml cannot be written: {0}")]
    Write(#[source] io::Error),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(text: &str, change: &SettingsChange) -> String {
        apply(text, change).unwrap()
    }

    #[test]
    fn only_what_is_named_changes_and_comments_stay() {
        let text =
            "# mine\nname = \"Al\" # short\nlisten = \"127.0.0.1:0\"\n\n[local_mailbox]\nhostname = \"h\"\n";
        let change = SettingsChange { display_name: Some("Alice \"A\"".into()), ..SettingsChange::default() };
        let after = changed(text, &change);
        assert!(after.starts_with("# mine\nname = ") && after.contains(" # short\nlisten"), "{after}");
        assert_eq!(Config::parse(&after).unwrap().name, "Alice \"A\"");
        assert_eq!(changed(text, &SettingsChange::default()), text);
    }

    #[test]
    fn keys_that_were_not_there_are_added_before_the_tables() {
        let text = "name = \"Al\"\n\n[local_mailbox]\nhostname = \"h\"\n";
        let change = SettingsChange {
            read_receipts: Some(true),
            copies_everywhere: Some(true),
            privacy: Some(Privacy::High),
            ..SettingsChange::default()
        };
        let config = Config::parse(&changed(text, &change)).unwrap();
        assert!(config.read_receipts && config.copies_everywhere && config.privacy == Privacy::High);
        assert_eq!(config.local_mailbox.unwrap().hostname, "h");
    }

    #[test]
    fn a_senseless_value_leaves_the_file_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.toml");
        fs::write(&path, Config::default().to_commented_toml()).unwrap();
        let before = fs::read_to_string(&path).unwrap();
        let wrong = SettingsChange { display_name: Some("a\nb".into()), ..SettingsChange::default() };
        assert!(matches!(change(&path, &wrong), Err(ChangeError::Value(_))));
        assert_eq!(fs::read_to_string(&path).unwrap(), before);
        let right = SettingsChange { display_name: Some("Ünal".into()), ..SettingsChange::default() };
        assert_eq!(change(&path, &right).unwrap().name, "Ünal");
        assert_eq!(Config::load(&path).unwrap().name, "Ünal");
    }
}
