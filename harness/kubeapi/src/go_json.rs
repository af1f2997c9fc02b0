//! JSON read as Go's `encoding/json` reads it: the same complaints, and the fields that occur twice.

use std::fmt;

use serde::de::{DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// Parses a text; the error is worded as Go words it.
pub fn parse(text: &[u8]) -> Result<Value, String> {
    Ok(parse_noting(text)?.0)
}

/// Parses a text, and says which fields occur more than once, by their paths.
pub fn parse_noting(text: &[u8]) -> Result<(Value, Vec<String>), String> {
    let mut twice = Vec::new();
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let noting = Noting {
        path: String::new(),
        twice: &mut twice,
    };
    let parsed = noting
        .deserialize(&mut deserializer)
        .and_then(|value| deserializer.end().map(|()| value));
    match parsed {
        Ok(value) => Ok((value, twice)),
        Err(error) => Err(Scanner::new(text)
            .document()
            .err()
            .unwrap_or_else(|| error.to_string())),
    }
}

/// What Go says of a value that is not the object it wants.
pub fn wrong_type(value: &Value, wanted: &str) -> String {
    let found = match value {
        Value::Array(_) => "array",
        Value::String(_) => "string",
        Value::Number(_) => "number",
        Value::Bool(_) => "bool",
        Value::Null => "null",
        Value::Object(_) => "object",
    };
    format!("json: cannot unmarshal {found} into Go value of type {wanted}")
}

/// A value of any format, and the paths of the fields that occur more than once in it.
#[derive(Debug)]
pub struct Noted(pub Value, pub Vec<String>);

impl<'de> serde::Deserialize<'de> for Noted {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut twice = Vec::new();
        let noting = Noting {
            path: String::new(),
            twice: &mut twice,
        };
        let value = noting.deserialize(deserializer)?;
        Ok(Self(value, twice))
    }
}

struct Noting<'a> {
    path: String,
    twice: &'a mut Vec<String>,
}

impl<'de> DeserializeSeed<'de> for Noting<'_> {
    type Value = Value;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Noting<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        loop {
            let seed = Noting {
                path: format!("{}[{}]", self.path, list.len()),
                twice: self.twice,
            };
            match items.next_element_seed(seed)? {
                Some(item) => list.push(item),
                None => return Ok(list.into()),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = fields.next_key::<String>()? {
            let path = match self.path.as_str() {
                "" => key.clone(),
                path => format!("{path}.{key}"),
            };
            if map.contains_key(&key) && !self.twice.contains(&path) {
                self.twice.push(path.clone());
            }
            let seed = Noting {
                path,
                twice: self.twice,
            };
            let value = fields.next_value_seed(seed)?;
            map.insert(key, value);
        }
        Ok(map.into())
    }
}

/// Finds the place where Go would stop.
struct Scanner<'a> {
    /// Go names the byte it stumbles over, whatever character that is a part of.
    text: std::slice::Iter<'a, u8>,
    peeked: Option<char>,
}

type Step = Result<(), String>;

impl<'a> Scanner<'a> {
    fn new(text: &'a [u8]) -> Self {
        Self {
            text: text.iter(),
            peeked: None,
        }
    }

    fn peek(&mut self) -> Result<char, String> {
        self.peeked = self
            .peeked
            .or_else(|| self.text.next().copied().map(char::from));
        self.peeked
            .ok_or_else(|| "unexpected end of JSON input".to_owned())
    }

    fn next(&mut self) -> Result<char, String> {
        let c = self.peek()?;
        self.peeked = None;
        Ok(c)
    }

    fn space(&mut self) -> Result<char, String> {
        while matches!(self.peek()?, ' ' | '\t' | '\r' | '\n') {
            self.next()?;
        }
        self.peek()
    }

    fn document(&mut self) -> Step {
        self.value()?;
        match self.space() {
            Ok(c) => Err(complaint(c, "after top-level value")),
            Err(_) => Ok(()),
        }
    }

    fn value(&mut self) -> Step {
        match self.space()? {
            '{' => self.object(),
            '[' => self.array(),
            '"' => self.string(),
            't' => self.word("true"),
            'f' => self.word("false"),
            'n' => self.word("null"),
            '-' | '0'..='9' => self.number(),
            c => Err(complaint(c, "looking for beginning of value")),
        }
    }

    fn object(&mut self) -> Step {
        self.next()?;
        if self.space()? == '}' {
            return self.next().map(drop);
        }
        loop {
            match self.space()? {
                '"' => self.string()?,
                c => return Err(complaint(c, "looking for beginning of object key string")),
            }
            match self.space()? {
                ':' => self.next()?,
                c => return Err(complaint(c, "after object key")),
            };
            self.value()?;
            match self.space()? {
                ',' => self.next()?,
                '}' => return self.next().map(drop),
                c => return Err(complaint(c, "after object key:value pair")),
            };
        }
    }

