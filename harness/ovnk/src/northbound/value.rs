//! Values of columns, as OVSDB sees them, but with references by name.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use super::Table;

/// A row by table and name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RowRef {
    pub table: Table,
    pub name: String,
}

impl RowRef {
    pub fn new(table: Table, name: impl Into<String>) -> RowRef {
        RowRef {
            table,
            name: name.into(),
        }
    }
}

impl fmt::Display for RowRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.table.as_str(), self.name)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scalar {
    Integer(i64),
    Boolean(bool),
    String(String),
    Row(RowRef),
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scalar::Integer(i) => i.fmt(f),
            Scalar::Boolean(b) => b.fmt(f),
            Scalar::String(s) => write!(f, "{s:?}"),
            Scalar::Row(r) => r.fmt(f),
        }
    }
}

/// A scalar is a set of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    Set(BTreeSet<Scalar>),
    Map(BTreeMap<String, Scalar>),
}

impl Value {
    pub fn set<T: Into<Scalar>>(items: impl IntoIterator<Item = T>) -> Value {
        Value::Set(items.into_iter().map(Into::into).collect())
    }

    pub fn map<K: Into<String>, V: Into<Scalar>>(items: impl IntoIterator<Item = (K, V)>) -> Value {
        Value::Map(
            items
                .into_iter()
                .map(|(k, v)| (k.into(), v.into()))
                .collect(),
        )
    }

    /// Empty sets, maps and strings all say the same as no value.
    pub fn is_empty(&self) -> bool {
        match self {
            Value::Set(set) => {
                set.is_empty() || (set.len() == 1 && set.contains(&Scalar::String(String::new())))
            }
            Value::Map(map) => map.is_empty(),
        }
    }

    pub fn scalars(&self) -> impl Iterator<Item = &Scalar> {
        let (set, map) = match self {
            Value::Set(set) => (Some(set.iter()), None),
            Value::Map(map) => (None, Some(map.values())),
        };
        set.into_iter().flatten().chain(map.into_iter().flatten())
    }

    pub fn references(&self) -> impl Iterator<Item = &RowRef> {
        self.scalars().filter_map(|scalar| match scalar {
            Scalar::Row(reference) => Some(reference),
            _ => None,
        })
    }

    /// The same value with every scalar rewritten, map keys left alone.
    pub(crate) fn map_scalars(self, mut f: impl FnMut(Scalar) -> Scalar) -> Value {
        match self {
            Value::Set(set) => Value::Set(set.into_iter().map(f).collect()),
            Value::Map(map) => Value::Map(map.into_iter().map(|(k, v)| (k, f(v))).collect()),
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Set(set) => {
                let items: Vec<_> = set.iter().map(Scalar::to_string).collect();
                write!(f, "[{}]", items.join(", "))
            }
            Value::Map(map) => {
                let items: Vec<_> = map.iter().map(|(k, v)| format!("{k}={v}")).collect();
                write!(f, "{{{}}}", items.join(", "))
            }
        }
    }
}

macro_rules! scalar_from {
    ($($from:ty => $make:expr),* $(,)?) => {$(
        impl From<$from> for Scalar {
            fn from(value: $from) -> Scalar {
                let make: fn($from) -> Scalar = $make;
                make(value)
            }
        }
        impl From<$from> for Value {
            fn from(value: $from) -> Value {
                Value::set([value])
            }
        }
    )*};
}
scalar_from! {
    i64 => Scalar::Integer,
    u16 => |i| Scalar::Integer(i.into()),
    bool => Scalar::Boolean,
    String => Scalar::String,
    &String => |s| Scalar::String(s.clone()),
    &str => |s| Scalar::String(s.to_owned()),
    Ipv4Addr => |ip| Scalar::String(ip.to_string()),
    IpAddr => |ip| Scalar::String(ip.to_string()),
    RowRef => Scalar::Row,
}

impl<T: Into<Scalar>> From<Vec<T>> for Value {
    fn from(items: Vec<T>) -> Value {
        Value::set(items)
    }
}
impl<K: Into<String>, V: Into<Scalar>> From<BTreeMap<K, V>> for Value {
    fn from(items: BTreeMap<K, V>) -> Value {
        Value::map(items)
    }
}
impl<V: Into<Scalar>, const N: usize> From<[(&str, V); N]> for Value {
    fn from(items: [(&str, V); N]) -> Value {
        Value::map(items)
    }
}

/// The columns of a row that hold something.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Row {
    columns: BTreeMap<String, Value>,
}

impl Row {
    pub fn new() -> Row {
        Row::default()
    }

    /// Starts with the column `name`.
    pub fn named(name: impl Into<String>) -> Row {
        Row::new().with("name", name.into())
    }

    #[must_use]
    pub fn with(mut self, column: &str, value: impl Into<Value>) -> Row {
        self.set(column, value);
        self
    }

    pub fn set(&mut self, column: &str, value: impl Into<Value>) {
        let value = value.into();
        if value.is_empty() {
            self.columns.remove(column);
        } else {
            self.columns.insert(column.to_owned(), value);
        }
    }

    pub fn get(&self, column: &str) -> Option<&Value> {
        self.columns.get(column)
    }

    pub fn remove(&mut self, column: &str) -> Option<Value> {
        self.columns.remove(column)
    }

    pub fn columns(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.columns.iter().map(|(k, v)| (k.as_str(), v))
    }

    /// The only string of a column.
    pub fn str(&self, column: &str) -> Option<&str> {
        match self.get(column)? {
            Value::Set(set) if set.len() == 1 => match set.first() {
                Some(Scalar::String(s)) => Some(s),
                _ => None,
            },
            _ => None,
        }
    }

    /// The value behind a key of a map.
    pub fn key(&self, column: &str, key: &str) -> Option<&str> {
        match self.get(column)? {
            Value::Map(map) => match map.get(key) {
                Some(Scalar::String(s)) => Some(s),
                _ => None,
            },
            Value::Set(_) => None,
        }
    }

    /// Adds a reference to a column that holds references.
    pub fn add_ref(&mut self, column: &str, reference: RowRef) {
        match self.columns.get_mut(column) {
            Some(Value::Set(set)) => {
                set.insert(Scalar::Row(reference));
            }
            _ => self.set(column, reference),
        }
    }

    pub(crate) fn map_values(self, mut f: impl FnMut(&str, Value) -> Value) -> Row {
        let columns = self.columns.into_iter().map(|(column, value)| {
            let value = f(&column, value);
            (column, value)
        });
        Row {
            columns: columns.collect(),
        }
    }
}
