//! `x-kubernetes-validations`: that CEL rules parse and their other fields make sense.

use serde_json::Value;

use super::{Checker, list, text};
use crate::schema::error::FieldError;
use crate::schema::{path, rules};

/// A rule as the server's internal type prints.
fn as_go(rule: &Value) -> Value {
    serde_json::json!({
        "FieldPath": text(rule, "fieldPath"),
        "Message": text(rule, "message"),
        "MessageExpression": text(rule, "messageExpression"),
        "OptionalOldSelf": rule.get("optionalOldSelf"),
        "Reason": rule.get("reason"),
        "Rule": text(rule, "rule"),
    })
}

impl Checker {
    pub(super) fn rules(&mut self, schema: &Value, at: &str) {
        const REASONS: [&str; 4] = [
            "FieldValueRequired",
            "FieldValueForbidden",
            "FieldValueInvalid",
            "FieldValueDuplicate",
        ];
        let at = path::child(at, "x-kubernetes-validations");
        for (i, rule) in list(schema, "x-kubernetes-validations").iter().enumerate() {
            let at = path::index(&at, i);
            let rule_at = path::child(&at, "rule");
            let expression = text(rule, "rule").trim();
            if expression.is_empty() {
                self.required(rule_at, "rule is not specified");
            } else if let Err(e) = rules::compile(expression) {
                self.invalid(rule_at, &as_go(rule), &format!("compilation failed: {e}"));
            } else if rule.get("optionalOldSelf").is_some() && !expression.contains("oldSelf") {
                self.invalid(
                    path::child(&at, "optionalOldSelf"),
                    &rule["optionalOldSelf"],
                    "may not be set if oldSelf is not used in rule",
                );
            }
            let message = text(rule, "message");
            let message_at = path::child(&at, "message");
            if !message.is_empty() && message.trim().is_empty() {
                self.invalid(
                    message_at,
                    &message.into(),
                    "must be non-empty if specified",
                );
            } else if message.trim().contains('\n') {
                self.invalid(message_at, &message.into(), "must not contain line breaks");
            } else if expression.contains('\n') && message.is_empty() {
                self.required(
                    message_at,
                    "message must be specified if rule contains line breaks",
                );
            }
            let message_expression = text(rule, "messageExpression");
            if !message_expression.is_empty() {
                let at = path::child(&at, "messageExpression");
                if message_expression.trim().is_empty() {
                    self.required(at, "messageExpression must be non-empty if specified");
                } else if let Err(e) = rules::compile(message_expression) {
                    self.invalid(
                        at,
                        &as_go(rule),
                        &format!("messageExpression compilation failed: {e}"),
                    );
                }
            }
            if let Some(reason) = rule.get("reason").filter(|r| !r.is_null())
                && !reason.as_str().is_some_and(|r| REASONS.contains(&r))
            {
                let mut sorted = REASONS;
                sorted.sort_unstable();
                self.errors.push(FieldError::not_supported(
                    path::child(&at, "reason"),
                    reason,
                    &sorted,
                ));
            }
        }
    }
}
