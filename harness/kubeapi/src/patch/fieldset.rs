//! Sets of fields: who owns what. A set is a tree; each node says whether the field itself is a member.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

use crate::schema::go;

/// One step of a path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Element {
    /// A field of a struct or a key of a map.
    Field(String),
    /// An item of a map list, by its key fields in order of their names.
    Key(Vec<(String, Scalar)>),
    /// An item of a set.
    Value(Scalar),
    /// An item of any other list.
    Index(usize),
}

/// A JSON value with an order; numbers are equal when they are the same number.
#[derive(Debug, Clone)]
pub(super) struct Scalar(pub(super) Value);

impl Scalar {
    fn rank(&self) -> u8 {
        match self.0 {
            Value::Number(_) => 0,
            Value::String(_) => 1,
            Value::Bool(_) => 2,
            Value::Array(_) => 3,
            Value::Object(_) => 4,
            Value::Null => 5,
        }
    }
}

impl Ord for Scalar {
    fn cmp(&self, other: &Self) -> Ordering {
        match (&self.0, &other.0) {
            (Value::Number(a), Value::Number(b)) => {
                if let (Some(a), Some(b)) = (a.as_i64(), b.as_i64()) {
                    return a.cmp(&b);
                }
                let float = |n: &serde_json::Number| n.as_f64().unwrap_or_default();
                float(a).total_cmp(&float(b))
            }
            (Value::String(a), Value::String(b)) => a.cmp(b),
            (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
            (a, b) => self
                .rank()
                .cmp(&other.rank())
                .then_with(|| go::json(a).cmp(&go::json(b))),
        }
    }
}

impl PartialOrd for Scalar {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Scalar {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Scalar {}

/// As conflicts name it: `.spec`, `[name="x"]`, `[="value"]`, `[0]`.
impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(name) => write!(f, ".{name}"),
            Self::Key(fields) => {
                let fields: Vec<String> = fields
                    .iter()
                    .map(|(name, value)| format!("{name}={}", go::shown(&value.0)))
                    .collect();
                write!(f, "[{}]", fields.join(","))
            }
            Self::Value(value) => write!(f, "[={}]", go::shown(&value.0)),
            Self::Index(index) => write!(f, "[{index}]"),
        }
    }
}

pub(super) fn display(path: &[Element]) -> String {
    path.iter().map(ToString::to_string).collect()
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Set(BTreeMap<Element, Node>);

#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Node {
    member: bool,
    children: Set,
}

impl Node {
    fn is_empty(&self) -> bool {
        !self.member && self.children.is_empty()
    }
}

impl Set {
    /// The set of dotted paths of struct fields.
    pub(super) fn of_fields(paths: &[&str]) -> Self {
        let mut set = Self::default();
        for path in paths {
            let path: Vec<Element> = path
                .split('.')
                .map(|name| Element::Field(name.to_owned()))
                .collect();
            set.insert(&path);
        }
        set
    }

    /// Adds a field; its parents are not added. The empty path, the whole object, is owned by nobody.
    pub(super) fn insert(&mut self, path: &[Element]) {
        let Some((first, rest)) = path.split_first() else {
            return;
        };
        let node = self.0.entry(first.clone()).or_default();
        if rest.is_empty() {
            node.member = true;
        } else {
            node.children.insert(rest);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.values().all(Node::is_empty)
    }

    pub(super) fn has(&self, path: &[Element]) -> bool {
        match path {
            [] => false,
            [last] => self.has_member(last),
            [first, rest @ ..] => self.0.get(first).is_some_and(|n| n.children.has(rest)),
        }
    }

    pub(super) fn has_member(&self, element: &Element) -> bool {
        self.0.get(element).is_some_and(|n| n.member)
    }

    /// What the set says below an element; None when that is nothing.
    pub(super) fn below(&self, element: &Element) -> Option<&Self> {
        self.0
            .get(element)
            .map(|n| &n.children)
            .filter(|children| !children.is_empty())
    }

    pub(super) fn union(&self, other: &Self) -> Self {
        let mut out = self.clone();
        for (element, node) in &other.0 {
            let mine = out.0.entry(element.clone()).or_default();
            mine.member |= node.member;
            mine.children = mine.children.union(&node.children);
        }
        out
    }

    pub(super) fn intersection(&self, other: &Self) -> Self {
        self.combine(|element, node| {
            let theirs = other.0.get(element)?;
            Some(Node {
                member: node.member && theirs.member,
                children: node.children.intersection(&theirs.children),
            })
        })
    }

    /// Members of this set that are no members of the other. A member of the other does not take its children along.
    pub(super) fn difference(&self, other: &Self) -> Self {
        self.combine(|element, node| {
            let Some(theirs) = other.0.get(element) else {
                return Some(node.clone());
            };
            Some(Node {
                member: node.member && !theirs.member,
                children: node.children.difference(&theirs.children),
            })
        })
    }

    /// Members of this set that are neither members of the other nor below one.
    pub(super) fn recursive_difference(&self, other: &Self) -> Self {
        self.combine(|element, node| match other.0.get(element) {
            None => Some(node.clone()),
            Some(theirs) if theirs.member => None,
            Some(theirs) => Some(Node {
                member: node.member,
                children: node.children.recursive_difference(&theirs.children),
            }),
        })
    }

    /// Builds a set of what `keep` makes of each child, without empty nodes.
    fn combine(&self, keep: impl Fn(&Element, &Node) -> Option<Node>) -> Self {
        Self(
            self.0
                .iter()
                .filter_map(|(element, node)| {
                    let node = keep(element, node)?;
                    (!node.is_empty()).then(|| (element.clone(), node))
                })
                .collect(),
        )
    }

    /// All member paths; at each level members come before what is below.
    pub(super) fn paths(&self) -> Vec<Vec<Element>> {
        let mut paths = Vec::new();
        self.collect(&mut Vec::new(), &mut paths);
        paths
    }

    fn collect(&self, prefix: &mut Vec<Element>, paths: &mut Vec<Vec<Element>>) {
        for (element, _) in self.0.iter().filter(|(_, node)| node.member) {
            let mut path = prefix.clone();
            path.push(element.clone());
            paths.push(path);
        }
        for (element, node) in &self.0 {
            prefix.push(element.clone());
            node.children.collect(prefix, paths);
            prefix.pop();
        }
    }

    /// Rebuilds the set bottom-up: `is_member` decides anew, told the element, whether it was a member and whether
    /// anything is below it; `descend` gives the state for what is below.
    pub(super) fn with_members<S: Copy>(
        &self,
        state: S,
        is_member: &impl Fn(S, &Element, bool, bool) -> bool,
        descend: &impl Fn(S, &Element) -> S,
    ) -> Self {
        Self(
            self.0
                .iter()
                .map(|(element, node)| {
                    let below = !node.children.is_empty();
                    let node = Node {
                        member: is_member(state, element, node.member, below),
                        children: node.children.with_members(
                            descend(state, element),
                            is_member,
                            descend,
                        ),
                    };
                    (element.clone(), node)
                })
                .collect(),
        )
    }

    /// The children with, for each, whether it is a member and what is below it.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&Element, bool, &Self)> {
        self.0.iter().map(|(e, n)| (e, n.member, &n.children))
    }

    /// Adds a child as read from a document.
    pub(super) fn add(&mut self, element: Element, member: bool, children: &Self) {
        let node = self.0.entry(element).or_default();
        node.member |= member;
        node.children = node.children.union(children);
    }
}
