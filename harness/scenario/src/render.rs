//! Diagnostics as text: drawn with the source around them, or one line each.

use std::fmt::{self, Write};

use miette::{GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource, SourceCode};

use crate::diagnostic::{Diagnostic, Label, Severity};

/// How diagnostics are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// `file:line:col: error[code]: message; help: …`
    Plain,
    /// With the lines of the file and arrows into them.
    Graphical {
        color: bool,
        /// Columns of the terminal.
        width: usize,
    },
}

/// All diagnostics, in their order; ends with a newline unless there are none.
pub fn render(diagnostics: &[Diagnostic], style: Style) -> String {
    let mut text = String::new();
    for (index, diagnostic) in diagnostics.iter().enumerate() {
        if index > 0 && style != Style::Plain {
            text.push('\n');
        }
        match style {
            Style::Plain => {
                let _ = writeln!(text, "{diagnostic}");
            }
            Style::Graphical { color, width } => draw(diagnostic, color, width, &mut text),
        }
    }
    text
}

fn draw(diagnostic: &Diagnostic, color: bool, width: usize, text: &mut String) {
    let theme = if color {
        GraphicalTheme::unicode()
    } else {
        GraphicalTheme::unicode_nocolor()
    };
    let drawn = Drawing::new(diagnostic);
    let handler = GraphicalReportHandler::new_themed(theme)
        .with_width(width)
        .with_context_lines(1);
    if handler.render_report(text, &drawn).is_err() {
        // a source that cannot be drawn can still be named
        let _ = writeln!(text, "{diagnostic}");
    }
}

/// A diagnostic as miette wants it. miette draws one file per diagnostic, so labels in other files become
/// related diagnostics.
#[derive(Debug)]
struct Drawing {
    message: String,
    code: Option<String>,
    help: Option<String>,
    severity: miette::Severity,
    source: NamedSource<String>,
    labels: Vec<LabeledSpan>,
    related: Vec<Drawing>,
}

impl Drawing {
    fn new(diagnostic: &Diagnostic) -> Self {
        let (here, elsewhere): (Vec<&Label>, Vec<&Label>) = diagnostic
            .secondary
            .iter()
            .partition(|label| label.at.path() == diagnostic.primary.at.path());
        let mut labels = vec![primary(&diagnostic.primary)];
        labels.extend(here.into_iter().map(secondary));
        Self {
            message: diagnostic.message.clone(),
            code: Some(diagnostic.code.to_string()),
            help: diagnostic.help.clone(),
            severity: match diagnostic.severity {
                Severity::Error => miette::Severity::Error,
                Severity::Warning => miette::Severity::Warning,
            },
            source: source(&diagnostic.primary),
            labels,
            related: elsewhere.into_iter().map(Self::of_label).collect(),
        }
    }

    fn of_label(label: &Label) -> Self {
        Self {
            message: label.text.clone(),
            code: None,
            help: None,
            severity: miette::Severity::Advice,
            source: source(label),
            labels: vec![LabeledSpan::new_primary_with_span(None, label.at.range())],
            related: Vec::new(),
        }
    }
}

fn source(label: &Label) -> NamedSource<String> {
    NamedSource::new(label.at.path(), label.at.source().text().to_owned())
}

fn primary(label: &Label) -> LabeledSpan {
    let text = Some(label.text.clone()).filter(|text| !text.is_empty());
    LabeledSpan::new_primary_with_span(text, label.at.range())
}

fn secondary(label: &Label) -> LabeledSpan {
    LabeledSpan::new_with_span(Some(label.text.clone()), label.at.range())
}

impl fmt::Display for Drawing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Drawing {}

impl miette::Diagnostic for Drawing {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.code.as_ref().map(|code| Box::new(code) as _)
    }

    fn severity(&self) -> Option<miette::Severity> {
        Some(self.severity)
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.help.as_ref().map(|help| Box::new(help) as _)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(&self.source)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        Some(Box::new(self.labels.iter().cloned()))
    }

    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn miette::Diagnostic> + 'a>> {
        if self.related.is_empty() {
            return None;
        }
        Some(Box::new(
            self.related
                .iter()
                .map(|one| one as &dyn miette::Diagnostic),
        ))
    }
}
