//! Whether a condition holds of an object as it is now.

use kube::api::DynamicObject;
use serde_json::Value;
use trunkline_scenario::model::{CelError, Condition, Scope};

use super::{
    hopeless::{conditions, text},
    state,
};

/// The answer, with what there is to say about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Truth {
    Yes,
    /// The state the object is in instead.
    NotYet(String),
    /// The question itself makes no sense for this object.
    Never(String),
}

/// Holds `condition` against an object; `None` is an object that does not exist.
pub(crate) fn evaluate(
    condition: &Condition,
    object: Option<&DynamicObject>,
    scope: &Scope,
) -> Truth {
    let Some(object) = object else {
        return match condition {
            Condition::Gone => Truth::Yes,
            _ => Truth::NotYet("it does not exist".into()),
        };
    };
    match condition {
        Condition::Gone => Truth::NotYet(match object.metadata.deletion_timestamp {
            Some(_) => finalizers(object),
            None => "it exists".into(),
        }),
        Condition::Exists => Truth::Yes,
        Condition::Is(word) => is(object, word),
        Condition::IsNot(word) => match is(object, word) {
            Truth::Yes => Truth::NotYet(format!("it is {word}")),
            Truth::NotYet(_) => Truth::Yes,
            never @ Truth::Never(_) => never,
        },
        Condition::That(cel) => {
            let value = serde_json::to_value(object).unwrap_or(Value::Null);
            match cel.holds_for(&value, scope) {
                Ok(true) => Truth::Yes,
                Ok(false) => Truth::NotYet(state::describe(object)),
                Err(error @ CelError::Missing(_)) => Truth::NotYet(error.to_string()),
                Err(error) => Truth::Never(error.to_string()),
            }
        }
    }
}

fn is(object: &DynamicObject, word: &str) -> Truth {
    let Some(status) = object.data.get("status") else {
        return Truth::NotYet(state::describe(object));
    };
    let generation = object.metadata.generation;
    let stale = |holder: &Value| {
        let observed = holder.get("observedGeneration").and_then(Value::as_i64);
        matches!((observed, generation), (Some(observed), Some(generation)) if observed < generation)
    };
    // A status of the object before its last change says nothing about the object after it.
    if stale(status) {
        return Truth::NotYet("its controller has not seen the last change yet".into());
    }
    if let Some(condition) =
        conditions(status).find(|condition| text(condition, "type") == Some(word))
    {
        return match text(condition, "status") {
            _ if stale(condition) => {
                Truth::NotYet("its controller has not seen the last change yet".into())
            }
            Some("True") if object.metadata.deletion_timestamp.is_none() => Truth::Yes,
            _ => Truth::NotYet(state::describe(object)),
        };
    }
    let phase = ["phase", "printableStatus", "state"]
        .into_iter()
        .find_map(|field| text(status, field));
    if phase == Some(word) {
        Truth::Yes
    } else {
        Truth::NotYet(state::describe(object))
    }
}

fn finalizers(object: &DynamicObject) -> String {
    match object.metadata.finalizers.as_deref() {
        None | Some([]) => "it is being deleted".into(),
        Some(finalizers) => format!("it is being deleted and held by {}", finalizers.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[allow(
        clippy::needless_pass_by_value,
        reason = "statuses are written at the call"
    )]
    fn object(generation: i64, status: Value) -> DynamicObject {
        serde_json::from_value(
            json!({"metadata": {"name": "x", "generation": generation}, "status": status}),
        )
        .unwrap()
    }

    fn holds(condition: &Condition, object: Option<&DynamicObject>) -> bool {
        evaluate(condition, object, &Scope::default()) == Truth::Yes
    }

    fn is(word: &str) -> Condition {
        Condition::Is(word.into())
    }

    #[test]
    fn a_word_is_a_condition_or_else_a_phase() {
        let pod = object(
            1,
            json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "False"}]}),
        );
        assert!(holds(&is("Running"), Some(&pod)));
        assert!(!holds(&is("Ready"), Some(&pod)));
        assert!(holds(&Condition::IsNot("Ready".into()), Some(&pod)));
        assert!(!holds(&Condition::IsNot("Running".into()), Some(&pod)));
    }

    #[test]
    fn a_condition_wins_over_a_phase_of_the_same_name() {
        let both = object(
            1,
            json!({"phase": "Ready", "conditions": [{"type": "Ready", "status": "False"}]}),
        );
        assert!(!holds(&is("Ready"), Some(&both)));
    }

    #[test]
    fn what_a_controller_said_before_the_last_change_does_not_count() {
        let ready = json!([{"type": "Available", "status": "True"}]);
        let status = |observed| {
            object(
                3,
                json!({"observedGeneration": observed, "conditions": ready}),
            )
        };
        assert!(!holds(&is("Available"), Some(&status(2))));
        assert!(holds(&is("Available"), Some(&status(3))));
        let condition = |observed| {
            object(
                3,
                json!({"conditions": [{"type": "A", "status": "True", "observedGeneration": observed}]}),
            )
        };
        assert!(!holds(&is("A"), Some(&condition(2))));
        assert!(holds(&is("A"), Some(&condition(3))));
    }

    #[test]
    fn being_there_and_being_gone() {
        let there = object(1, json!({}));
        assert!(holds(&Condition::Exists, Some(&there)) && !holds(&Condition::Exists, None));
        assert!(holds(&Condition::Gone, None) && !holds(&Condition::Gone, Some(&there)));
        assert!(!holds(&Condition::IsNot("Ready".into()), None));
    }
}
