//! Commands of the configuration as one script.

use serde_json::Value;

use super::value::text;

/// Strings are lines of a shell; lists are programs with their arguments.
pub fn shellify(commands: &[Value]) -> Result<String, String> {
    let mut script = "#!/bin/sh\n".to_owned();
    for command in commands {
        match command {
            Value::Array(arguments) => {
                let words: Option<Vec<String>> = arguments.iter().map(text).collect();
                let words = words.ok_or_else(|| unusable(command))?;
                script += &words
                    .iter()
                    .map(|word| quote(word))
                    .collect::<Vec<_>>()
                    .join(" ");
            }
            Value::String(line) => script += line,
            Value::Null => continue,
            other => return Err(unusable(other)),
        }
        script.push('\n');
    }
    Ok(script)
}

fn unusable(command: &Value) -> String {
    format!("Unable to shellify {command}: a command is a string or a list of strings")
}

fn quote(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn commands_become_one_script() {
        let commands = [
            json!("systemctl enable --now nginx"),
            json!(["sh", "-c", "echo \"it's\" > /tmp/x"]),
            json!(null),
            json!(["sleep", 1]),
        ];
        assert_eq!(
            shellify(&commands).unwrap(),
            "#!/bin/sh\nsystemctl enable --now nginx\n'sh' '-c' 'echo \"it'\\''s\" > /tmp/x'\n'sleep' '1'\n"
        );
    }

    #[test]
    fn commands_that_are_none() {
        for bad in [json!({"a": 1}), json!(7), json!([["a"]])] {
            let error = shellify(&[bad]).unwrap_err();
            assert!(error.starts_with("Unable to shellify"), "{error}");
        }
    }
}
