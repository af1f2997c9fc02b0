//! The streams of a job, put together from pieces until they are what the guest says they are.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{cksum::cksum, marks::Part, shell::LONGEST_LINE};

/// How large a piece is, and how small the ones that are asked for when something is printed into it again and again.
const LARGE: usize = 16 * MEDIUM;
const MEDIUM: usize = 8 * SMALL;
const SMALL: usize = 384;

/// Bytes kept of each stream, as many as the agent in containers keeps.
const KEPT: usize = 4 << 20;

/// What a command printed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Collected {
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    pub truncated: bool,
}

/// What has arrived so far.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    sums: Option<[Sum; 2]>,
    stdout: Stream,
    stderr: Stream,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sum {
    crc: u32,
    length: usize,
}

/// What arrived is not what was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Differs;

/// Small pieces by their number.
#[derive(Debug, Default)]
struct Stream(BTreeMap<usize, Vec<u8>>);

impl Pieces {
    /// How much has arrived, to tell progress.
    pub fn arrived(&self) -> usize {
        usize::from(self.sums.is_some()) + self.stdout.0.len() + self.stderr.0.len()
    }

    /// What to ask for next; `None` when everything is there.
    pub fn ask(&self, question: &str, job: u64, attempt: u32) -> Option<String> {
        let Some(sums) = &self.sums else {
            return Some(format!("g {question} {job} {LARGE}\n"));
        };
        let [(part, size, indices), ..] = &*self.missing(*sums, attempt) else {
            return None;
        };
        let mut line = format!("b {question} {job} {} {size}", part.letter());
        // A few at a time, so that other commands get their turn in between.
        let most = (2 * LARGE / size).min(LONGEST_LINE / 8);
        for index in indices.iter().take(most) {
            // Writing to a string cannot fail.
            let _ = write!(line, " {index}");
        }
        line.push('\n');
        Some(line)
    }

    /// By stream, the size of the pieces and which of them are not there.
    fn missing(&self, sums: [Sum; 2], attempt: u32) -> Vec<(Part, usize, Vec<usize>)> {
        let size = match attempt {
            0..2 => LARGE,
            2..4 => MEDIUM,
            _ => SMALL,
        };
        let mut all = Vec::new();
        for (part, sum, stream) in [
            (Part::Stdout, sums[0], &self.stdout),
            (Part::Stderr, sums[1], &self.stderr),
        ] {
            let small = sum.length.min(KEPT).div_ceil(SMALL);
            let mut indices: Vec<usize> = (0..small)
                .filter(|index| !stream.0.contains_key(index))
                .map(|index| index * SMALL / size)
                .collect();
            indices.dedup();
            if !indices.is_empty() {
                all.push((part, size, indices));
            }
        }
        all
    }

    /// Takes in a piece, unless it is not what it should be.
    pub fn take(&mut self, part: Part, size: usize, index: usize, lines: &[String]) {
        if part == Part::Sums {
            self.sums = self.sums.or_else(|| sums(lines));
            return;
        }
        let Some([stdout, stderr]) = self.sums else {
            return;
        };
        let (sum, stream) = match part {
            Part::Stdout => (stdout, &mut self.stdout),
            _ => (stderr, &mut self.stderr),
        };
        let start = size.saturating_mul(index);
        let length = sum.length.saturating_sub(start).min(size);
        let Some(bytes) = decode(lines, length).filter(|_| size.is_multiple_of(SMALL)) else {
            return;
        };
        for (offset, chunk) in bytes.chunks(SMALL).enumerate() {
            stream.0.insert(start / SMALL + offset, chunk.to_vec());
        }
    }

    /// Both streams, if they have the sums that the guest made of them; else everything is forgotten.
    pub fn finish(&mut self) -> Result<Collected, Differs> {
        let Some([out, err]) = self.sums else {
            return Err(Differs);
        };
        let whole = |stream: &Stream, sum: Sum| {
            let mut bytes: Vec<u8> = stream.0.values().flatten().copied().collect();
            let complete = bytes.len() >= sum.length.min(KEPT);
            bytes.truncate(KEPT);
            // What is cut has no sum to be held against.
            let right = sum.length > KEPT || cksum(&bytes) == sum.crc;
            (complete && right).then_some(bytes)
        };
        let streams = whole(&self.stdout, out).zip(whole(&self.stderr, err));
        if let Some((stdout, stderr)) = streams {
            return Ok(Collected {
                stdout,
                stderr,
                truncated: out.length > KEPT || err.length > KEPT,
            });
        }
        *self = Self::default();
        Err(Differs)
    }
}

