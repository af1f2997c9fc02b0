//! Timelines: the recorded ones, and how they are compared.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// One after the other, the values that a field took: `-` where it went away.
pub type Sequences = BTreeMap<String, Vec<String>>;

const MISSING: [&str; 2] = [
    r#""VMIConditionMissing""#,
    r#""VMI is missing the Ready condition""#,
];

/// A timeline as it was recorded, read from its text.
pub fn read(text: &str) -> Sequences {
    let mut sequences = Sequences::new();
    let mut object = String::new();
    for line in text.lines() {
        if let Some(change) = line.strip_prefix("  ") {
            let (sign, rest) = change.split_at(2);
            let (path, value) = match sign {
                "= " => {
                    let (path, value) = rest.split_once(": ").unwrap();
                    (path, Some(value))
                }
                "+ " => {
                    let (path, value) = rest.split_once(" = ").unwrap();
                    (path, Some(value))
                }
                "~ " => {
                    let (path, values) = rest.split_once(": ").unwrap();
                    (path, values.split_once(" -> ").map(|(_, new)| new))
                }
                "- " => (rest.split_once(" (was").unwrap().0, None),
                _ => panic!("a line of a timeline: {line}"),
            };
            note(
                &mut sequences,
                &object,
                path,
                value.map(|v| serde_json::from_str(v).unwrap()),
            );
            continue;
        }
        let mut words = line.split(' ').skip(1);
        match words.next().unwrap() {
            "event" => {
                let (about, event) = line
                    .split_once(" event ")
                    .unwrap()
                    .1
                    .split_once(' ')
                    .unwrap();
                note_event(&mut sequences, about, event);
            }
            named => {
                named.clone_into(&mut object);
                if words.next() == Some("DELETED") {
                    note(&mut sequences, &object, "object", None);
                }
            }
        }
    }
    sequences
}

/// `about` is `Kind/name`, `event` what the recorder wrote behind it.
pub fn note_event(sequences: &mut Sequences, about: &str, event: &str) {
    let (head, message) = event.split_once(": ").unwrap();
    // how often it was repeated depends on who is faster
    let head: Vec<_> = head
        .split(' ')
        .filter(|w| !w.starts_with("count="))
        .collect();
    let text = normal(&format!("{}: {message}", head.join(" ")));
    // in which order different writers come is a matter of luck
    let (_, source) = head.iter().find_map(|w| w.split_once("from=")).unwrap();
    let source = source.split('/').next().unwrap();
    let known = sequences
        .entry(format!("{about} events of {source}"))
        .or_default();
    if !known.contains(&text) {
        known.push(text);
    }
}

pub fn note(sequences: &mut Sequences, object: &str, path: &str, value: Option<Value>) {
    let path = normal(&format!("{object} {path}"));
    let value = value.map_or_else(|| "-".to_owned(), |value| normal(&value.to_string()));
    // an instance's generation counts its writes: how many it took depends on who was faster
    if object.starts_with("vmi/") && path.ends_with(" metadata.generation") && value != "1" {
        return;
    }
    // a machine whose instance has no Ready condition yet: over before it is always seen
    if MISSING.contains(&value.as_str()) {
        return;
    }
    let known = sequences.entry(path).or_default();
    if known.last() != Some(&value) {
        known.push(value);
    }
}

/// Without what no two runs have in common.
fn normal(text: &str) -> String {
    // which of two equal nodes it was is a matter of luck
    let text = &text
        .replace("worker2", "worker")
        .replace("lab-worker", "kv-worker");
    let mut words = String::new();
    if text.starts_with("\"10.244.") || text.starts_with("\"10.245.") {
        return "<ip>".to_owned();
    }
    for part in text.split_inclusive([' ', '"', '.', ',', '/', '[', ']']) {
        let end = part.trim_end_matches([' ', '"', '.', ',', '/', '[', ']']);
        words.push_str(&word(end));
        words.push_str(&part[end.len()..]);
    }
    words
}

