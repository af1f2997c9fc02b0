//! Expectations.

use super::{OBJECT, Record, Shape, Unit, optional};

pub(crate) const TEXT_SHAPE: Shape = Shape::Either(&[Shape::Template, Shape::Record(&TEXT_MATCH)]);

const TOOK: Shape = Shape::Bound(Unit::Duration);

/// The four ways, as keys of an expectation.
macro_rules! with_ways {
    ($($own:expr),+ $(,)?) => {
        &[
            $($own,)+
            optional("blocked", Shape::Record(&UNANSWERED), "It is silently dropped: nothing comes back until the deadline."),
            optional("refused", Shape::Record(&UNANSWERED), "The other side says no: TCP reset or ICMP port unreachable."),
            optional("unreachable", Shape::Record(&UNANSWERED), "There is no way there: no route, ICMP host or network unreachable."),
            optional("unresolved", Shape::Record(&UNANSWERED), "The name has no address."),
        ]
    };
}

pub(crate) const TEXT_MATCH: Record = Record {
    name: "text",
    what: "an expectation of text",
    doc: "What a text must be; all of it must hold.",
    verbs: &[],
    fields: &[
        optional("is", Shape::Template, "Exactly this, byte for byte."),
        optional(
            "contains",
            Shape::OneOrMany(&Shape::Template),
            "It contains this, or all of these.",
        ),
        optional(
            "lacks",
            Shape::OneOrMany(&Shape::Template),
            "It contains none of these.",
        ),
        optional(
            "matches",
            Shape::Text,
            "It matches this regular expression.",
        ),
    ],
};

pub(crate) const UNANSWERED: Record = Record {
    name: "unanswered",
    what: "a way of not getting through",
    doc: "More about why it does not get through.",
    verbs: &[],
    fields: &[optional(
        "by",
        OBJECT,
        "The object that must be responsible, where the site can prove it.",
    )],
};

pub(crate) const REJECTED: Record = Record {
    name: "rejected",
    what: "a rejection",
    doc: "The API must refuse the change.",
    verbs: &[],
    fields: &[
        optional(
            "reason",
            Shape::Text,
            "The reason of the status, as in `Forbidden` or `Invalid`.",
        ),
        optional("message", TEXT_SHAPE, "What the message must be."),
    ],
};

pub(crate) const HTTP: Record = Record {
    name: "expectCurl",
    what: "the expectation of a `curl`",
    doc: "What the HTTP answer must be. Without `status`, any 2xx.",
    verbs: &[],
    fields: with_ways![
        optional(
            "status",
            Shape::Either(&[
                Shape::Integer { min: 100, max: 599 },
                Shape::Sentence {
                    pattern: "^[1-5](xx|[0-9][0-9])$",
                    examples: &["2xx", "404"]
                },
                Shape::List(&Shape::Integer { min: 100, max: 599 }),
            ]),
            "The status, its class, or several.",
        ),
        optional(
            "headers",
            Shape::Table {
                keys: "",
                value: &TEXT_SHAPE
            },
            "Headers that must be there. Names are compared without case.",
        ),
        optional(
            "body",
            TEXT_SHAPE,
            "The body, exactly, or what it contains."
        ),
        optional(
            "json",
            Shape::Json,
            "JSON that is part of the body: keys that are not named do not matter, lists have the same length.",
        ),
        optional(
            "bytes",
            Shape::Bound(Unit::Count),
            "The length of the body in bytes."
        ),
        optional("took", TOOK, "From the request to the last byte."),
    ],
};

pub(crate) const PING: Record = Record {
    name: "expectPing",
    what: "the expectation of a `ping`",
    doc: "What must come back. Without `loss` and `received`, all of it.",
    verbs: &[],
    fields: with_ways![
        optional(
            "loss",
            Shape::Bound(Unit::Percent),
            "How much is lost, in percent."
        ),
        optional("received", Shape::Bound(Unit::Count), "How many come back."),
        optional("rtt", TOOK, "The average round trip."),
        optional(
            "ttl",
            Shape::Bound(Unit::Count),
            "The time to live of the replies: 64 less the routers passed."
        ),
    ],
};

pub(crate) const TCP: Record = Record {
    name: "expectTcp",
    what: "the expectation of a `tcp`",
    doc: "What must come of the connection.",
    verbs: &[],
    fields: with_ways![
        optional("received", TEXT_SHAPE, "What the other side says."),
        optional("took", TOOK, "Until connected."),
    ],
};

pub(crate) const UDP: Record = Record {
    name: "expectUdp",
    what: "the expectation of a `udp`",
    doc: "What must come back. Silence is `blocked`.",
    verbs: &[],
    fields: with_ways![
        optional("received", TEXT_SHAPE, "What the answer holds."),
        optional("took", TOOK, "Until the answer."),
    ],
};

pub(crate) const DNS: Record = Record {
    name: "expectDns",
    what: "the expectation of a `dns`",
    doc: "What the answer must be. Without `records`, at least one.",
    verbs: &[],
    fields: with_ways![
        optional(
            "records",
            Shape::OneOrMany(&TEXT_SHAPE),
            "Each must be among the records, in any order."
        ),
        optional("took", TOOK, "Until answered."),
    ],
};

pub(crate) const EXEC: Record = Record {
    name: "expectExec",
    what: "the expectation of an `exec`",
    doc: "What must come of the program. Without `exit`, 0.",
    verbs: &[],
    fields: &[
        optional("exit", Shape::Bound(Unit::Count), "The exit code."),
        optional("stdout", TEXT_SHAPE, "Standard output."),
        optional("stderr", TEXT_SHAPE, "Standard error."),
        optional("json", Shape::Json, "JSON that is part of standard output."),
        optional("took", TOOK, "How long it runs."),
    ],
};
