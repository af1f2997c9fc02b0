//! Errors in the words of Go's standard library, which users of the real thing know.

/// What `encoding/json` would say about the text.
pub(crate) fn json_error(text: &str, error: &serde_json::Error) -> String {
    use serde_json::error::Category;
    match error.classify() {
        Category::Eof => "unexpected end of JSON input".to_owned(),
        Category::Syntax => match offending(text, error.line(), error.column()) {
            Some(c) => format!("invalid character {c:?} {}", context(error)),
            None => "unexpected end of JSON input".to_owned(),
        },
        Category::Data | Category::Io => format!("json: cannot unmarshal: {error}"),
    }
}

fn offending(text: &str, line: usize, column: usize) -> Option<char> {
    let line = text.lines().nth(line.checked_sub(1)?)?;
    line.chars().nth(column.checked_sub(1)?)
}

fn context(error: &serde_json::Error) -> &'static str {
    let said = error.to_string();
    if said.starts_with("key must be a string") {
        "looking for beginning of object key string"
    } else if said.contains("expected `:`") {
        "after object key"
    } else if said.contains("expected `,` or `}`") {
        "after object key:value pair"
    } else if said.contains("expected `,` or `]`") {
        "after array element"
    } else if said.starts_with("trailing characters") {
        "after top-level value"
    } else {
        "looking for beginning of value"
    }
}

#[cfg(test)]
mod tests {
    use super::json_error;

    #[test]
    #[allow(clippy::unwrap_used)]
    fn as_go_says() {
        let say = |text: &str| {
            let error = serde_json::from_str::<serde_json::Value>(text).unwrap_err();
            json_error(text, &error)
        };
        assert_eq!(say(r#"[{"name":"ipam""#), "unexpected end of JSON input");
        assert_eq!(
            say("{x}"),
            "invalid character 'x' looking for beginning of object key string"
        );
        assert_eq!(say(r#"{"a" 1}"#), "invalid character '1' after object key");
        assert_eq!(say("[1 2]"), "invalid character '2' after array element");
        assert_eq!(
            say("[x]"),
            "invalid character 'x' looking for beginning of value"
        );
    }
}
