//! The last lines of a console, kept for whoever has to explain a failure.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
};

/// Lines kept, and how much of each.
const LINES: usize = 20;
const WIDTH: usize = 200;

#[derive(Debug, Default)]
pub(super) struct Tail(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    lines: VecDeque<String>,
    /// The line that has no end yet.
    open: Vec<u8>,
    over: Option<String>,
}

/// Words after which a guest does nothing any more: the kernel's, and the firmware's.
const LAST_WORDS: &[&str] = &["Kernel panic - not syncing", "No bootable device"];

impl Tail {
    /// Takes in text without control sequences.
    pub fn feed(&self, text: &[u8]) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for &byte in text {
            if byte != b'\n' {
                if kept.open.len() < WIDTH {
                    kept.open.push(byte);
                }
                continue;
            }
            let line = std::mem::take(&mut kept.open);
            kept.push(&line);
        }
    }

    /// What the guest said when it came to its end, if it did.
    pub fn over(&self) -> Option<String> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.over.clone()
    }

    /// Another guest may be at the other end from now on.
    pub fn begin(&self) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.over = None;
    }

    /// The last lines that are not empty, the one without an end included.
    pub fn lines(&self) -> Vec<String> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let open = shown(&kept.open);
        let open = (!open.is_empty()).then_some(open);
        kept.lines.iter().cloned().chain(open).collect()
    }
}

impl Kept {
    fn push(&mut self, line: &[u8]) {
        let line = shown(line);
        // `^C` is how a terminal shows what was typed to interrupt something.
        if line.replace("^C", "").trim().is_empty() {
            return;
        }
        for words in LAST_WORDS {
            // Without the time before it, and without the marks that the kernel puts around its last line.
            if let Some(start) = line.find(words) {
                let words = line[start..].trim_end_matches([']', '-', ' ']);
                self.over.get_or_insert_with(|| words.to_owned());
            }
        }
        if self.lines.len() == LINES {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }
}

fn shown(line: &[u8]) -> String {
    String::from_utf8_lossy(line).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_kept() {
        let tail = Tail::default();
        for number in 0..30 {
            tail.feed(format!("line {number}\n\n").as_bytes());
        }
        tail.feed(b"vm login: ");
        let lines = tail.lines();
        assert_eq!(lines.len(), LINES + 1);
        assert_eq!(lines.first().unwrap(), "line 10");
        assert_eq!(lines.last().unwrap(), "vm login:");
    }

    #[test]
    fn what_was_typed_to_interrupt_crowds_nothing_out() {
        let tail = Tail::default();
        tail.feed(b"cloud-init: running bootcmd\n");
        for _ in 0..30 {
            tail.feed(b"^C\n^C^C\n");
        }
        assert_eq!(tail.lines(), ["cloud-init: running bootcmd"]);
        assert_eq!(tail.over(), None);
    }

    #[test]
    fn the_words_of_a_kernel_that_panics_are_kept_however_much_follows() {
        let tail = Tail::default();
        tail.feed(b"[    8.4] Kernel panic - not syncing: sysrq triggered crash\n");
        for number in 0..30 {
            tail.feed(format!("[    8.4]  ? frame {number}\n").as_bytes());
        }
        tail.feed(b"[    8.5] ---[ end Kernel panic - not syncing: sysrq triggered crash ]---\n");
        let words = "Kernel panic - not syncing: sysrq triggered crash";
        assert_eq!(tail.over().as_deref(), Some(words));
        tail.begin();
        assert_eq!(tail.over(), None);
    }
}
