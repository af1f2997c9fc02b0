//! The format as data: every mapping with its keys, what each is for and what it may hold.
//!
//! The reader refuses keys that are not here and the JSON Schema is made from here, so the two cannot differ.

mod expect;
mod probe;
mod scenario;
mod step;

pub(crate) use expect::{DNS, EXEC, HTTP, PING, REJECTED, TCP, TEXT_MATCH, UDP, UNANSWERED};
pub(crate) use probe::{CURL, DNS_CALL, EXEC_CALL, MEMBER, PING_CALL, TCP_CALL, UDP_CALL};
pub(crate) use scenario::{
    KNOWN, LOGIN, METADATA, NAMESPACE, ORIGIN, REQUIRES, RETRY, SCENARIO, SPEC, timeout_record,
};
pub(crate) use step::{APPLY, CAPTURE, DELETE, STATEMENT, STATEMENT_SHAPE, STEP, UNTIL};

/// A mapping with known keys.
#[derive(Debug)]
pub(crate) struct Record {
    /// Its name in the schema's definitions.
    pub(crate) name: &'static str,
    /// A noun phrase for messages: "a step", "the expectation of a `curl`".
    pub(crate) what: &'static str,
    pub(crate) doc: &'static str,
    pub(crate) fields: &'static [Field],
    /// Keys of which at most one may be there: the verbs.
    pub(crate) verbs: &'static [&'static str],
}

/// A key of a mapping.
#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) key: &'static str,
    pub(crate) doc: &'static str,
    pub(crate) shape: Shape,
    pub(crate) status: Status,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    Required,
    Optional,
    /// The name is reserved; the parser says so and the schema does not offer it.
    Planned,
}

/// What a value may look like.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Shape {
    /// Text without holes.
    Text,
    /// Text with holes.
    Template,
    /// An object name, an identifier: text that follows a pattern.
    Pattern(&'static str),
    /// A short form: its grammar as a pattern for editors, and examples.
    Sentence {
        pattern: &'static str,
        examples: &'static [&'static str],
    },
    Boolean,
    Integer {
        min: u64,
        max: u64,
    },
    Duration,
    Cel,
    /// A limit: `3`, `at least 3`, `under 50ms`.
    Bound(Unit),
    /// One of these words.
    Words(&'static [(&'static str, &'static str)]),
    Record(&'static Record),
    List(&'static Shape),
    OneOrMany(&'static Shape),
    Either(&'static [Shape]),
    /// A mapping whose keys are the author's.
    Table {
        keys: &'static str,
        value: &'static Shape,
    },
    Json,
    /// The table of timeouts, whose keys come from [`crate::model::TimeoutKind`].
    Timeouts,
    /// What is expected depends on the verb beside it.
    ByVerb,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    Count,
    Percent,
    Duration,
}

impl Record {
    pub(crate) fn field(&self, key: &str) -> Option<&'static Field> {
        self.fields.iter().find(|field| field.key == key)
    }

    /// Keys that can be written today.
    pub(crate) fn offered(&self) -> impl Iterator<Item = &'static Field> + use<> {
        self.fields
            .iter()
            .filter(|field| field.status != Status::Planned)
    }
}

pub(crate) const fn required(key: &'static str, shape: Shape, doc: &'static str) -> Field {
    Field {
        key,
        doc,
        shape,
        status: Status::Required,
    }
}

pub(crate) const fn optional(key: &'static str, shape: Shape, doc: &'static str) -> Field {
    Field {
        key,
        doc,
        shape,
        status: Status::Optional,
    }
}

pub(crate) const fn planned(key: &'static str, doc: &'static str) -> Field {
    Field {
        key,
        doc,
        shape: Shape::Json,
        status: Status::Planned,
    }
}

/// `kind/namespace/name` or `kind/name`.
pub(crate) const OBJECT: Shape = Shape::Sentence {
    pattern: r"^[a-z][a-z0-9.-]*(/[^/ ]+)?/[^/ ]+$",
    examples: &["pod/tenantblue/blue-server", "namespace/tenantblue"],
};

/// A manifest beside the scenario or below `manifests/`.
pub(crate) const FILE: Shape = Shape::Sentence {
    pattern: r"\.(ya?ml|json)$",
    examples: &["overlay/01-netconfig.yaml"],
};

/// Names of captures and parameters.
pub(crate) const NAME: &str = "^[a-zA-Z][a-zA-Z0-9_]*$";

/// DNS labels: names of scenarios, tags, namespaces.
pub(crate) const LABEL: &str = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$";
