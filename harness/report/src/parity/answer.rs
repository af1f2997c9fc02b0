//! Whether two answers to a probe come to the same, for what a scenario can say about them.
//!
//! The status, the way of not getting through, exit codes, records and short texts are compared. What a scenario has no
//! words for is not: who exactly said no and how, in which order records come, and the wording of whole documents, which
//! the comparison of APIs holds against the originals.

use std::sync::LazyLock;

use regex::Regex;

use super::alike::Roles;

/// The four ways of not getting through, as answers begin with them.
const WAYS: [&str; 4] = ["blocked", "refused", "unreachable", "unresolved"];

pub(super) fn same(roles: &mut Roles, expected: &str, ours: &str, theirs: &str) -> bool {
    match (way(ours), way(theirs)) {
        (Some(ours), Some(theirs)) if ours != theirs => {
            allows(expected, ours) && allows(expected, theirs)
        }
        // A reset and an ICMP message are one way, and differ between implementations of Services. So are a name that is
        // not there and one without such a record, which is what a server's cache says of a name that has just gone.
        (Some("refused" | "unresolved"), Some(_)) => true,
        (None, None) => {
            if let (Some(ours), Some(theirs)) = (records(ours), records(theirs)) {
                return same_set(roles, &ours, &theirs);
            }
            // Of a document that was cut, the API's word may be missing.
            let told = says(ours) && says(theirs);
            roles.alike(&plain(ours, told), &plain(theirs, told))
        }
        _ => roles.alike(ours, theirs),
    }
}

fn way(answer: &str) -> Option<&'static str> {
    let word = answer.split(':').next()?;
    WAYS.into_iter().find(|way| *way == word)
}

/// Whether a scenario lets a probe end in this way: `blocked by networkpolicy/a/b or refused`.
fn allows(expected: &str, way: &str) -> bool {
    expected
        .split(" or ")
        .any(|one| one.split(' ').next() == Some(way))
}

fn records(answer: &str) -> Option<Vec<&str>> {
    Some(answer.strip_prefix("records ")?.split(", ").collect())
}

fn same_set(roles: &mut Roles, ours: &[&str], theirs: &[&str]) -> bool {
    let mut left = theirs.to_vec();
    ours.len() == left.len()
        && ours.iter().all(|record| {
            let same = left.iter().position(|other| roles.alike(record, other));
            same.map(|index| left.remove(index)).is_some()
        })
}

fn says(answer: &str) -> bool {
    MESSAGE
        .as_ref()
        .is_some_and(|message| message.is_match(answer))
}

/// Documents by what they are, and by what they say where they are the API's word.
fn plain(answer: &str, told: bool) -> String {
    let Some(document) = DOCUMENT.as_ref() else {
        return answer.to_owned();
    };
    document
        .replace_all(answer, |found: &regex::Captures<'_>| {
            let text = &found[0];
            if text.starts_with("\"-----BEGIN") {
                return "a PEM document".to_owned();
            }
            let message = MESSAGE.as_ref().and_then(|message| message.captures(text));
            let message = message.filter(|_| told);
            let said = message.as_ref().map_or("", |message| &message[1]);
            format!("a JSON document {said}")
        })
        .into_owned()
}

/// A quoted text that begins like PEM or JSON, with its escapes.
static DOCUMENT: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r#""(?:-----BEGIN|\{)(?:[^"\\]|\\.)*""#).ok());

static MESSAGE: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r#"\\"message\\": ?\\"((?:[^"\\]|\\\\\\.)*)\\""#).ok());
