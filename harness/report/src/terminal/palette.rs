//! Colours, or none.

use anstyle::{AnsiColor, Style};

/// Styles by meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Palette {
    pub good: Style,
    pub bad: Style,
    pub warn: Style,
    pub dim: Style,
    pub strong: Style,
}

impl Palette {
    pub fn coloured() -> Self {
        Self {
            good: AnsiColor::Green.on_default(),
            bad: AnsiColor::Red.on_default().bold(),
            warn: AnsiColor::Yellow.on_default(),
            dim: Style::new().dimmed(),
            strong: Style::new().bold(),
        }
    }

    pub fn plain() -> Self {
        let none = Style::new();
        Self {
            good: none,
            bad: none,
            warn: none,
            dim: none,
            strong: none,
        }
    }
}

/// Text in a style.
pub(crate) fn paint(style: Style, text: impl std::fmt::Display) -> String {
    format!("{style}{text}{style:#}")
}
