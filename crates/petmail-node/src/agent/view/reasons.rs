//! Why something is as it is: a name for programs, a text for people, and what differs from case to case. And what there is
//! to do about the node as a whole. The names are listed in `docs/api/`.

use crate::api::types::{IssueView, Severity};

/// Why something is in its state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reason {
    /// A name that does not change.
    code: &'static str,
    detail: Option<String>,
    /// The whole in one line, with what to do.
    text: String,
}

impl Reason {
    /// A reason that is the same whenever it applies.
    pub(super) fn plain(code: &'static str, text: &str) -> Self {
        Self { code, detail: None, text: text.to_owned() }
    }

    /// A reason with what differs from case to case.
    pub(super) fn with(code: &'static str, detail: impl Into<String>, text: String) -> Self {
        Self { code, detail: Some(detail.into()), text }
    }

    /// The whole in one line.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// What differs from case to case, or else the whole.
    pub(super) fn detail(&self) -> &str {
        self.detail.as_deref().unwrap_or(&self.text)
    }
}

/// A reason as the views show it: text, name, detail.
pub(super) type Parts = (Option<String>, Option<String>, Option<String>);

/// Takes a reason apart for a view.
pub(super) fn parts(reason: Option<Reason>) -> Parts {
    reason
        .map_or((None, None, None), |reason| (Some(reason.text), Some(reason.code.to_owned()), reason.detail))
}

/// Makes an issue about the node as a whole; what it is about is added with the methods below.
pub(crate) fn issue(code: &str, severity: Severity, text: impl Into<String>) -> IssueView {
    IssueView {
        code: code.to_owned(),
        severity,
        cid: None,
        name: None,
        mailbox: None,
        count: None,
        detail: None,
        text: text.into(),
    }
}

impl IssueView {
    /// Adds what differs from case to case.
    pub(crate) fn detailed(self, detail: impl Into<String>) -> Self {
        Self { detail: Some(detail.into()), ..self }
    }

    /// Names the mailbox that it is about.
    pub(crate) fn of_mailbox(self, mailbox: u32) -> Self {
        Self { mailbox: Some(mailbox), ..self }
    }

    /// Names the contact that it is about.
    pub(crate) fn of_contact(self, cid: u32, petname: &str) -> Self {
        Self { cid: Some(cid), name: Some(petname.to_owned()), ..self }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    const API: &str = include_str!("../../../../../docs/api/README.md");
    const STRINGS: &str = include_str!("../../../panel/app/strings.mjs");

    /// The names in the sources beside this file, as the first argument of what makes reasons and issues.
    fn codes(makers: &[&str]) -> BTreeSet<String> {
        let sources = [include_str!("../view.rs"), include_str!("../health.rs")].concat();
        let squeezed: String = sources.split_whitespace().collect::<Vec<_>>().join("");
        let after = makers.iter().flat_map(|maker| squeezed.split(*maker).skip(1));
        after.filter_map(|rest| rest.split('"').next().map(str::to_owned)).collect()
    }

    #[test]
    fn every_name_is_documented_and_has_words_in_the_panel() {
        for (makers, kind) in [
            (&["Reason::plain(\"", "Reason::with(\""][..], "reason"),
            (&["reasons::issue(\"", "issue(\""][..], "issue"),
        ] {
            let codes = codes(makers);
            assert!(codes.len() > 8, "{codes:?}");
            for code in codes {
                assert!(code.chars().all(|c| c.is_ascii_lowercase() || c == '-'), "{code}");
                assert!(API.contains(&format!("`{code}`")), "{code} is not in docs/api");
                assert!(STRINGS.contains(&format!("\"{kind}.{code}\"")), "{code} has no words in the panel");
            }
        }
    }
}
