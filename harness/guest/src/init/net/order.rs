//! Which card is `eth0`.

use std::fs;

/// The names that interfaces are to have, so that `eth0`, `eth1` and so on follow the places of
/// their cards. Interfaces with other names, or without a place, keep theirs.
pub fn names(current: &[&str], place: impl Fn(&str) -> Option<String>) -> Vec<Option<String>> {
    let mut cards: Vec<(String, usize)> = current
        .iter()
        .enumerate()
        .filter(|(_, name)| number(name).is_some())
        .filter_map(|(at, name)| Some((place(name)?, at)))
        .collect();
    cards.sort();
    // Only the names that these cards have among them are dealt out anew.
    let mut numbers: Vec<u32> = cards
        .iter()
        .filter_map(|(_, at)| number(current[*at]))
        .collect();
    numbers.sort_unstable();
    let mut names = vec![None; current.len()];
    for ((_, at), number) in cards.into_iter().zip(numbers) {
        names[at] = Some(format!("eth{number}"));
    }
    names
}

fn number(name: &str) -> Option<u32> {
    name.strip_prefix("eth")?.parse().ok()
}

/// Bus addresses from the root of the tree down, as they stand in the kernel's path.
pub fn place(name: &str) -> Option<String> {
    let path = fs::canonicalize(format!("/sys/class/net/{name}/device")).ok()?;
    let path = path.to_str()?;
    // The driver's own number, which follows the order of discovery, is not part of a place.
    Some(path.split("/virtio").next().unwrap_or(path).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(cards: &[(&str, Option<&str>)]) -> Vec<Option<String>> {
        let current: Vec<&str> = cards.iter().map(|(name, _)| *name).collect();
        names(&current, |name| {
            let (_, place) = cards.iter().find(|(card, _)| *card == name)?;
            place.map(str::to_owned)
        })
    }

    #[test]
    fn names_follow_the_places_of_cards() {
        let bridge = |slot: &str| format!("/sys/devices/pci0000:00/0000:00:05.0/0000:01:{slot}.0");
        let (first, second, third) = (bridge("01"), bridge("02"), bridge("0a"));
        let cards = [
            ("lo", None),
            ("eth0", Some(third.as_str())),
            ("eth1", Some(first.as_str())),
            ("eth2", Some(second.as_str())),
        ];
        let expected = [None, Some("eth2"), Some("eth0"), Some("eth1")];
        assert_eq!(named(&cards), expected.map(|name| name.map(str::to_owned)));
    }

    #[test]
    fn names_of_others_stay() {
        let cards = [
            ("eth3", Some("/b")),
            ("lan0", Some("/a")),
            ("eth1", Some("/c")),
            ("eth0", None),
            ("ethernet", Some("/0")),
        ];
        let expected = [Some("eth1"), None, Some("eth3"), None, None];
        assert_eq!(named(&cards), expected.map(|name| name.map(str::to_owned)));
    }
}