/// The bytes of a piece, if there are as many as there must be: of all its lines, or of those that nothing was printed
/// into, or up to where it was. Should that ever be right in length only, the sums find out.
fn decode(lines: &[String], length: usize) -> Option<Vec<u8>> {
    let foreign = |c: char| !(c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '='));
    let all = || lines.concat();
    let clean = || {
        let clean = lines.iter().filter(|line| !line.contains(foreign));
        clean.map(String::as_str).collect()
    };
    let begun = || {
        let begun = lines.iter().map(|line| line.split(foreign).next());
        begun.map(Option::unwrap_or_default).collect()
    };
    let readings: [&dyn Fn() -> String; 3] = [&all, &clean, &begun];
    readings.iter().find_map(|reading| {
        let bytes = STANDARD.decode(reading()).ok()?;
        (bytes.len() == length).then_some(bytes)
    })
}

/// Two lines of `cksum`.
fn sums(lines: &[String]) -> Option<[Sum; 2]> {
    let [out, err] = lines else { return None };
    let sum = |line: &str| {
        let mut words = line.split_whitespace();
        let (crc, length) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        words.next().is_none().then_some(Sum { crc, length })
    };
    Some([sum(out)?, sum(err)?])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(bytes: &[u8]) -> Vec<String> {
        let text = STANDARD.encode(bytes);
        text.as_bytes()
            .chunks(76)
            .map(|line| String::from_utf8_lossy(line).into_owned())
            .collect()
    }

    fn sums_of(out: &[u8], err: &[u8]) -> Vec<String> {
        [out, err]
            .map(|bytes| format!("{} {}", cksum(bytes), bytes.len()))
            .to_vec()
    }

    #[test]
    fn pieces_are_asked_for_until_all_are_there() {
        let out: Vec<u8> = (0..LARGE + 100).map(|n| n.to_le_bytes()[0]).collect();
        let mut pieces = Pieces::default();
        assert_eq!(
            pieces.ask("1.1", 1, 0).unwrap(),
            format!("g 1.1 1 {LARGE}\n")
        );
        pieces.take(Part::Sums, 0, 0, &sums_of(&out, b"e"));
        pieces.take(Part::Stdout, LARGE, 0, &lines(&out[..LARGE]));
        pieces.take(Part::Stderr, LARGE, 0, &lines(b"e"));
        assert_eq!(
            pieces.ask("1.2", 1, 1).unwrap(),
            format!("b 1.2 1 o {LARGE} 1\n")
        );
        assert_eq!(
            pieces.ask("1.3", 1, 5).unwrap(),
            format!("b 1.3 1 o {SMALL} 128\n")
        );
        pieces.take(Part::Stdout, SMALL, 128, &lines(&out[LARGE..]));
        assert_eq!(pieces.ask("1.4", 1, 6), None);
        let collected = pieces.finish().unwrap();
        assert_eq!((collected.stdout, collected.stderr), (out, b"e".to_vec()));
    }

    #[test]
    fn what_was_printed_into_a_piece_is_not_taken_for_it() {
        let mut pieces = Pieces::default();
        pieces.take(Part::Sums, 0, 0, &sums_of(b"abcdef", b""));
        for wrong in ["usb YWJjZGVm", "YWJj", "YWJjZGVmZ2hp"] {
            pieces.take(Part::Stdout, LARGE, 0, &[wrong.to_owned()]);
            assert!(pieces.ask("1.1", 1, 0).is_some(), "{wrong}");
        }
        // Of the right length and still not it: the sum knows.
        pieces.take(Part::Stdout, LARGE, 0, &lines(b"abcdeX"));
        assert!(pieces.ask("1.2", 1, 0).is_none());
        assert!(pieces.finish().is_err());
        assert!(pieces.ask("1.3", 1, 0).unwrap().starts_with("g "));
    }

    #[test]
    fn a_piece_is_read_around_what_was_printed_into_it() {
        for lines in [
            vec!["YWJjZGVm"],
            vec!["YWJj", "[    1.0] usb 1-1: new device", "ZGVm"],
            vec!["YWJj[    1.0] usb 1-1: new device", "ZGVm"],
        ] {
            let lines: Vec<_> = lines.into_iter().map(str::to_owned).collect();
            assert_eq!(
                decode(&lines, 6).as_deref(),
                Some(&b"abcdef"[..]),
                "{lines:?}"
            );
            assert_eq!(decode(&lines, 5), None);
        }
    }

    #[test]
    fn sums_that_were_printed_over_are_not_believed() {
        for lines in [
            vec!["1 2".to_owned()],
            vec!["1 2 [ 1.0] usb".to_owned(), "3 4".to_owned()],
            vec!["1 2".to_owned(), "usb".to_owned(), "3 4".to_owned()],
        ] {
            assert_eq!(sums(&lines), None, "{lines:?}");
        }
    }
}
