//! Values of columns: atoms, and sets and maps of them.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use crate::transaction::NamedUuid;

/// A float with a total order, so that it can live in sets.
#[derive(Debug, Clone, Copy)]
pub struct Real(pub f64);

impl PartialEq for Real {
    fn eq(&self, other: &Self) -> bool {
        self.0.total_cmp(&other.0).is_eq()
    }
}
impl Eq for Real {}
impl PartialOrd for Real {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Real {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

/// One indivisible value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Atom {
    Integer(i64),
    Real(Real),
    Boolean(bool),
    String(String),
    Uuid(Uuid),
    /// A row that the same transaction inserts. Only valid inside a [`crate::Transaction`].
    Named(NamedUuid),
}

impl Atom {
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Atom::String(s) => Some(s),
            _ => None,
        }
    }

    pub fn as_integer(&self) -> Option<i64> {
        match self {
            Atom::Integer(i) => Some(*i),
            _ => None,
        }
    }

    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Atom::Boolean(b) => Some(*b),
            _ => None,
        }
    }

    pub fn as_uuid(&self) -> Option<Uuid> {
        match self {
            Atom::Uuid(u) => Some(*u),
            _ => None,
        }
    }
}

impl std::fmt::Display for Atom {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Atom::Integer(i) => i.fmt(f),
            Atom::Real(r) => r.0.fmt(f),
            Atom::Boolean(b) => b.fmt(f),
            Atom::String(s) => s.fmt(f),
            Atom::Uuid(u) => u.fmt(f),
            Atom::Named(n) => write!(f, "@{n}"),
        }
    }
}

/// The value of a column. A plain scalar is a set of one, an absent optional the empty set: that
/// is how the protocol sees it too.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Datum {
    Set(BTreeSet<Atom>),
    Map(BTreeMap<Atom, Atom>),
}

impl Datum {
    /// The empty set: how an optional column is cleared.
    pub fn empty() -> Datum {
        Datum::Set(BTreeSet::new())
    }

    pub fn set<T: Into<Atom>>(items: impl IntoIterator<Item = T>) -> Datum {
        Datum::Set(items.into_iter().map(Into::into).collect())
    }

    pub fn map<K: Into<Atom>, V: Into<Atom>>(items: impl IntoIterator<Item = (K, V)>) -> Datum {
        Datum::Map(
            items
                .into_iter()
                .map(|(k, v)| (k.into(), v.into()))
                .collect(),
        )
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn len(&self) -> usize {
        match self {
            Datum::Set(set) => set.len(),
            Datum::Map(map) => map.len(),
        }
    }

    /// The only element of a set of one.
    pub fn scalar(&self) -> Option<&Atom> {
        match self {
            Datum::Set(set) if set.len() == 1 => set.first(),
            _ => None,
        }
    }

    /// The elements of a set; nothing for a map.
    pub fn atoms(&self) -> impl Iterator<Item = &Atom> {
        match self {
            Datum::Set(set) => Some(set.iter()),
            Datum::Map(_) => None,
        }
        .into_iter()
        .flatten()
    }

    /// The pairs of a map; nothing for a set.
    pub fn pairs(&self) -> impl Iterator<Item = (&Atom, &Atom)> {
        match self {
            Datum::Map(map) => Some(map.iter()),
            Datum::Set(_) => None,
        }
        .into_iter()
        .flatten()
    }

    /// The value of a string key of a map of strings.
    pub fn key(&self, key: &str) -> Option<&str> {
        self.pairs()
            .find(|(k, _)| k.as_str() == Some(key))
            .and_then(|(_, v)| v.as_str())
    }
}

macro_rules! atom_from {
    ($($from:ty => $make:expr),* $(,)?) => {$(
        impl From<$from> for Atom {
            fn from(value: $from) -> Atom {
                #[allow(clippy::redundant_closure_call)]
                ($make)(value)
            }
        }
        impl From<$from> for Datum {
            fn from(value: $from) -> Datum {
                Datum::set([Atom::from(value)])
            }
        }
    )*};
}
atom_from! {
    i64 => Atom::Integer,
    i32 => |i: i32| Atom::Integer(i.into()),
    u32 => |i: u32| Atom::Integer(i.into()),
    u16 => |i: u16| Atom::Integer(i.into()),
    u8 => |i: u8| Atom::Integer(i.into()),
    f64 => |f| Atom::Real(Real(f)),
    bool => Atom::Boolean,
    String => Atom::String,
    &str => |s: &str| Atom::String(s.to_owned()),
    &String => |s: &String| Atom::String(s.clone()),
    Uuid => Atom::Uuid,
    NamedUuid => Atom::Named,
    &NamedUuid => |n: &NamedUuid| Atom::Named(n.clone()),
}

impl From<Atom> for Datum {
    fn from(value: Atom) -> Datum {
        Datum::set([value])
    }
}
impl<T: Into<Atom>> From<Option<T>> for Datum {
    fn from(value: Option<T>) -> Datum {
        Datum::set(value)
    }
}
impl<T: Into<Atom>> From<Vec<T>> for Datum {
    fn from(value: Vec<T>) -> Datum {
        Datum::set(value)
    }
}
impl<T: Into<Atom>> From<BTreeSet<T>> for Datum {
    fn from(value: BTreeSet<T>) -> Datum {
        Datum::set(value)
    }
}
impl<T: Into<Atom>, const N: usize> From<[T; N]> for Datum {
    fn from(value: [T; N]) -> Datum {
        Datum::set(value)
    }
}
impl<K: Into<Atom>, V: Into<Atom>> From<BTreeMap<K, V>> for Datum {
    fn from(value: BTreeMap<K, V>) -> Datum {
        Datum::map(value)
    }
}
