//! Sentences about captured values, as `expect` of a step without a probe lists them.

use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::Value;

use crate::diagnostic::{Code, Diagnostic};
use crate::model::{CelError, Mismatch, Scope, Statement, Template};
use crate::span::Located;

/// How two values are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    Is,
    IsNot,
    IsIn,
    IsNotIn,
    IsDerivedFrom,
    Contains,
    DoesNotContain,
}

/// The words of each comparison and what they mean. Longer words come before those they contain.
pub const COMPARISONS: &[(&str, Comparison, &str)] = &[
    (
        "is derived from",
        Comparison::IsDerivedFrom,
        "the MAC address is `0a:58` and the four bytes of the IPv4 address, as OVN-Kubernetes makes them",
    ),
    (
        "is not in",
        Comparison::IsNotIn,
        "the address lies outside of the network",
    ),
    (
        "is in",
        Comparison::IsIn,
        "the address lies inside of the network",
    ),
    ("is not", Comparison::IsNot, "the values differ"),
    ("is", Comparison::Is, "the values are the same"),
    (
        "does not contain",
        Comparison::DoesNotContain,
        "the text does not occur in it, or the list has no such item",
    ),
    (
        "contains",
        Comparison::Contains,
        "the text occurs in it, or the list has such an item",
    ),
];

/// Splits a sentence at its words.
pub(crate) fn parse(text: &Located<String>) -> Result<Statement, Diagnostic> {
    let found = COMPARISONS.iter().find_map(|(words, how, _)| {
        let (left, right) = text.value.split_once(&format!(" {words} "))?;
        Some((left.trim(), *how, right.trim()))
    });
    let Some((left, how, right)) =
        found.filter(|(left, _, right)| !left.is_empty() && !right.is_empty())
    else {
        let words: Vec<&str> = COMPARISONS.iter().map(|(words, _, _)| *words).collect();
        return Err(Diagnostic::error(
            Code::BadSentence,
            &text.at,
            format!("`{}` does not compare anything", text.value),
        )
        .help(format!(
            "write `${{server.ip}} is in 192.168.200.0/24`; the comparisons are {}; \
             for anything else `{{that: \"CEL\"}}`",
            crate::suggest::listed(words)
        )));
    };
    let side = |side: &str| Template::parse(&Located::new(side.to_owned(), text.at.clone()));
    Ok(Statement::Compare {
        text: Template::parse(text)?,
        left: side(left)?,
        how,
        right: side(right)?,
    })
}

/// `None` when the statement holds.
pub(crate) fn check(statement: &Statement, scope: &Scope) -> Result<Option<Mismatch>, Diagnostic> {
    let at = statement.at();
    match statement {
        Statement::That(cel) => match cel.holds(scope) {
            Ok(true) => Ok(None),
            Ok(false) => Ok(Some(Mismatch {
                expected: cel.text().to_owned(),
                got: "false".to_owned(),
                at: at.clone(),
                path: None,
            })),
            Err(error @ (CelError::Missing(_) | CelError::Failed(_) | CelError::NotBoolean(_))) => {
                Err(Diagnostic::error(Code::BadCel, at, error.to_string()))
            }
        },
        Statement::Compare {
            left, how, right, ..
        } => {
            let left_value = left.fill_value(scope)?;
            let right_value = right.fill_value(scope)?;
            let holds = compare(&left_value, *how, &right_value)
                .map_err(|why| Diagnostic::error(Code::BadValue, at, why))?;
            Ok((!holds).then(|| Mismatch {
                expected: format!("{} {}", words(*how), show(&right_value)),
                got: show(&left_value),
                at: at.clone(),
                path: Some(left.to_string()),
            }))
        }
    }
}

fn words(how: Comparison) -> &'static str {
    COMPARISONS
        .iter()
        .find(|(_, one, _)| *one == how)
        .map_or("is", |(words, _, _)| words)
}

fn show(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn compare(left: &Value, how: Comparison, right: &Value) -> Result<bool, String> {
    Ok(match how {
        Comparison::Is => show(left) == show(right),
        Comparison::IsNot => show(left) != show(right),
        Comparison::IsIn => is_in(left, right)?,
        Comparison::IsNotIn => !is_in(left, right)?,
        Comparison::IsDerivedFrom => show(left).to_lowercase() == derived_mac(&show(right))?,
        Comparison::Contains => contains(left, right),
        Comparison::DoesNotContain => !contains(left, right),
    })
}

fn is_in(address: &Value, network: &Value) -> Result<bool, String> {
    let (address, network) = (show(address), show(network));
    let bare = address.split('/').next().unwrap_or("");
    let parsed: IpAddr = bare
        .parse()
        .map_err(|_| format!("`{address}` is not an IP address"))?;
    let network: IpNet = network
        .parse()
        .map_err(|_| format!("`{network}` is not a network such as 192.168.200.0/24"))?;
    Ok(network.contains(&parsed))
}

/// OVN-Kubernetes: `0a:58` and the bytes of the IPv4 address.
fn derived_mac(address: &str) -> Result<String, String> {
    let bare = address.split('/').next().unwrap_or("");
    match bare.parse() {
        Ok(IpAddr::V4(v4)) => {
            let [a, b, c, d] = v4.octets();
            Ok(format!("0a:58:{a:02x}:{b:02x}:{c:02x}:{d:02x}"))
        }
        _ => Err(format!("`{address}` is not an IPv4 address")),
    }
}

fn contains(whole: &Value, part: &Value) -> bool {
    match whole {
        Value::Array(items) => items.iter().any(|item| show(item) == show(part)),
        other => show(other).contains(&show(part)),
    }
}
