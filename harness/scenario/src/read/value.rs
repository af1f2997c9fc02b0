//! Scalars and the small shapes that occur everywhere.

use std::str::FromStr;
use std::time::Duration;

use camino::Utf8PathBuf;
use indexmap::IndexMap;
use regex::Regex;

use super::Reader;
use crate::diagnostic::{Code, Diagnostic};
use crate::duration;
use crate::grammar::{TEXT_MATCH, Unit};
use crate::model::{Bound, Cel, JsonTemplate, Late, Phrase, Template, TextMatch};
use crate::node::{Kind, Node};
use crate::span::Located;
use crate::suggest;

impl Reader<'_> {
    fn wrong(&mut self, node: &Node, wanted: &str, help: impl Into<String>) {
        self.report(
            Diagnostic::error(
                Code::WrongType,
                &node.at,
                format!("expected {wanted}, not {}", node.describe()),
            )
            .help(help),
        );
    }

    /// Text. Booleans and numbers are refused with the advice to quote them, because `yes` and `1.10`
    /// would not be what was written.
    pub(super) fn text(&mut self, node: &Node) -> Option<Located<String>> {
        match &node.kind {
            Kind::Text(text) => Some(Located::new(text.clone(), node.at.clone())),
            Kind::Bool(_) | Kind::Number(_) => {
                let written = node.at.text();
                self.wrong(node, "text", format!("quote it: `\"{written}\"`"));
                None
            }
            _ => {
                self.wrong(node, "text", "write one line of text, or a block after `|`");
                None
            }
        }
    }

    /// Text where a number is as good, taken as it was written: `contains: 200`.
    pub(super) fn loose_text(&mut self, node: &Node) -> Option<Located<String>> {
        match &node.kind {
            Kind::Number(_) => Some(Located::new(node.at.text().to_owned(), node.at.clone())),
            _ => self.text(node),
        }
    }

    pub(super) fn template(&mut self, node: &Node) -> Option<Template> {
        let text = self.loose_text(node)?;
        self.accept(Template::parse(&text))
    }

    pub(super) fn late<T: Phrase + Clone>(&mut self, node: &Node) -> Option<Late<T>> {
        let text = self.text(node)?;
        self.accept(Late::parse(&text))
    }

    pub(super) fn cel(&mut self, node: &Node) -> Option<Cel> {
        let text = self.text(node)?;
        self.accept(Cel::parse(text))
    }

    pub(super) fn boolean(&mut self, node: &Node) -> Option<Located<bool>> {
        if let Kind::Bool(value) = node.kind {
            return Some(Located::new(value, node.at.clone()));
        }
        self.wrong(node, "true or false", "write `true` or `false`");
        None
    }

    pub(super) fn integer(&mut self, node: &Node, min: u64, max: u64) -> Option<Located<u64>> {
        let number = match &node.kind {
            Kind::Number(number) => number.as_u64(),
            _ => None,
        };
        match number {
            Some(number) if (min..=max).contains(&number) => {
                Some(Located::new(number, node.at.clone()))
            }
            _ => {
                let help = format!("write a number from {min} to {max}");
                self.wrong(node, "a whole number", help);
                None
            }
        }
    }

    pub(super) fn duration(&mut self, node: &Node) -> Option<Located<Duration>> {
        const HELP: &str = "write a number and its unit, as in `500ms`, `2s` or `1m30s`";
        let Kind::Text(text) = &node.kind else {
            self.wrong(node, "a duration", HELP);
            return None;
        };
        match duration::parse(text) {
            Ok(duration) => Some(Located::new(duration, node.at.clone())),
            Err(why) => {
                self.report(Diagnostic::error(Code::BadValue, &node.at, why).help(HELP));
                None
            }
        }
    }

    /// One of a few words.
    pub(super) fn word<T: Copy>(
        &mut self,
        node: &Node,
        words: impl IntoIterator<Item = (&'static str, T)> + Clone,
    ) -> Option<Located<T>> {
        let text = self.text(node)?;
        let found = words
            .clone()
            .into_iter()
            .find(|(word, _)| *word == text.value);
        if let Some((_, value)) = found {
            return Some(Located::new(value, text.at));
        }
        let names: Vec<&str> = words.into_iter().map(|(word, _)| word).collect();
        let error = Diagnostic::error(
            Code::BadValue,
            &text.at,
            format!("`{}` is not possible here", text.value),
        );
        self.report(match suggest::closest(&text.value, names.iter().copied()) {
            Some(near) => error.help(format!("did you mean `{near}`?")),
            None => error.help(format!("write one of {}", suggest::listed(names))),
        });
        None
    }

    pub(super) fn list<'n>(&mut self, node: &'n Node, of_what: &str) -> Option<&'n [Node]> {
        if let Kind::List(items) = &node.kind {
            return Some(items);
        }
        let help = format!("begin each line with `- `: a list of {of_what}");
        self.wrong(node, "a list", help);
        None
    }

    /// A mapping whose keys are the author's.
    pub(super) fn table<'n>(
        &mut self,
        node: &'n Node,
        of_what: &str,
    ) -> Option<Vec<(&'n Located<String>, &'n Node)>> {
        if let Kind::Map(entries) = &node.kind {
            return Some(
                entries
                    .iter()
                    .map(|entry| (&entry.key, &entry.value))
                    .collect(),
            );
        }
        self.wrong(
            node,
            "a mapping",
            format!("write `name: value` lines: {of_what}"),
        );
        None
    }

    /// The path of a manifest.
    pub(super) fn path(&mut self, node: &Node) -> Option<Located<Utf8PathBuf>> {
        let text = self.text(node)?;
        if text.contains("${") {
            self.report(
                Diagnostic::error(
                    Code::BadValue,
                    &text.at,
                    format!("`{}` depends on a capture", text.value),
                )
                .help("paths may use parameters, which are known before the scenario starts"),
            );
            return None;
        }
        if !is_file(&text) {
            self.report(
                Diagnostic::error(
                    Code::BadValue,
                    &text.at,
                    format!("`{}` is not the path of a manifest", text.value),
                )
                .help("manifests end in `.yaml`, `.yml` or `.json`"),
            );
            return None;
        }
        Some(text.map(Utf8PathBuf::from))
    }

    pub(super) fn text_match(&mut self, node: &Node) -> Option<TextMatch> {
        let mut found = TextMatch {
            at: node.at.clone(),
            is: None,
            contains: Vec::new(),
            lacks: Vec::new(),
            matches: None,
        };
        if !matches!(node.kind, Kind::Map(_)) {
            found.is = Some(self.template(node)?);
            return Some(found);
        }
        let fields = self.open(node, &TEXT_MATCH)?;
        if let Some(is) = fields.get("is") {
            found.is = Some(self.template(is)?);
        }
        for (key, list) in [
            ("contains", &mut found.contains),
            ("lacks", &mut found.lacks),
        ] {
            if let Some(node) = fields.get(key) {
                for item in one_or_many(node) {
                    list.push(self.template(item)?);
                }
            }
        }
        if let Some(matches) = fields.get("matches") {
            let text = self.text(matches)?;
            match Regex::new(&text) {
                Ok(regex) => found.matches = Some(regex),
                Err(error) => {
                    let last = error.to_string();
                    let why = last
                        .lines()
                        .last()
                        .unwrap_or("")
                        .trim_start_matches("error: ");
                    self.report(
                        Diagnostic::error(
                            Code::BadValue,
                            &text.at,
                            format!("this is not a regular expression: {why}"),
                        )
                        .help("the syntax is that of https://docs.rs/regex"),
                    );
                    return None;
                }
            }
        }
        fields.complete.then_some(found)
    }

    pub(super) fn json(&mut self, node: &Node) -> Option<JsonTemplate> {
        Some(match &node.kind {
            Kind::Text(text) => {
                let text = Located::new(text.clone(), node.at.clone());
                JsonTemplate::Text(self.accept(Template::parse(&text))?)
            }
            Kind::List(items) => JsonTemplate::List(
                items
                    .iter()
                    .map(|item| self.json(item))
                    .collect::<Option<_>>()?,
            ),
            Kind::Map(entries) => JsonTemplate::Object(
                entries
                    .iter()
                    .map(|entry| Some((entry.key.value.clone(), self.json(&entry.value)?)))
                    .collect::<Option<IndexMap<_, _>>>()?,
            ),
            _ => JsonTemplate::Plain(node.to_json()),
        })
    }

    pub(super) fn count(&mut self, node: &Node) -> Option<Located<Bound<u64>>> {
        if let Kind::Number(number) = &node.kind
            && let Some(number) = number.as_u64()
        {
            return Some(Located::new(Bound::Exactly(number), node.at.clone()));
        }
        self.bound(node, Unit::Count, |text| u64::from_str(text).ok())
    }

    pub(super) fn percent(&mut self, node: &Node) -> Option<Located<Bound<f64>>> {
        if let Kind::Number(number) = &node.kind
            && let Some(number) = number.as_f64()
            && (0.0..=100.0).contains(&number)
        {
            return Some(Located::new(Bound::Exactly(number), node.at.clone()));
        }
        self.bound(node, Unit::Percent, |text| {
            let number = f64::from_str(text.strip_suffix('%').unwrap_or(text).trim()).ok()?;
            (0.0..=100.0).contains(&number).then_some(number)
        })
    }

    pub(super) fn time(&mut self, node: &Node) -> Option<Located<Bound<Duration>>> {
        self.bound(node, Unit::Duration, |text| duration::parse(text).ok())
    }

    fn bound<T>(
        &mut self,
        node: &Node,
        unit: Unit,
        one: impl Fn(&str) -> Option<T>,
    ) -> Option<Located<Bound<T>>> {
        let (wanted, example) = match unit {
            Unit::Count => ("a number", "3"),
            Unit::Percent => ("a percentage", "25%"),
            Unit::Duration => ("a duration", "50ms"),
        };
        let parsed = match &node.kind {
            Kind::Text(text) => limits(text.trim(), one),
            _ => None,
        };
        if parsed.is_none() {
            let help = format!(
                "write `{example}`, `under {example}`, `over {example}`, `at most {example}`, \
                 `at least {example}` or `between {example} and …`"
            );
            self.wrong(node, wanted, help);
        }
        parsed.map(|bound| Located::new(bound, node.at.clone()))
    }
}

/// One or a list of them.
pub(super) fn one_or_many(node: &Node) -> Vec<&Node> {
    match &node.kind {
        Kind::List(items) => items.iter().collect(),
        _ => vec![node],
    }
}

type Make<T> = fn(T) -> Bound<T>;

fn limits<T>(text: &str, one: impl Fn(&str) -> Option<T>) -> Option<Bound<T>> {
    if let Some(rest) = text.strip_prefix("between ") {
        let (low, high) = rest.split_once(" and ")?;
        return Some(Bound::Between(one(low.trim())?, one(high.trim())?));
    }
    let limits: [(&str, Make<T>); 4] = [
        ("under ", Bound::Under),
        ("over ", Bound::Over),
        ("at most ", Bound::AtMost),
        ("at least ", Bound::AtLeast),
    ];
    match limits.iter().find(|(words, _)| text.starts_with(words)) {
        Some((words, make)) => one(text[words.len()..].trim()).map(make),
        None => one(text).map(Bound::Exactly),
    }
}

/// Whether a word names a manifest rather than an object.
pub(super) fn is_file(text: &str) -> bool {
    [".yaml", ".yml", ".json"]
        .iter()
        .any(|extension| text.ends_with(extension))
}