fn word(word: &str) -> String {
    let hex = |text: &str| text.bytes().all(|b| b.is_ascii_hexdigit());
    if let Some((_, generation)) = word.split_once("revision-start-vm-") {
        let generation = generation.rsplit('-').next().unwrap();
        return format!("revision-start-vm-<uid>-{generation}");
    }
    if word.len() == 36 && word.split('-').count() == 5 && word.split('-').all(hex) {
        return "<uid>".to_owned();
    }
    if word.len() == 20 && word.starts_with("20") && word.ends_with('Z') {
        return "<time>".to_owned();
    }
    if word.len() == 17 && word.split(':').count() == 6 && word.split(':').all(hex) {
        return "<mac>".to_owned();
    }
    match word.rsplit_once('-') {
        Some((pod, suffix)) if pod.starts_with("virt-launcher-") && suffix.len() == 5 => {
            format!("{pod}-<suffix>")
        }
        _ => word.to_owned(),
    }
}

/// What two timelines do not have in common, one block of text for each field.
pub fn differences(recorded: &Sequences, here: &Sequences) -> BTreeMap<String, (String, String)> {
    let paths: BTreeSet<&String> = recorded.keys().chain(here.keys()).collect();
    paths
        .into_iter()
        .filter(|path| recorded.get(*path) != here.get(*path))
        .map(|path| {
            let say = |of: &Sequences| {
                of.get(path)
                    .map_or_else(|| "never".to_owned(), |v| v.join(" | "))
            };
            (path.clone(), (say(recorded), say(here)))
        })
        .collect()
}

/// The differences that are known, by timeline and field, with their reasons.
pub struct Known {
    blocks: Vec<Block>,
}

#[derive(Debug)]
struct Block {
    timeline: String,
    /// Depends on who is faster.
    sometimes: bool,
    path: String,
    recorded: String,
    here: String,
    reason: String,
}

impl Block {
    fn is(&self, path: &str, recorded: &str, here: &str) -> bool {
        self.path == path && self.recorded == recorded && self.here == here
    }
}

impl Known {
    /// Blocks of `timeline: field` (`*: field` for all, `timeline?: field` for sometimes), `  recorded: …`, `  here: …`, `  because: …`.
    pub fn read(text: &str) -> Self {
        let mut blocks = Vec::new();
        let mut lines = text
            .lines()
            .filter(|l| !l.trim().is_empty() && !l.starts_with('#'));
        while let Some(head) = lines.next() {
            let (timeline, path) = head.split_once(": ").unwrap();
            let mut field = |name: &str| {
                let line = lines.next().unwrap_or_default();
                let text = line.strip_prefix(&format!("  {name}: "));
                text.unwrap_or_else(|| panic!("{head}: no {name}"))
                    .to_owned()
            };
            blocks.push(Block {
                timeline: timeline.trim_end_matches('?').to_owned(),
                sometimes: timeline.ends_with('?'),
                path: path.to_owned(),
                recorded: field("recorded"),
                here: field("here"),
                reason: field("because"),
            });
        }
        Self { blocks }
    }

    /// Whether these are just the known differences.
    pub fn explains(&self, timeline: &str, found: &BTreeMap<String, (String, String)>) -> bool {
        let mut all = found.iter();
        let known = all
            .all(|(path, (recorded, here))| self.of(timeline).any(|b| b.is(path, recorded, here)));
        known
            && self
                .of(timeline)
                .all(|b| b.sometimes || found.contains_key(&b.path))
    }

    fn of(&self, timeline: &str) -> impl Iterator<Item = &Block> {
        self.blocks
            .iter()
            .filter(move |b| b.timeline == "*" || b.timeline == timeline)
    }

    /// Holds that exactly the known differences exist.
    pub fn check(&self, timeline: &str, found: &BTreeMap<String, (String, String)>) {
        let mut wrong = Vec::new();
        for (path, (recorded, here)) in found {
            let known = self.of(timeline).any(|b| b.is(path, recorded, here));
            if !known {
                wrong.push(format!(
                    "{timeline}: {path}\n  recorded: {recorded}\n  here: {here}\n  because: "
                ));
            }
        }
        for block in self.of(timeline) {
            assert!(!block.reason.is_empty(), "{}: no reason", block.path);
            if !block.sometimes && !found.contains_key(&block.path) {
                wrong.push(format!(
                    "{timeline}: {} is no difference any more",
                    block.path
                ));
            }
        }
        assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
    }
}
