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
}

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
        if line.is_empty() {
            return;
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
}
