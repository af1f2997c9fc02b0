//! What kind of user data it is.

use serde_json::Value;

use super::journal::Journal;
use super::value::{type_name, yaml};

const MODULE: &str = "cloud_config";

/// User data, taken apart.
#[derive(Clone, Debug, PartialEq)]
pub enum UserData {
    /// Nothing, or nothing that can be used.
    Nothing,
    Config(Value),
    /// To be run once, at the end of the boot.
    Script(Vec<u8>),
    /// To be run at once.
    Boothook(Vec<u8>),
}

/// Tells user data by its first line.
pub fn classify(raw: &[u8], journal: &mut Journal) -> UserData {
    let Ok(text) = std::str::from_utf8(raw) else {
        journal.warn(
            "__init__",
            "user-data is neither text nor anything else that this guest reads; it is ignored",
        );
        return UserData::Nothing;
    };
    let start = text.trim_start();
    if start.is_empty() {
        return UserData::Nothing;
    }
    if start.starts_with("#!") {
        return UserData::Script(start.as_bytes().to_vec());
    }
    if let Some(script) = start.strip_prefix("#cloud-boothook") {
        return UserData::Boothook(script.trim_start().as_bytes().to_vec());
    }
    if start.starts_with("#cloud-config") {
        return config(start, journal);
    }
    if let Some(config_after_comment) = jinja(start) {
        journal.warn(
            "jinja_template",
            "templates are not rendered in this guest; the text is taken as it stands",
        );
        return classify(config_after_comment.as_bytes(), journal);
    }
    let first: String = text.chars().take(80).collect();
    journal.warn(
        "__init__",
        format!("Unhandled non-multipart (text/x-not-multipart) userdata: {first:?}..."),
    );
    UserData::Nothing
}

fn jinja(text: &str) -> Option<&str> {
    let (first, rest) = text.split_once('\n')?;
    first
        .replace(' ', "")
        .eq_ignore_ascii_case("##template:jinja")
        .then_some(rest)
}

/// What is not YAML leaves an empty configuration and two warnings, as cloud-init does.
fn config(text: &str, journal: &mut Journal) -> UserData {
    let problem = match yaml(text) {
        Ok(Value::Object(map)) => return UserData::Config(Value::Object(map)),
        Ok(Value::Null) => None,
        Ok(other) => Some(format!(
            "Yaml load allows (<class 'dict'>,) root types, but got {} instead",
            type_name(&other)
        )),
        Err(problem) => Some(problem),
    };
    if let Some(problem) = problem {
        let problem = problem.trim_end();
        journal.warn("util", format!("Failed loading yaml blob. {problem}"));
    }
    journal.warn(
        MODULE,
        "Failed at merging in cloud config part from part-001: empty cloud config",
    );
    UserData::Nothing
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn classified(raw: &[u8]) -> (UserData, Vec<String>) {
        let mut journal = Journal::default();
        let data = classify(raw, &mut journal);
        let warnings = journal
            .warnings
            .into_iter()
            .map(|warning| warning.text)
            .collect();
        (data, warnings)
    }

    #[test]
    fn kinds_of_user_data() {
        assert_eq!(classified(b"\n\n"), (UserData::Nothing, vec![]));
        assert_eq!(
            classified(b"#cloud-config\npassword: fedora\n"),
            (UserData::Config(json!({"password": "fedora"})), vec![])
        );
        assert_eq!(
            classified(b"#!/bin/sh\ntrue\n").0,
            UserData::Script(b"#!/bin/sh\ntrue\n".to_vec())
        );
        assert_eq!(
            classified(b"#cloud-boothook\n#!/bin/sh\ntrue\n").0,
            UserData::Boothook(b"#!/bin/sh\ntrue\n".to_vec())
        );
    }

    #[test]
    fn user_data_that_is_not_yaml() {
        for bad in [
            "#cloud-config\npassword: [unclosed\n",
            "#cloud-config\nusers:\n- a\n b: c\n",
            "#cloud-config\n- a\n- b\n",
            "#cloud-config\njust words\n",
            "#cloud-config\na: 1\na: 2\n",
        ] {
            let (data, warnings) = classified(bad.as_bytes());
            assert_eq!(data, UserData::Nothing, "{bad}");
            assert!(
                warnings[0].starts_with("Failed loading yaml blob. "),
                "{warnings:?}"
            );
            assert!(warnings[1].ends_with("empty cloud config"), "{warnings:?}");
        }
    }

    #[test]
    fn user_data_of_no_kind() {
        let (data, warnings) = classified(b"password: fedora\n");
        assert_eq!(data, UserData::Nothing);
        assert!(
            warnings[0].starts_with("Unhandled non-multipart"),
            "{warnings:?}"
        );
        let (data, warnings) = classified(&[0x1f, 0x8b, 0xff]);
        assert_eq!(data, UserData::Nothing);
        assert_eq!(warnings.len(), 1);
    }

    #[test]
    fn templates_are_taken_as_they_stand() {
        let (data, warnings) = classified(b"## template: jinja\n#cloud-config\nhostname: a\n");
        assert_eq!(data, UserData::Config(json!({"hostname": "a"})));
        assert_eq!(warnings.len(), 1);
    }
}
