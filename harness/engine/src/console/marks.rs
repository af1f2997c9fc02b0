//! What the program in a guest says, picked out of everything else that is on its console.

use std::collections::BTreeMap;

use super::prompt::{self, Waits};

/// A stream of a job, or the checksums of both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Part {
    Stdout,
    Stderr,
    Sums,
}

impl Part {
    pub fn letter(self) -> char {
        match self {
            Self::Stdout => 'o',
            Self::Stderr => 'e',
            Self::Sums => 'c',
        }
    }

    fn of(letter: &str) -> Option<Self> {
        Some(match letter {
            "o" => Self::Stdout,
            "e" => Self::Stderr,
            "c" => Self::Sums,
            _ => return None,
        })
    }
}

/// How a job ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ended {
    pub code: i32,
    pub stdout: bool,
    pub stderr: bool,
    /// It could not begin: a program is missing.
    pub missing: bool,
}

/// One thing that was said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    /// The shell waits for the program.
    Ready,
    Hello(Hello),
    /// The job has been started.
    Started {
        job: u64,
    },
    Done {
        job: u64,
        ended: Ended,
    },
    Piece {
        question: String,
        part: Part,
        size: usize,
        index: usize,
        lines: Vec<String>,
    },
    /// Everything that was asked has been said.
    End {
        question: String,
    },
    /// The job runs, or has never been heard of.
    Standing {
        question: String,
        running: bool,
    },
}

impl Mark {
    /// The job a mark is about.
    pub fn job(&self) -> Option<u64> {
        match self {
            Self::Started { job } | Self::Done { job, .. } => Some(*job),
            Self::Piece { question, .. }
            | Self::End { question }
            | Self::Standing { question, .. } => question.split('.').next()?.parse().ok(),
            Self::Ready | Self::Hello(_) => None,
        }
    }
}

/// The program introduces itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Hello {
    pub user: String,
    /// Programs that it needs and the guest does not have.
    pub missing: Vec<String>,
    /// Changes with every start of the guest.
    pub boot: String,
}

/// Splits the text of a console into marks and everything else.
#[derive(Debug)]
pub(super) struct Marks {
    nonce: String,
    line: Vec<u8>,
    /// Pieces that have begun and not ended, by question, part and index; noise may swallow an end.
    open: BTreeMap<(String, Part, usize), (usize, Vec<String>)>,
    current: Option<(String, Part, usize)>,
}

/// A line of noise without an end is cut here.
const LONGEST: usize = 64 * 1024;

impl Marks {
    pub fn new(nonce: &str) -> Self {
        Self {
            nonce: format!("{nonce}:"),
            line: Vec::new(),
            open: BTreeMap::new(),
            current: None,
        }
    }

    pub fn feed(&mut self, text: &[u8]) -> Vec<Mark> {
        let mut marks = Vec::new();
        for &byte in text {
            if byte != b'\n' && self.line.len() < LONGEST {
                self.line.push(byte);
                continue;
            }
            let line = String::from_utf8_lossy(&std::mem::take(&mut self.line)).into_owned();
            match line.find(&self.nonce) {
                Some(start) => marks.extend(self.said(line[start + self.nonce.len()..].trim_end())),
                None => self.payload(line.trim()),
            }
        }
        marks
    }

    /// Whether the console waits for a user: the program that spoke on it is gone. Commands print into files, so nothing
    /// of theirs can look like it.
    pub fn ended(&self) -> bool {
        prompt::waits(&String::from_utf8_lossy(&self.line)) == Some(Waits::User)
    }

    fn payload(&mut self, line: &str) {
        if !line.is_empty()
            && let Some((_, lines)) = self.current.as_ref().and_then(|key| self.open.get_mut(key))
        {
            lines.push(line.to_owned());
        }
    }

