//! The one way YAML is read here.

use serde::de::DeserializeOwned;

/// Where and what is wrong in a YAML text; line and column count from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    pub line: u64,
    pub column: u64,
    pub message: String,
}

pub fn load<T: DeserializeOwned>(text: &str) -> Result<T, Wrong> {
    let options = serde_yaml::options! { legacy_octal_numbers: true };
    serde_yaml::from_str_with_options(text, options).map_err(|error| {
        let error = error.without_snippet();
        let (line, column) = error
            .location()
            .map_or((1, 1), |location| (location.line(), location.column()));
        let message = error.to_string();
        // The position comes as fields of its own.
        let message = match message
            .find(" at line ")
            .or_else(|| message.find(": line "))
        {
            Some(end) => message[..end].to_owned(),
            None => message,
        };
        Wrong {
            line,
            column,
            message,
        }
    })
}
