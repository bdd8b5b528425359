//! Whether a code is spelt right, before it is used up: a code works once, and a slip of the pen would end it.

use petmail_proto::invitation::{
    code::{Code, CodeError},
    words,
};
use strsim::osa_distance;

use crate::api::types::{CodeView, SuggestionView};

/// So many letters may be wrong, left out, added or swapped in a word.
const MAX_SLIPS: usize = 3;

/// So many words are suggested in place of one.
const MAX_INSTEAD: usize = 4;

/// Looks at a code that a person typed. Words are compared with the lists only if most of the others are on them: a code that a
/// person made up may have any words.
///
/// # Errors
/// It is no code at all.
pub(crate) fn check(typed: &str) -> Result<CodeView, CodeError> {
    let code: Code = typed.parse()?;
    let text = code.expose_text();
    if !code.is_human_made() {
        return Ok(CodeView { code: text.to_owned(), known: true, suggestions: Vec::new() });
    }
    let words: Vec<&str> = text.split('-').skip(1).collect();
    let wrong: Vec<_> =
        words.iter().enumerate().filter(|(place, word)| !words::list_at(*place).contains(word)).collect();
    let looks_generated = (2..=8).contains(&words.len()) && 2 * wrong.len() <= words.len();
    let suggestions = if looks_generated {
        wrong.into_iter().map(|(place, word)| suggestion(place, word)).collect()
    } else {
        Vec::new()
    };
    Ok(CodeView { code: text.to_owned(), known: false, suggestions })
}

/// What may have been meant at a place of a code, the nearest first.
fn suggestion(place: usize, word: &str) -> SuggestionView {
    let mut near: Vec<(usize, &str)> = words::list_at(place)
        .iter()
        .map(|candidate| (osa_distance(word, candidate), *candidate))
        .filter(|(slips, _)| *slips <= MAX_SLIPS)
        .collect();
    near.sort_unstable();
    SuggestionView {
        position: place.saturating_add(1),
        word: word.to_owned(),
        instead: near.into_iter().take(MAX_INSTEAD).map(|(_, word)| word.to_owned()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_pen_is_found_and_its_word_suggested() {
        let view = check("4 Vocalist glucsoe onlooker").unwrap();
        assert_eq!((view.code.as_str(), view.known), ("4-vocalist-glucsoe-onlooker", false));
        let [suggestion] = view.suggestions.as_slice() else { panic!("{view:?}") };
        assert_eq!((suggestion.position, suggestion.word.as_str()), (2, "glucsoe"));
        assert_eq!(suggestion.instead.first().map(String::as_str), Some("glucose"));
    }

    #[test]
    fn a_right_code_and_one_that_a_person_made_up_have_no_slips() {
        assert!(check(" 4-VOCALIST glucose-onlooker ").unwrap().known);
        let made_up = check("7-my grandmother's third bicycle was blue").unwrap();
        assert_eq!((made_up.known, made_up.suggestions), (false, Vec::new()));
    }

    #[test]
    fn words_in_the_wrong_order_are_slips() {
        let view = check("4-glucose-vocalist-onlooker").unwrap();
        assert!(view.suggestions.is_empty(), "most are wrong, so it may be made up: {view:?}");
        assert_eq!(check("4-vocalist-glucose-vocalist-onlooker").unwrap().suggestions.len(), 1);
    }

    #[test]
    fn what_is_no_code_is_refused() {
        for wrong in ["", "hello", "4", "4-", "x-y-z", &"4-".repeat(1_000)] {
            assert!(check(wrong).is_err(), "{wrong}");
        }
    }
}
