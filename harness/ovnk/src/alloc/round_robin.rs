//! Numbers from a range, each given out once.

use std::collections::BTreeSet;

#[derive(Debug, Clone)]
pub(crate) struct RoundRobin {
    size: u32,
    used: BTreeSet<u32>,
    /// Where the search for a free number begins.
    next: u32,
}

impl RoundRobin {
    /// Numbers below `size`.
    pub(crate) fn new(size: u32) -> RoundRobin {
        RoundRobin {
            size,
            used: BTreeSet::new(),
            next: 0,
        }
    }

    /// Takes a certain number; false when it is taken or out of range. Does not move the search.
    pub(crate) fn reserve(&mut self, number: u32) -> bool {
        number < self.size && self.used.insert(number)
    }

    pub(crate) fn allocate(&mut self) -> Option<u32> {
        let number = (self.next..self.size)
            .chain(0..self.next)
            .find(|number| !self.used.contains(number))?;
        self.used.insert(number);
        self.next = number + 1;
        Some(number)
    }

    pub(crate) fn release(&mut self, number: u32) {
        self.used.remove(&number);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::RoundRobin;
    use proptest::prelude::*;

    #[test]
    fn freed_numbers_wait_for_the_wrap() {
        let mut numbers = RoundRobin::new(3);
        assert_eq!(numbers.allocate(), Some(0));
        assert_eq!(numbers.allocate(), Some(1));
        numbers.release(0);
        assert_eq!(numbers.allocate(), Some(2));
        assert_eq!(numbers.allocate(), Some(0));
        assert_eq!(numbers.allocate(), None);
    }

    #[test]
    fn reserved_numbers_are_skipped() {
        let mut numbers = RoundRobin::new(4);
        assert!(numbers.reserve(1));
        assert!(!numbers.reserve(1));
        assert!(!numbers.reserve(4));
        assert_eq!(numbers.allocate(), Some(0));
        assert_eq!(numbers.allocate(), Some(2));
    }

    proptest! {
        #[test]
        fn nothing_is_given_out_twice(steps in prop::collection::vec(0u8..8, 0..200)) {
            let mut numbers = RoundRobin::new(5);
            let mut held: Vec<u32> = Vec::new();
            for step in steps {
                if step < 5 {
                    let number = numbers.allocate();
                    prop_assert_eq!(number.is_none(), held.len() == 5);
                    prop_assert!(number.is_none_or(|number| !held.contains(&number)));
                    held.extend(number);
                } else if !held.is_empty() {
                    numbers.release(held.remove(usize::from(step) % held.len()));
                }
            }
        }
    }
}
