//! The name forms of Kubernetes: DNS labels and subdomains, qualified names, label values. Each check returns the
//! complaints, none when the value is fine.

use std::sync::LazyLock;

use regex::Regex;

const LABEL: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
const LABEL_1035: &str = "[a-z]([-a-z0-9]*[a-z0-9])?";
const QUALIFIED: &str = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";

static SUBDOMAIN: LazyLock<String> = LazyLock::new(|| format!("{LABEL}(\\.{LABEL})*"));
static LABEL_VALUE: LazyLock<String> = LazyLock::new(|| format!("({QUALIFIED})?"));

static LABEL_RE: LazyLock<Regex> = LazyLock::new(|| whole(LABEL));
static LABEL_1035_RE: LazyLock<Regex> = LazyLock::new(|| whole(LABEL_1035));
static QUALIFIED_RE: LazyLock<Regex> = LazyLock::new(|| whole(QUALIFIED));
static SUBDOMAIN_RE: LazyLock<Regex> = LazyLock::new(|| whole(&SUBDOMAIN));
static LABEL_VALUE_RE: LazyLock<Regex> = LazyLock::new(|| whole(&LABEL_VALUE));

const LABEL_RULE: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', \
                          and must start and end with an alphanumeric character";
const LABEL_1035_RULE: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', \
                               start with an alphabetic character, and end with an alphanumeric character";
const SUBDOMAIN_RULE: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', \
                              and must start and end with an alphanumeric character";
const QUALIFIED_RULE: &str = "must consist of alphanumeric characters, '-', '_' or '.', \
                              and must start and end with an alphanumeric character";
const LABEL_VALUE_RULE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', \
                                and must start and end with an alphanumeric character";

fn whole(pattern: &str) -> Regex {
    Regex::new(&format!("^(?:{pattern})$")).expect("the patterns above are valid")
}

fn too_long(max: usize) -> String {
    format!("must be no more than {max} characters")
}

fn mismatch(rule: &str, pattern: &str, examples: &[&str]) -> String {
    let examples: Vec<String> = examples.iter().map(|e| format!("'{e}'")).collect();
    format!(
        "{rule} (e.g. {}, regex used for validation is '{pattern}')",
        examples.join(",  or ")
    )
}

/// RFC 1123 label: namespaces, containers, ports of services.
pub fn dns1123_label(value: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    if value.len() > 63 {
        complaints.push(too_long(63));
    }
    if !LABEL_RE.is_match(value) {
        complaints.push(if SUBDOMAIN_RE.is_match(value) {
            "must not contain dots".to_owned()
        } else {
            mismatch(LABEL_RULE, LABEL, &["my-name", "123-abc"])
        });
    }
    complaints
}

/// RFC 1123 subdomain: most objects.
pub fn dns1123_subdomain(value: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    if value.len() > 253 {
        complaints.push(too_long(253));
    }
    if !SUBDOMAIN_RE.is_match(value) {
        complaints.push(mismatch(SUBDOMAIN_RULE, &SUBDOMAIN, &["example.com"]));
    }
    complaints
}

/// RFC 1035 label: services.
pub fn dns1035_label(value: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    if value.len() > 63 {
        complaints.push(too_long(63));
    }
    if !LABEL_1035_RE.is_match(value) {
        complaints.push(mismatch(
            LABEL_1035_RULE,
            LABEL_1035,
            &["my-name", "abc-123"],
        ));
    }
    complaints
}

/// A name that is one path segment: RBAC objects.
pub fn path_segment(value: &str) -> Vec<String> {
    if value == "." || value == ".." {
        return vec![format!("may not be '{value}'")];
    }
    ["/", "%"]
        .into_iter()
        .filter(|illegal| value.contains(illegal))
        .map(|illegal| format!("may not contain '{illegal}'"))
        .collect()
}

/// Label keys, annotation keys, finalizers: `[prefix/]name`.
pub fn qualified(value: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    let rule = || mismatch(QUALIFIED_RULE, QUALIFIED, &["MyName", "my.name", "123-abc"]);
    let parts: Vec<&str> = value.split('/').collect();
    let name = match parts.as_slice() {
        [name] => name,
        [prefix, name] => {
            if prefix.is_empty() {
                complaints.push("prefix part must be non-empty".to_owned());
            } else {
                complaints.extend(
                    dns1123_subdomain(prefix)
                        .into_iter()
                        .map(|c| format!("prefix part {c}")),
                );
            }
            name
        }
        _ => {
            return vec![format!(
                "a qualified name {} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')",
                rule()
            )];
        }
    };
    if name.is_empty() {
        complaints.push("name part must be non-empty".to_owned());
    } else if name.len() > 63 {
        complaints.push(format!("name part {}", too_long(63)));
    }
    if !QUALIFIED_RE.is_match(name) {
        complaints.push(format!("name part {}", rule()));
    }
    complaints
}

/// Label values.
pub fn label_value(value: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    if value.len() > 63 {
        complaints.push(too_long(63));
    }
    if !LABEL_VALUE_RE.is_match(value) {
        complaints.push(mismatch(
            LABEL_VALUE_RULE,
            &LABEL_VALUE,
            &["MyValue", "my_value", "12345"],
        ));
    }
    complaints
}

/// How a kind's objects may be named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameRule {
    Subdomain,
    Label,
    Label1035,
    PathSegment,
}

impl NameRule {
    /// Complaints about a name; `prefix` for a generateName, whose last character is not the last one.
    pub fn check(self, name: &str, prefix: bool) -> Vec<String> {
        let masked = match name.strip_suffix('-') {
            Some(stem) if prefix && self != Self::PathSegment => format!("{stem}a"),
            _ => name.to_owned(),
        };
        match self {
            Self::Subdomain => dns1123_subdomain(&masked),
            Self::Label => dns1123_label(&masked),
            Self::Label1035 => dns1035_label(&masked),
            Self::PathSegment => path_segment(&masked),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("a", true)]
    #[case("a-b", true)]
    #[case("-a", false)]
    #[case("A", false)]
    #[case("a.b", false)]
    fn labels(#[case] value: &str, #[case] fine: bool) {
        assert_eq!(dns1123_label(value).is_empty(), fine);
    }

    #[test]
    fn upstream_words() {
        assert_eq!(
            dns1123_subdomain("Foo_bar"),
            [
                "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start \
              and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
              '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
            ]
        );
        assert_eq!(
            label_value("a b"),
            [
                "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start \
              and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation \
              is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
            ]
        );
    }

    #[test]
    fn a_generated_prefix_may_end_in_a_dash() {
        assert!(NameRule::Subdomain.check("web-", true).is_empty());
        assert!(!NameRule::Subdomain.check("web-", false).is_empty());
    }

    #[rstest]
    #[case("app", true)]
    #[case("example.com/app", true)]
    #[case("/app", false)]
    #[case("a/b/c", false)]
    #[case("Example.com/app", false)]
    fn qualified_names(#[case] value: &str, #[case] fine: bool) {
        assert_eq!(qualified(value).is_empty(), fine);
    }
}
