//! Lines of a report.

use std::fmt::{Display, Write as _};

use anstyle::Style;

use super::palette::paint;

/// Text that grows line by line.
#[derive(Debug, Default)]
pub(super) struct Page(String);

impl Page {
    /// Adds lines in one style, each indented.
    pub fn line(&mut self, indent: usize, style: Style, text: impl Display) {
        for line in printable(&text.to_string()).lines() {
            self.raw(format_args!("{:indent$}{}", "", paint(style, line)));
        }
    }

    /// Adds a line that is finished as it is.
    pub fn raw(&mut self, line: impl Display) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.0, "{line}");
    }

    pub fn into_text(self) -> String {
        self.0
    }
}

/// Control characters made visible: what a program in a pod prints must not steer the reader's terminal.
pub(crate) fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() && c != '\n' {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_from_outside_steers_the_terminal() {
        assert_eq!(printable("a\u{1b}[31mb\r\nc"), "a\\u{1b}[31mb\\r\nc");
    }
}
