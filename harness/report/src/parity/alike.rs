//! Whether two texts of two sites say the same.
//!
//! Each is taken apart into words, and the words are compared one by one. Where they must differ between sites, they are
//! the same when they play the same role: an address stands for the same address throughout a case, and no two for one;
//! likewise names of nodes, generated names, and what was captured. Times, and the ports that clients get
//! for one connection, are never the same and never compared.

use std::{collections::BTreeMap, net::Ipv6Addr, sync::LazyLock};

use regex::Regex;

/// What stands for what, in one case on two sites.
#[derive(Clone, Debug, Default)]
pub(super) struct Roles {
    there: BTreeMap<String, String>,
    back: BTreeMap<String, String>,
    /// What the two sites are called.
    names: (String, String),
}

/// What a word is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Time,
    Mac,
    Address,
    Id,
    Word,
    Other,
}

impl Roles {
    pub fn new(ours: &str, theirs: &str) -> Self {
        Self {
            names: (ours.to_owned(), theirs.to_owned()),
            ..Self::default()
        }
    }

    /// Notes that two values play the same role, as two captures of one name do. A short one proves nothing: it stands
    /// for itself in too many places.
    pub fn seed(&mut self, ours: &str, theirs: &str) {
        const SHORTEST: usize = 5;
        if ours != theirs && ours.len().min(theirs.len()) >= SHORTEST {
            self.pair(ours, theirs);
        }
    }

    /// Whether the texts say the same. What turns out to play the same role is remembered, if they do.
    pub fn alike(&mut self, ours: &str, theirs: &str) -> bool {
        let mut tried = self.clone();
        let alike = tried.compare(ours, theirs);
        if alike {
            *self = tried;
        }
        alike
    }

    fn compare(&mut self, ours: &str, theirs: &str) -> bool {
        let ((ours, cut), (theirs, also)) = (whole(ours), whole(theirs));
        let (mut ours, mut theirs) = (words(ours), words(theirs));
        if cut && also {
            // Of texts that were cut, what both have is compared, but for the words that the cut went through.
            let both = ours.len().min(theirs.len()).saturating_sub(1);
            ours.truncate(both);
            theirs.truncate(both);
        }
        if ours.len() != theirs.len() {
            return false;
        }
        let mut before = [Class::Other, Class::Other];
        for ((class, ours), (other, theirs)) in ours.iter().zip(&theirs) {
            // `10.244.1.4:48288`: the kernel's choice, as good as a time.
            let chosen =
                before == [Class::Address, Class::Other] && passing(ours) && passing(theirs);
            if class != other || !(chosen || self.same_word(*class, ours, theirs)) {
                return false;
            }
            before = [before[1], *class];
        }
        true
    }

    fn same_word(&mut self, class: Class, ours: &str, theirs: &str) -> bool {
        match class {
            Class::Time => true,
            Class::Mac | Class::Address | Class::Id => self.pair(ours, theirs),
            Class::Word if ours == theirs => self.is_pair_or_new(ours, theirs),
            Class::Word if (ours, theirs) == (&self.names.0, &self.names.1) => true,
            Class::Word => {
                let known = self.there.get(ours).is_some_and(|known| known == theirs);
                // Which of several pods answers is chance, so a generated name stands for all of its kind.
                known
                    || generated(ours, theirs)
                    || (is_node(ours) && is_node(theirs) && self.pair(ours, theirs))
            }
            Class::Other => ours == theirs,
        }
    }

    /// The same word on both sides, unless on one of them it already stands for something else.
    fn is_pair_or_new(&self, ours: &str, theirs: &str) -> bool {
        self.there.get(ours).is_none_or(|known| known == theirs)
            && self.back.get(theirs).is_none_or(|known| known == ours)
    }

    /// Notes a pair, unless either of them has another partner.
    fn pair(&mut self, ours: &str, theirs: &str) -> bool {
        if !self.is_pair_or_new(ours, theirs) {
            return false;
        }
        self.there.insert(ours.to_owned(), theirs.to_owned());
        self.back.insert(theirs.to_owned(), ours.to_owned());
        true
    }
}

/// A text up to where it was cut off, and whether it was.
fn whole(text: &str) -> (&str, bool) {
    match text.split_once("… (") {
        Some((start, rest)) if rest.contains(" bytes more)") => (start, true),
        _ => (text, false),
    }
}

/// Whether this is a port that a client gets for one connection. Ports of nodes are below.
fn passing(word: &str) -> bool {
    word.parse::<u16>().is_ok_and(|port| port >= 32768)
}

/// As kind and the lab call their nodes.
fn is_node(word: &str) -> bool {
    let word = word.trim_end_matches(|c: char| c.is_ascii_digit());
    word.ends_with("-control-plane") || word.ends_with("-worker")
}

/// The letters and digits of the suffixes that Kubernetes generates.
const SUFFIX: &str = "bcdfghjklmnpqrstvwxz2456789";

/// Whether both are the same name with a generated suffix: `web-5d4f8c7b9x-2xkqp`, `job-x8w2z`.
fn generated(ours: &str, theirs: &str) -> bool {
    fn stem(word: &str) -> Option<&str> {
        let is_suffix = |part: &str, lengths: std::ops::RangeInclusive<usize>| {
            lengths.contains(&part.len()) && part.chars().all(|c| SUFFIX.contains(c))
        };
        let (stem, last) = word.rsplit_once('-')?;
        if !is_suffix(last, 5..=5) {
            return None;
        }
        Some(match stem.rsplit_once('-') {
            Some((shorter, hash)) if is_suffix(hash, 8..=10) => shorter,
            _ => stem,
        })
    }
    stem(ours).is_some() && stem(ours) == stem(theirs)
}

static WORDS: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let parts = [
        r"(?<time>\b\d+(?:\.\d+)?(?:ns|us|µs|ms|s|m\d\ds|m|h)\b)",
        r"(?<mac>\b[0-9a-fA-F]{2}(?::[0-9a-fA-F]{2}){5}\b)",
        r"(?<id>\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b|\b[0-9a-f]{12,}\b)",
        r"(?<v4>\b\d{1,3}(?:\.\d{1,3}){3}\b)",
        r"(?<v6>[0-9a-fA-F]{0,4}(?::[0-9a-fA-F]{0,4}){2,7})",
        r"(?<word>[A-Za-z0-9](?:[A-Za-z0-9_.-]*[A-Za-z0-9])?)",
        r"(?s)(?<other>.)",
    ];
    Regex::new(&parts.join("|")).ok()
});

/// A text as words with their classes.
fn words(text: &str) -> Vec<(Class, String)> {
    let Some(pattern) = WORDS.as_ref() else {
        return vec![(Class::Other, text.to_owned())];
    };
    // Answers come quoted; the escapes of a quoted text are not part of the words beside them.
    let text = text.replace("\\n", "\n").replace("\\t", "\t");
    let mut words = Vec::new();
    for found in pattern.captures_iter(&text) {
        let class = if found.name("time").is_some() {
            Class::Time
        } else if found.name("mac").is_some() {
            Class::Mac
        } else if found.name("id").is_some() {
            Class::Id
        } else if found.name("v4").is_some() {
            Class::Address
        } else if found.name("word").is_some() {
            Class::Word
        } else if let Some(v6) = found.name("v6") {
            if v6.as_str().parse::<Ipv6Addr>().is_ok() {
                Class::Address
            } else {
                Class::Other
            }
        } else {
            Class::Other
        };
        words.push((class, found[0].to_owned()));
    }
    words
}