    fn array(&mut self) -> Step {
        self.next()?;
        if self.space()? == ']' {
            return self.next().map(drop);
        }
        loop {
            self.value()?;
            match self.space()? {
                ',' => self.next()?,
                ']' => return self.next().map(drop),
                c => return Err(complaint(c, "after array element")),
            };
        }
    }

    fn string(&mut self) -> Step {
        self.next()?;
        loop {
            match self.next()? {
                '"' => return Ok(()),
                '\\' => match self.next()? {
                    'b' | 'f' | 'n' | 'r' | 't' | '\\' | '/' | '"' => {}
                    'u' => {
                        for _ in 0..4 {
                            let c = self.next()?;
                            if !c.is_ascii_hexdigit() {
                                return Err(complaint(c, "in \\u hexadecimal character escape"));
                            }
                        }
                    }
                    c => return Err(complaint(c, "in string escape code")),
                },
                c if c < ' ' => return Err(complaint(c, "in string literal")),
                _ => {}
            }
        }
    }

    fn word(&mut self, word: &str) -> Step {
        for (at, wanted) in word.char_indices() {
            let c = self.next()?;
            if c != wanted {
                debug_assert!(at > 0, "the first letter chose the word");
                return Err(complaint(
                    c,
                    &format!("in literal {word} (expecting {})", quoted(wanted)),
                ));
            }
        }
        Ok(())
    }

    fn number(&mut self) -> Step {
        if self.peek()? == '-' {
            self.next()?;
            let c = self.peek()?;
            if !c.is_ascii_digit() {
                return Err(complaint(c, "in numeric literal"));
            }
        }
        if self.next()? != '0' {
            self.digits();
        }
        if self.peek() == Ok('.') {
            self.next()?;
            self.digit("after decimal point in numeric literal")?;
        }
        if matches!(self.peek(), Ok('e' | 'E')) {
            self.next()?;
            if matches!(self.peek(), Ok('+' | '-')) {
                self.next()?;
            }
            self.digit("in exponent of numeric literal")?;
        }
        Ok(())
    }

    fn digit(&mut self, place: &str) -> Step {
        let c = self.peek()?;
        if !c.is_ascii_digit() {
            return Err(complaint(c, place));
        }
        self.digits();
        Ok(())
    }

    fn digits(&mut self) {
        while matches!(self.peek(), Ok('0'..='9')) {
            self.peeked = None;
        }
    }
}

fn complaint(c: char, place: &str) -> String {
    format!("invalid character {} {place}", quoted(c))
}

fn quoted(c: char) -> String {
    match c {
        '\'' => r"'\''".to_owned(),
        '"' => "'\"'".to_owned(),
        '\n' => r"'\n'".to_owned(),
        '\t' => r"'\t'".to_owned(),
        '\r' => r"'\r'".to_owned(),
        c if (c as u32) < 0x20 || c as u32 == 0x7f => format!("'\\x{:02x}'", c as u32),
        c if c.is_control() => format!("'\\u{:04x}'", c as u32),
        c => format!("'{c}'"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use serde_json::json;

    #[rstest]
    #[case("", "unexpected end of JSON input")]
    #[case("{", "unexpected end of JSON input")]
    #[case("not", "invalid character 'o' in literal null (expecting 'u')")]
    #[case("{} {}", "invalid character '{' after top-level value")]
    #[case(
        "{a",
        "invalid character 'a' looking for beginning of object key string"
    )]
    #[case("{\"a\" 1}", "invalid character '1' after object key")]
    #[case("{\"a\":1 1}", "invalid character '1' after object key:value pair")]
    #[case("[1 2]", "invalid character '2' after array element")]
    #[case("\"a\\x\"", "invalid character 'x' in string escape code")]
    #[case("1.x", "invalid character 'x' after decimal point in numeric literal")]
    fn complaints(#[case] text: &str, #[case] expected: &str) {
        assert_eq!(parse(text.as_bytes()).unwrap_err(), expected);
    }

    #[test]
    fn repeated_fields_are_noted_and_the_last_one_counts() {
        let (value, twice) =
            parse_noting(br#"{"a":{"b":1,"b":2},"l":[{"c":1,"c":1}],"a2":1}"#).unwrap();
        assert_eq!(value, json!({"a": {"b": 2}, "l": [{"c": 1}], "a2": 1}));
        assert_eq!(twice, ["a.b", "l[0].c"]);
    }
}
