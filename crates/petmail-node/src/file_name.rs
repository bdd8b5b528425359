//! Names of files that others chose, made safe to show and to write.

use sanitize_filename::{Options, sanitize_with_options};

use crate::treacherous::is_treacherous;

/// The longest safe name, in bytes: with a number behind it, it still is a name for every file system.
const MAX_BYTES: usize = 200;

/// Returns a name that is one name of at most 200 bytes on every system, hidden on none, and looks like what it is.
///
/// What separates paths, control characters and names that a system keeps for itself are replaced; what turns the direction of
/// writing or is not seen at all is left out (Unicode Technical Report 36, section 2.9).
#[must_use]
pub(crate) fn safe_name(name: &str) -> String {
    let options = Options { windows: true, truncate: false, replacement: "_" };
    let name = sanitize_with_options(trimmed(name), options).replace(is_treacherous, "");
    let name = trimmed(&name);
    let name = if name.is_empty() { "file" } else { name };
    shortened(name)
}

/// Without what hides a file, or is lost on some systems.
fn trimmed(name: &str) -> &str {
    name.trim_matches(|character: char| character.is_whitespace() || character == '.')
}

/// Returns the name with a number, as people expect it of a second file of that name: `a (2).txt`.
#[must_use]
pub(crate) fn numbered(name: &str, number: u32) -> String {
    let (stem, extension) = split(name);
    format!("{stem} ({number}){extension}")
}

/// Cuts a long name in its middle, before the extension.
fn shortened(name: &str) -> String {
    let (stem, extension) = split(name);
    let (stem, extension) = if extension.len() < MAX_BYTES / 2 { (stem, extension) } else { (name, "") };
    let (stem, _) = stem.split_at(stem.floor_char_boundary(MAX_BYTES - extension.len()));
    format!("{stem}{extension}")
}

fn split(name: &str) -> (&str, &str) {
    match name.rfind('.') {
        Some(dot) if dot > 0 => name.split_at(dot),
        _ => (name, ""),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_that_lead_elsewhere_or_look_like_others_are_made_safe() {
        for (name, safe) in [
            ("photo.jpg", "photo.jpg"),
            ("Übergrößenträger 2026 (final).txt", "Übergrößenträger 2026 (final).txt"),
            ("../../etc/passwd", "_.._etc_passwd"),
            ("/etc/passwd", "_etc_passwd"),
            ("C:\\Windows\\x", "C__Windows_x"),
            ("..", "file"),
            (".", "file"),
            ("", "file"),
            ("   ", "file"),
            (".bashrc", "bashrc"),
            ("con.txt", "_"),
            ("a\nb\0c\u{1b}[2J", "a_b_c_[2J"),
            ("a\u{202e}gpj.exe", "agpj.exe"),
            ("a\u{200b}\u{feff}.txt", "a.txt"),
            ("a. ", "a"),
        ] {
            assert_eq!(safe_name(name), safe, "{name:?}");
        }
    }

    #[test]
    fn long_names_keep_their_extension() {
        assert_eq!(safe_name(&format!("{}.tar", "ä".repeat(120))), format!("{}.tar", "ä".repeat(98)));
        assert_eq!(safe_name(&"x".repeat(300)).len(), MAX_BYTES);
        assert_eq!(numbered("a.tar", 2), "a (2).tar");
        assert_eq!(numbered("README", 3), "README (3)");
    }

    proptest! {
        #[test]
        fn every_name_becomes_one_name(name in any::<String>()) {
            let safe = safe_name(&name);
            prop_assert!((1..=MAX_BYTES).contains(&safe.len()));
            prop_assert!(!safe.starts_with('.') && !safe.contains(['/', '\\', '\0']));
            prop_assert!(!safe.contains(is_treacherous));
            prop_assert_eq!(safe_name(&safe), safe);
        }
    }
}
