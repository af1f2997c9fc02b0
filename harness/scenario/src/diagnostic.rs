//! What is wrong with a file, where, and what to write instead.

use std::fmt;

use serde::Serialize;

use crate::span::Span;

/// How bad it is: an error stops the scenario from running, a warning does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    Warning,
    Error,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

macro_rules! codes {
    ($( $(#[doc = $doc:literal])+ $variant:ident = $text:literal, )+) => {
        /// The stable name of a kind of diagnostic, as printed in brackets.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Code { $( $(#[doc = $doc])+ $variant, )+ }

        impl Code {
            /// Every code, in the order of the documentation.
            pub const ALL: &[Code] = &[$(Code::$variant),+];

            pub fn as_str(self) -> &'static str {
                match self { $(Code::$variant => $text),+ }
            }

            /// What the code means, for the reference.
            pub fn meaning(self) -> &'static str {
                match self { $(Code::$variant => concat!($($doc),+).trim_ascii()),+ }
            }
        }
    };
}

codes! {
    /// the file cannot be read
    Unreadable = "unreadable",
    /// the text is not YAML
    Syntax = "yaml-syntax",
    /// a key occurs twice in one mapping; kubectl would silently take the last
    DuplicateKey = "duplicate-key",
    /// a plain value that YAML 1.1 and YAML 1.2 read differently
    YamlTrap = "yaml-trap",
    /// the document is not a scenario of a version this program knows
    NotAScenario = "not-a-scenario",
    /// a key that the format does not have
    UnknownField = "unknown-field",
    /// a verb or field that the format reserves for a later version
    Planned = "planned",
    /// a key that must be there is missing
    MissingField = "missing-field",
    /// keys that exclude each other, or a verb without its source
    Conflict = "conflicting-fields",
    /// a value of the wrong type
    WrongType = "wrong-type",
    /// a value of the right type that is not allowed here
    BadValue = "bad-value",
    /// a short form that does not follow its grammar
    BadSentence = "bad-sentence",
    /// a CEL expression that does not compile
    BadCel = "bad-cel",
    /// a name used in `${…}` or CEL that nothing defines
    UnknownName = "unknown-name",
    /// a name used before the step that captures it
    UsedTooEarly = "used-too-early",
    /// a capture or parameter that nothing uses
    UnusedName = "unused-name",
    /// one name is given twice
    DuplicateName = "duplicate-name",
    /// two scenarios have the same name
    DuplicateScenario = "duplicate-scenario",
    /// a manifest file that does not exist
    MissingManifest = "missing-manifest",
    /// a manifest that holds something that is not a Kubernetes object
    BadManifest = "bad-manifest",
    /// an object that no step creates
    UnknownObject = "unknown-object",
    /// a namespace that is neither declared nor created
    UnknownNamespace = "unknown-namespace",
    /// a network attachment definition whose config is not right
    BadNetwork = "bad-network",
    /// attachments of one network that disagree
    NetworkMismatch = "network-mismatch",
    /// a virtual machine whose manifest is not right
    BadMachine = "bad-machine",
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Code {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// A place in a file and what is to be seen there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Label {
    pub at: Span,
    pub text: String,
}

/// One finding about a file. Messages are lower-case fragments without a full stop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    pub code: Code,
    pub severity: Severity,
    pub message: String,
    /// What to write instead.
    pub help: Option<String>,
    pub primary: Label,
    pub secondary: Vec<Label>,
}

impl Diagnostic {
    pub fn error(code: Code, at: &Span, message: impl Into<String>) -> Self {
        Self {
            code,
            severity: Severity::Error,
            message: message.into(),
            help: None,
            primary: Label {
                at: at.clone(),
                text: String::new(),
            },
            secondary: Vec::new(),
        }
    }

    pub fn warning(code: Code, at: &Span, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::error(code, at, message)
        }
    }

    /// The words under the place itself.
    #[must_use]
    pub fn label(mut self, text: impl Into<String>) -> Self {
        self.primary.text = text.into();
        self
    }

    /// What to write instead.
    #[must_use]
    pub fn help(mut self, text: impl Into<String>) -> Self {
        self.help = Some(text.into());
        self
    }

    /// Another place that belongs to the story.
    #[must_use]
    pub fn and(mut self, at: &Span, text: impl Into<String>) -> Self {
        self.secondary.push(Label {
            at: at.clone(),
            text: text.into(),
        });
        self
    }

    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

/// One line: `file:line:col: error[code]: message; help: …`.
impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {}[{}]: {}",
            self.primary.at, self.severity, self.code, self.message
        )?;
        if let Some(help) = &self.help {
            write!(f, "; help: {help}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostic {}
