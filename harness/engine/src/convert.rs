//! From the scenario's words to the stream's.

use trunkline_scenario::{Diagnostic, Span, model};

use crate::events::{Failure, FailureKind, Location, ObjectRef};

pub(crate) fn location(span: &Span) -> Location {
    Location {
        file: span.path().to_string(),
        line: usize::try_from(span.line()).unwrap_or(usize::MAX),
        column: usize::try_from(span.column()).ok(),
    }
}

/// A manifest is pointed at by line: its objects begin in the first column.
pub(crate) fn line(span: &Span) -> Location {
    Location {
        column: None,
        ..location(span)
    }
}

pub(crate) fn object(reference: &model::ObjectRef) -> ObjectRef {
    ObjectRef {
        kind: reference.canonical_kind().to_owned(),
        namespace: reference.namespace.clone(),
        name: reference.name.clone(),
    }
}

/// Something the file says that turns out to make no sense once the captures are known.
pub(crate) fn diagnostic(diagnostic: &Diagnostic) -> Failure {
    let failure = Failure::new(FailureKind::Capture, diagnostic.message.clone())
        .at(Some(location(&diagnostic.primary.at)))
        .expected("a value that fits here")
        .got(diagnostic.message.clone());
    match &diagnostic.help {
        Some(help) => failure.look_at(help.clone()),
        None => failure,
    }
}
