//! Numbers for named owners: an owner keeps its number as long as it lives.

use std::collections::HashMap;
use std::hash::Hash;

use super::RoundRobin;

#[derive(Debug, Clone)]
pub(crate) struct Ids<K> {
    numbers: RoundRobin,
    owners: HashMap<K, u32>,
}

impl<K: Eq + Hash + Clone> Ids<K> {
    /// Numbers from `first` to `last`.
    pub(crate) fn new(first: u32, last: u32) -> Ids<K> {
        let mut numbers = RoundRobin::new(last + 1);
        for number in 0..first {
            numbers.reserve(number);
        }
        Ids {
            numbers,
            owners: HashMap::new(),
        }
    }

    /// True when the owner has this number now, or had it before.
    pub(crate) fn reserve(&mut self, owner: K, number: u32) -> bool {
        if let Some(held) = self.owners.get(&owner) {
            return *held == number;
        }
        let free = self.numbers.reserve(number);
        if free {
            self.owners.insert(owner, number);
        }
        free
    }

    /// The owner's number, a new one if it has none.
    pub(crate) fn allocate(&mut self, owner: K) -> Option<u32> {
        if let Some(number) = self.owners.get(&owner) {
            return Some(*number);
        }
        let number = self.numbers.allocate()?;
        self.owners.insert(owner, number);
        Some(number)
    }

    pub(crate) fn release<Q>(&mut self, owner: &Q)
    where
        K: std::borrow::Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        if let Some(number) = self.owners.remove(owner) {
            self.numbers.release(number);
        }
    }

    pub(crate) fn owners(&self) -> impl Iterator<Item = &K> {
        self.owners.keys()
    }
}
