//! Subordinate user and group ids: what an ordinary user's lab has for users besides its root.

use std::fs;
use std::io;
use std::path::Path;

/// Where ranges usually begin when nobody has one.
const FIRST_SUBORDINATE: u32 = 100_000;

/// A run of ids of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct IdRange {
    start: u32,
    count: u32,
}

/// The contents of /etc/subuid or /etc/subgid.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SubordinateIds(Vec<(String, IdRange)>);

impl SubordinateIds {
    /// Reads a file; one that does not exist has no ranges.
    pub fn read(path: &Path) -> io::Result<Self> {
        match fs::read_to_string(path) {
            Ok(text) => Ok(Self::parse(&text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error),
        }
    }

    /// Lines `owner:start:count`; others are ignored, as shadow-utils does.
    pub fn parse(text: &str) -> Self {
        Self(text.lines().filter_map(entry).collect())
    }

    /// The length of the longest range of a user, who may be listed by name or by number. Only that one is used.
    pub fn longest_of(&self, name: Option<&str>, uid: u32) -> u32 {
        let number = uid.to_string();
        self.0
            .iter()
            .filter(|(owner, _)| Some(owner.as_str()) == name || *owner == number)
            .map(|(_, range)| range.count)
            .max()
            .unwrap_or(0)
    }

    /// Where a range that nobody has begins.
    pub fn free_start(&self) -> u32 {
        self.0
            .iter()
            .map(|(_, range)| range.start.saturating_add(range.count))
            .fold(FIRST_SUBORDINATE, u32::max)
    }
}

fn entry(line: &str) -> Option<(String, IdRange)> {
    let mut fields = line.trim().split(':');
    let (owner, start, count) = (fields.next()?, fields.next()?, fields.next()?);
    let range = IdRange {
        start: start.parse().ok()?,
        count: count.parse().ok().filter(|count| *count > 0)?,
    };
    (fields.next().is_none() && !owner.is_empty()).then(|| (owner.to_owned(), range))
}

#[cfg(test)]
mod tests {
    use super::SubordinateIds;

    const FILE: &str =
        "alice:100000:65536\n\n# note\nbob:165536:1000\n1001:300000:64536\nbad:x:1\nbob:1:0\n";

    #[test]
    fn finds_ranges_by_name_and_number() {
        let ids = SubordinateIds::parse(FILE);
        assert_eq!(ids.longest_of(Some("alice"), 1000), 65536);
        assert_eq!(ids.longest_of(Some("bob"), 1001), 64536);
        assert_eq!(ids.longest_of(Some("bob"), 1002), 1000);
        assert_eq!(ids.longest_of(None, 1002), 0);
    }

    #[test]
    fn a_free_range_lies_behind_all_others() {
        assert_eq!(SubordinateIds::parse(FILE).free_start(), 364_536);
        assert_eq!(SubordinateIds::default().free_start(), 100_000);
    }
}
