//! The probes.

use super::{KNOWN, RETRY, Record, Shape, optional, planned, required};
use crate::model::RecordType;

pub(crate) const MEMBER: Record = Record {
    name: "probe",
    what: "a probe",
    doc: "One of several probes that start together.",
    verbs: &["curl", "ping", "tcp", "udp", "dns", "exec", "psql"],
    fields: &[
        optional(
            "title",
            Shape::Text,
            "What this one shows, when that is not obvious.",
        ),
        optional(
            "from",
            Shape::Sentence {
                pattern: r"^[a-z$].*/",
                examples: &[
                    "pod/tenantblue/podclient",
                    "pod/tenantblue/podclient container http-server",
                    "vm/tenantblue/vm-client",
                ],
            },
            "Where the probe starts; the step's `from` when not given.",
        ),
        optional(
            "curl",
            Shape::Either(&[Shape::Template, Shape::Record(&CURL)]),
            "An HTTP request: the URL, or more about it.",
        ),
        optional(
            "ping",
            Shape::Either(&[Shape::Template, Shape::Record(&PING_CALL)]),
            "ICMP echo requests: the host, or more about it.",
        ),
        optional(
            "tcp",
            Shape::Either(&[Shape::Template, Shape::Record(&TCP_CALL)]),
            "A TCP connection: `host:port`, or more about it.",
        ),
        optional(
            "udp",
            Shape::Either(&[Shape::Template, Shape::Record(&UDP_CALL)]),
            "A UDP datagram that wants an answer: `host:port`, or more about it.",
        ),
        optional(
            "dns",
            Shape::Either(&[Shape::Template, Shape::Record(&DNS_CALL)]),
            "A question to a name server: the name, or more about it.",
        ),
        optional(
            "exec",
            Shape::Either(&[
                Shape::Template,
                Shape::List(&Shape::Template),
                Shape::Record(&EXEC_CALL),
            ]),
            "A program and its arguments. There is no shell.",
        ),
        optional(
            "expect",
            Shape::ByVerb,
            "What must come of it: its answer, or the way it does not get through.",
        ),
        optional(
            "known",
            Shape::Either(&[Shape::Text, Shape::Record(&KNOWN)]),
            "This probe is expected to fail, for this reason. It turns red once it passes.",
        ),
        optional(
            "retry",
            Shape::Record(&RETRY),
            "The probe may be tried again, for a reason.",
        ),
        optional(
            "timeout",
            Shape::Duration,
            "How long each attempt may take.",
        ),
        planned("psql", "A query to a PostgreSQL server."),
    ],
};

pub(crate) const CURL: Record = Record {
    name: "curl",
    what: "a `curl`",
    doc: "An HTTP request.",
    verbs: &[],
    fields: &[
        required(
            "url",
            Shape::Template,
            "The address to ask; `http://` when it names no scheme.",
        ),
        optional(
            "method",
            Shape::Words(&[
                ("GET", "read"),
                ("HEAD", "read the headers only"),
                ("POST", "create"),
                ("PUT", "replace"),
                ("PATCH", "change"),
                ("DELETE", "remove"),
                ("OPTIONS", "ask what is possible"),
            ]),
            "`GET`, or `POST` with a body, when not given.",
        ),
        optional(
            "headers",
            Shape::Table {
                keys: "",
                value: &Shape::Template,
            },
            "Headers to send.",
        ),
        optional("body", Shape::Template, "Text to send."),
        optional(
            "json",
            Shape::Json,
            "JSON to send, as `content-type: application/json` unless the headers say otherwise.",
        ),
    ],
};

pub(crate) const PING_CALL: Record = Record {
    name: "ping",
    what: "a `ping`",
    doc: "ICMP echo requests.",
    verbs: &[],
    fields: &[
        required("host", Shape::Template, "The address or name to reach."),
        optional(
            "count",
            Shape::Integer {
                min: 1,
                max: 10_000,
            },
            "How many; 3 when not given.",
        ),
        optional(
            "every",
            Shape::Duration,
            "Time between two of them; 200ms when not given.",
        ),
        optional(
            "size",
            Shape::Integer {
                min: 0,
                max: 65_507,
            },
            "Bytes of payload; 56 when not given.",
        ),
    ],
};

pub(crate) const TCP_CALL: Record = Record {
    name: "tcp",
    what: "a `tcp`",
    doc: "A TCP connection.",
    verbs: &[],
    fields: &[
        required("host", Shape::Template, "The address or name to reach."),
        required(
            "port",
            Shape::Either(&[
                Shape::Integer {
                    min: 1,
                    max: 65_535,
                },
                Shape::Template,
            ]),
            "The port.",
        ),
        optional("send", Shape::Template, "Text to send once connected."),
    ],
};

pub(crate) const UDP_CALL: Record = Record {
    name: "udp",
    what: "a `udp`",
    doc: "A UDP datagram that wants an answer. UDP alone knows no silence that means yes.",
    verbs: &[],
    fields: &[
        required("host", Shape::Template, "The address or name to reach."),
        required(
            "port",
            Shape::Either(&[
                Shape::Integer {
                    min: 1,
                    max: 65_535,
                },
                Shape::Template,
            ]),
            "The port.",
        ),
        optional(
            "send",
            Shape::Template,
            "What the datagram holds; nothing when not given.",
        ),
    ],
};

pub(crate) const DNS_CALL: Record = Record {
    name: "dns",
    what: "a `dns`",
    doc: "A question to a name server.",
    verbs: &[],
    fields: &[
        required("name", Shape::Template, "The name to ask for."),
        optional(
            "type",
            Shape::Words(RECORD_TYPES),
            "The type of record; `A` when not given.",
        ),
        optional(
            "server",
            Shape::Template,
            "Whom to ask; the workload's own name server when not given.",
        ),
    ],
};

const RECORD_TYPES: &[(&str, &str)] = &[
    (RecordType::A.as_str(), "IPv4 addresses"),
    (RecordType::Aaaa.as_str(), "IPv6 addresses"),
    (RecordType::Cname.as_str(), "the canonical name"),
    (RecordType::Mx.as_str(), "mail servers"),
    (RecordType::Ptr.as_str(), "the name of an address"),
    (RecordType::Srv.as_str(), "servers of a service"),
    (RecordType::Txt.as_str(), "text"),
];

pub(crate) const EXEC_CALL: Record = Record {
    name: "exec",
    what: "an `exec`",
    doc: "A program run inside the workload.",
    verbs: &[],
    fields: &[
        required(
            "command",
            Shape::Either(&[Shape::Template, Shape::List(&Shape::Template)]),
            "The program and its arguments, as one text or as a list.",
        ),
        optional("stdin", Shape::Template, "What it reads."),
    ],
};
