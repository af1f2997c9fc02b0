//! Judging: what was expected of a probe against what came of it. Pure.
//!
//! There are four ways of not getting through, and they are never mixed up: an expectation of one of them is not met
//! by another one, nor by a probe that could not be carried out.

mod answer;
mod describe;
#[cfg(test)]
mod tests;

use std::time::Duration;

use trunkline_guest::protocol::Outcome as Came;
use trunkline_scenario::{
    Diagnostic, Span,
    model::{Expect, Outcome, Scope, Way},
};

pub(crate) use self::describe::came;
use crate::events::{Mismatch, Verdict};

/// A verdict, and where the expectation that decided it is written.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Judged {
    pub verdict: Verdict,
    pub at: Span,
}

/// Judges an outcome. An error only when a captured value is missing from the expectation.
pub(crate) fn judge(
    expect: &Expect,
    outcome: &Came,
    took: Duration,
    scope: &Scope,
) -> Result<Judged, Diagnostic> {
    let got = came(outcome);
    match &expect.outcome {
        Outcome::Answered(answer) => {
            let expected = describe::answer(answer);
            let Came::Answered(given) = outcome else {
                let mismatch = Mismatch {
                    part: "outcome".into(),
                    expected: format!("an answer: {expected}"),
                    got: got.clone(),
                };
                return Ok(judged(expected, got, vec![mismatch], &expect.at));
            };
            let parts = answer::check(answer, given, took, scope)?;
            let at = parts
                .iter()
                .find_map(|part| part.at.clone())
                .unwrap_or_else(|| expect.at.clone());
            let mismatches = parts.into_iter().map(|part| part.mismatch).collect();
            Ok(judged(expected, got, mismatches, &at))
        }
        Outcome::Unanswered(ways) => {
            let expected = describe::ways(ways);
            let met =
                way(outcome).is_some_and(|came| ways.iter().any(|expected| expected.way == came));
            let mismatch = Mismatch {
                part: "outcome".into(),
                expected: expected.clone(),
                got: got.clone(),
            };
            Ok(judged(
                expected,
                got,
                if met { Vec::new() } else { vec![mismatch] },
                &expect.at,
            ))
        }
    }
}

fn judged(expected: String, got: String, mismatches: Vec<Mismatch>, at: &Span) -> Judged {
    Judged {
        verdict: Verdict {
            passed: mismatches.is_empty(),
            expected,
            got,
            mismatches,
        },
        at: at.clone(),
    }
}

/// In which of the four ways a probe did not get through; `None` when it did, or could not be carried out.
pub(crate) fn way(outcome: &Came) -> Option<Way> {
    match outcome {
        Came::Blocked(_) => Some(Way::Blocked),
        Came::Refused(_) => Some(Way::Refused),
        Came::Unreachable(_) => Some(Way::Unreachable),
        Came::Unresolved(_) => Some(Way::Unresolved),
        Came::Answered(_) | Came::Error(_) => None,
    }
}