    /// A line that was printed over by something else is not understood, and asked for again by whoever misses it.
    fn said(&mut self, line: &str) -> Option<Mark> {
        let fields: Vec<&str> = line.strip_suffix(':')?.split(':').collect();
        Some(match fields.as_slice() {
            ["r"] => Mark::Ready,
            ["h", user, missing, boot] => Mark::Hello(Hello {
                user: (*user).to_owned(),
                missing: missing.split_whitespace().map(str::to_owned).collect(),
                boot: (*boot).to_owned(),
            }),
            ["a", job] => Mark::Started {
                job: job.parse().ok()?,
            },
            ["d", job, code, stdout, stderr, missing] => Mark::Done {
                job: job.parse().ok()?,
                ended: Ended {
                    code: code.parse().ok()?,
                    stdout: flag(stdout)?,
                    stderr: flag(stderr)?,
                    missing: flag(missing)?,
                },
            },
            ["b", question, part, size, index] => {
                let key = ((*question).to_owned(), Part::of(part)?, index.parse().ok()?);
                self.open
                    .insert(key.clone(), (size.parse().ok()?, Vec::new()));
                self.current = Some(key);
                return None;
            }
            ["f", question, part, size, index] => {
                let key = ((*question).to_owned(), Part::of(part)?, index.parse().ok()?);
                self.current = None;
                let (size_then, lines) = self.open.remove(&key)?;
                let size: usize = size.parse().ok()?;
                if size != size_then {
                    return None;
                }
                let (question, part, index) = key;
                Mark::Piece {
                    question,
                    part,
                    size,
                    index,
                    lines,
                }
            }
            ["z", question] => {
                self.open.clear();
                self.current = None;
                Mark::End {
                    question: (*question).to_owned(),
                }
            }
            ["s", question, standing @ ("r" | "n")] => Mark::Standing {
                question: (*question).to_owned(),
                running: *standing == "r",
            },
            _ => return None,
        })
    }
}

fn flag(text: &str) -> Option<bool> {
    match text {
        "0" => Some(false),
        "1" => Some(true),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marks(text: &str) -> Vec<Mark> {
        // In pieces, because a console gives single bytes as readily as lines.
        let mut marks = Marks::new("abcd");
        text.as_bytes()
            .chunks(3)
            .flat_map(|chunk| marks.feed(chunk))
            .collect()
    }

    #[test]
    fn what_is_typed_is_not_taken_for_an_answer() {
        assert_eq!(
            marks("$ printf \"\\n%s%s:r:\\n\" ab cd\nN=ab''cd; loop\n\nabcd:r:\n"),
            [Mark::Ready]
        );
    }

    #[test]
    fn a_guest_that_asks_for_a_login_has_ended_the_conversation() {
        let ended = |text: &str| {
            let mut marks = Marks::new("abcd");
            marks.feed(text.as_bytes());
            marks.ended()
        };
        assert!(ended("[    7.0] reboot: Restarting system\n\nvm login: "));
        assert!(!ended("abcd:z:3.1:\n"));
        assert!(!ended("Started session.scope login: $ Password: \n"));
        assert!(!ended("Last failed login: "));
    }

    #[test]
    fn a_piece_is_what_stands_between_its_marks() {
        let text = "abcd:b:7.1:o:49152:0:\nAAAA\nBBBB\n\nabcd:d:8:0:1:0:0:\nCC==\nabcd:f:7.1:o:49152:0:\nabcd:z:7.1:\n";
        let found = marks(text);
        assert_eq!(found.len(), 3, "{found:?}");
        assert_eq!(found[0].job(), Some(8));
        let Mark::Piece { part, lines, .. } = &found[1] else {
            panic!("{found:?}");
        };
        // A word about another job in the middle of it is no part of it.
        assert_eq!(
            (*part, lines.concat().as_str()),
            (Part::Stdout, "AAAABBBBCC==")
        );
    }

    #[test]
    fn noise_before_a_mark_is_passed_over_and_noise_inside_makes_it_none() {
        assert_eq!(marks("[ 1.0] usb abcd:z:3.1:\n").len(), 1);
        assert!(marks("abcd:z:3.[ 1.0] usb\n1:\n").is_empty());
        assert!(marks("abcd:d:1:zero:0:0:0:\n").is_empty());
    }
}
