//! Label selectors: `app=web,tier in (a, b),!legacy`.

use serde_json::{Map, Value};

use super::SelectorError;
use crate::object;
use crate::validation::name::{label_value, qualified};

/// Requirements that must all hold.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LabelSelector(Vec<Requirement>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Requirement {
    key: String,
    test: Test,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Test {
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    Missing,
    Greater(i64),
    Less(i64),
}

impl LabelSelector {
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        Parser {
            tokens: tokens(text)?,
            at: 0,
        }
        .selector()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn matches(&self, object: &Value) -> bool {
        self.is_empty() || {
            let labels = object::map(object, &["metadata", "labels"]);
            self.0.iter().all(|requirement| requirement.holds(labels))
        }
    }
}

impl Requirement {
    fn holds(&self, labels: Option<&Map<String, Value>>) -> bool {
        let value = labels
            .and_then(|labels| labels.get(&self.key))
            .and_then(Value::as_str);
        let number = || value.and_then(|v| v.parse::<i64>().ok());
        match &self.test {
            Test::In(values) => value.is_some_and(|v| values.iter().any(|w| w == v)),
            Test::NotIn(values) => value.is_none_or(|v| values.iter().all(|w| w != v)),
            Test::Exists => value.is_some(),
            Test::Missing => value.is_none(),
            Test::Greater(than) => number().is_some_and(|n| n > *than),
            Test::Less(than) => number().is_some_and(|n| n < *than),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Word(String),
    Symbol(&'static str),
    End,
}

impl Token {
    fn text(&self) -> &str {
        match self {
            Self::Word(word) => word,
            Self::Symbol(symbol) => symbol,
            Self::End => "",
        }
    }
}

const SYMBOLS: [&str; 9] = ["==", "!=", "=", "!", "(", ")", ",", ">", "<"];

fn tokens(text: &str) -> Result<Vec<Token>, SelectorError> {
    let mut tokens = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches([' ', '\t', '\r', '\n']);
        if rest.is_empty() {
            tokens.push(Token::End);
            return Ok(tokens);
        }
        if let Some(symbol) = SYMBOLS.iter().find(|s| rest.starts_with(**s)) {
            tokens.push(Token::Symbol(symbol));
            rest = &rest[symbol.len()..];
            continue;
        }
        let end = rest
            .find([' ', '\t', '\r', '\n', '=', '!', '(', ')', ',', '>', '<'])
            .unwrap_or(rest.len());
        if end == 0 {
            return Err(SelectorError(format!(
                "unable to parse requirement: found '{rest}', expected: identifier"
            )));
        }
        tokens.push(Token::Word(rest[..end].to_owned()));
        rest = &rest[end..];
    }
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
}

impl Parser {
    fn peek(&self) -> &Token {
        self.tokens.get(self.at).unwrap_or(&Token::End)
    }

    fn next(&mut self) -> Token {
        let token = self.peek().clone();
        self.at += 1;
        token
    }

    fn selector(mut self) -> Result<LabelSelector, SelectorError> {
        let mut requirements = Vec::new();
        loop {
            match self.peek() {
                Token::Word(_) | Token::Symbol("!") => {
                    let requirement = self
                        .requirement()
                        .map_err(|e| SelectorError(format!("unable to parse requirement: {e}")))?;
                    requirements.push(requirement);
                    match self.next() {
                        Token::End => break,
                        Token::Symbol(",") => {
                            if !matches!(self.peek(), Token::Word(_) | Token::Symbol("!")) {
                                return Err(SelectorError(format!(
                                    "found '{}', expected: identifier after ','",
                                    self.peek().text()
                                )));
                            }
                        }
                        other => {
                            return Err(SelectorError(format!(
                                "found '{}', expected: ',' or 'end of string'",
                                other.text()
                            )));
                        }
                    }
                }
                Token::End => break,
                other @ Token::Symbol(_) => {
                    return Err(SelectorError(format!(
                        "found '{}', expected: !, identifier, or 'end of string'",
                        other.text()
                    )));
                }
            }
        }
        Ok(LabelSelector(requirements))
    }

    fn requirement(&mut self) -> Result<Requirement, SelectorError> {
        let negated = self.peek() == &Token::Symbol("!");
        if negated {
            self.next();
        }
        let key = match self.next() {
            Token::Word(word) => word,
            other => return Err(expected(&other, "identifier")),
        };
        complain("<nil>", &key, &qualified(&key))?;
        if negated {
            let test = Test::Missing;
            return Ok(Requirement { key, test });
        }
        if matches!(self.peek(), Token::End | Token::Symbol(",")) {
            let test = Test::Exists;
            return Ok(Requirement { key, test });
        }
        let test = match self.next() {
            Token::Word(word) if word == "in" => Test::In(self.values(&key)?),
            Token::Word(word) if word == "notin" => Test::NotIn(self.values(&key)?),
            Token::Symbol("=" | "==") => Test::In(vec![self.value(&key)?]),
            Token::Symbol("!=") => Test::NotIn(vec![self.value(&key)?]),
            Token::Symbol(">") => Test::Greater(self.number(&key)?),
            Token::Symbol("<") => Test::Less(self.number(&key)?),
            other => return Err(expected(&other, "in, notin, =, ==, !=, gt, lt")),
        };
        Ok(Requirement { key, test })
    }

    fn value(&mut self, key: &str) -> Result<String, SelectorError> {
        if matches!(self.peek(), Token::End | Token::Symbol(",")) {
            return Ok(String::new());
        }
        match self.next() {
            Token::Word(word) => {
                complain(&format!("values[0][{key}]"), &word, &label_value(&word))?;
                Ok(word)
            }
            other => Err(expected(&other, "identifier")),
        }
    }

    fn number(&mut self, key: &str) -> Result<i64, SelectorError> {
        let value = self.value(key)?;
        value.parse().map_err(|_| {
            SelectorError(format!(
                "values[0]: Invalid value: {value:?}: for 'Gt', 'Lt' operators, the value must be an integer"
            ))
        })
    }

    fn values(&mut self, key: &str) -> Result<Vec<String>, SelectorError> {
        match self.next() {
            Token::Symbol("(") => {}
            other => {
                return Err(SelectorError(format!(
                    "found '{}' expected: '('",
                    other.text()
                )));
            }
        }
        let mut values = Vec::new();
        let mut wants_value = true;
        loop {
            match self.next() {
                Token::Word(word) if wants_value => {
                    let path = format!("values[{}][{key}]", values.len());
                    complain(&path, &word, &label_value(&word))?;
                    values.push(word);
                    wants_value = false;
                }
                Token::Symbol(",") => {
                    if wants_value {
                        values.push(String::new());
                    }
                    wants_value = true;
                }
                Token::Symbol(")") => {
                    if wants_value {
                        values.push(String::new());
                    }
                    return Ok(values);
                }
                other if wants_value => return Err(expected(&other, "',', ')' or identifier")),
                other => return Err(expected(&other, "',' or ')'")),
            }
        }
    }
}

fn expected(found: &Token, what: &str) -> SelectorError {
    SelectorError(format!("found '{}', expected: {what}", found.text()))
}

fn complain(path: &str, value: &str, complaints: &[String]) -> Result<(), SelectorError> {
    if complaints.is_empty() {
        return Ok(());
    }
    Err(SelectorError(format!(
        "{path}: Invalid value: {value:?}: {}",
        complaints.join("; ")
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use serde_json::json;

    #[rstest]
    #[case("app=web", true)]
    #[case("app==web", true)]
    #[case("app!=web", false)]
    #[case("other!=web", true)]
    #[case("app", true)]
    #[case("!app", false)]
    #[case("!other", true)]
    #[case("app in (web, db)", true)]
    #[case("app in (db)", false)]
    #[case("app notin (db),tier=", true)]
    #[case("other notin (db)", true)]
    #[case("n>4", true)]
    #[case("n<4", false)]
    #[case("  app = web , n ", true)]
    #[case("tier in (,x)", true)]
    #[case("app in (in,notin)", false)]
    #[case("", true)]
    fn matching(#[case] selector: &str, #[case] expected: bool) {
        let object = json!({"metadata": {"labels": {"app": "web", "tier": "", "n": "5"}}});
        assert_eq!(
            LabelSelector::parse(selector).unwrap().matches(&object),
            expected
        );
    }

    #[rstest]
    #[case("app=web,", "found '', expected: identifier after ','")]
    #[case("=web", "found '=', expected: !, identifier, or 'end of string'")]
    #[case(
        "app web",
        "unable to parse requirement: found 'web', expected: in, notin, =, ==, !=, gt, lt"
    )]
    #[case("app in web", "unable to parse requirement: found 'web' expected: '('")]
    #[case("app=web tier=x", "found 'tier', expected: ',' or 'end of string'")]
    fn refusals(#[case] selector: &str, #[case] message: &str) {
        assert_eq!(
            LabelSelector::parse(selector).unwrap_err().to_string(),
            message
        );
    }
}
