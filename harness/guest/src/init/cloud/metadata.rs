//! The instance's own data, in JSON or YAML.

use serde_json::Value;

use super::journal::Journal;
use super::value::{text_of, texts, yaml};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MetaData {
    pub instance_id: Option<String>,
    pub local_hostname: Option<String>,
    pub public_keys: Vec<String>,
}

pub fn parse(text: &str, journal: &mut Journal) -> MetaData {
    // JSON is YAML, and KubeVirt writes JSON.
    let value = match serde_json::from_str(text).or_else(|_| yaml(text)) {
        Ok(Value::Object(map)) => Value::Object(map),
        Ok(Value::Null) => Value::Null,
        Ok(_) => {
            journal.warn(
                "DataSourceNoCloud",
                "meta-data is not a mapping; it is ignored",
            );
            Value::Null
        }
        Err(problem) => {
            let problem = problem.trim_end();
            journal.warn("util", format!("Failed loading yaml blob. {problem}"));
            Value::Null
        }
    };
    MetaData {
        instance_id: text_of(&value, "instance-id"),
        local_hostname: text_of(&value, "local-hostname").or_else(|| text_of(&value, "hostname")),
        public_keys: keys(
            value
                .get("public-keys")
                .or_else(|| value.get("public_keys")),
        ),
    }
}

/// A list, lines, or a map of either: all of them occur.
fn keys(value: Option<&Value>) -> Vec<String> {
    let each: Vec<String> = match value {
        Some(Value::Object(map)) => map.values().flat_map(|value| texts(Some(value))).collect(),
        value => texts(value),
    };
    each.iter()
        .flat_map(|keys| keys.lines())
        .map(str::trim)
        .filter(|key| !key.is_empty())
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meta_data_in_json_and_yaml() {
        let mut journal = Journal::default();
        let expected = MetaData {
            instance_id: Some("5a9fc181-957e-5c32-9e5a-2de5e9673531".to_owned()),
            local_hostname: Some("vm-server".to_owned()),
            public_keys: vec!["ssh-ed25519 AAAA me".to_owned()],
        };
        let json = r#"{"instance-id":"5a9fc181-957e-5c32-9e5a-2de5e9673531","local-hostname":"vm-server","public-keys":{"0":"ssh-ed25519 AAAA me"}}"#;
        assert_eq!(parse(json, &mut journal), expected);
        let text = "instance-id: 5a9fc181-957e-5c32-9e5a-2de5e9673531\nlocal-hostname: vm-server\npublic-keys: ['ssh-ed25519 AAAA me']\n";
        assert_eq!(parse(text, &mut journal), expected);
        assert!(journal.warnings.is_empty());
    }

    #[test]
    fn meta_data_that_is_none() {
        for bad in ["{", "[1]", "- a", ": :\n\t"] {
            let mut journal = Journal::default();
            assert_eq!(parse(bad, &mut journal), MetaData::default(), "{bad}");
            assert_eq!(journal.warnings.len(), 1, "{bad}");
        }
        let mut journal = Journal::default();
        assert_eq!(parse("", &mut journal), MetaData::default());
        assert!(journal.warnings.is_empty());
    }
}
