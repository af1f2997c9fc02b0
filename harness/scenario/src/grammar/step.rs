//! Steps, and what stands in them beside the verb.

use super::{
    CURL, DNS_CALL, EXEC_CALL, FILE, KNOWN, MEMBER, NAME, OBJECT, PING_CALL, RETRY, Record, Shape,
    TCP_CALL, UDP_CALL, optional, planned, required,
};

/// `vm/ns/name`.
const MACHINE: Shape = Shape::Sentence {
    pattern: r"^vm/[^/ ]+/[^/ ]+$",
    examples: &["vm/tenantblue/vm-client"],
};

/// `pod/ns/name is Ready for 2s`.
const UNTIL_SENTENCE: Shape = Shape::Sentence {
    pattern: r" (is|are|exists?)( |$)",
    examples: &[
        "pod/tenantblue/blue-server is Ready",
        "pods in tenantblue are Ready",
        "vm/tenantblue/vm-client is Ready",
        "pod/tenantblue/blue-server is Ready for 2s",
        "pod/tenantblue/podclient is gone",
        "net-attach-def/tenantblue/shared-net exists",
    ],
};

pub(crate) const UNTIL_SHAPE: Shape = Shape::Either(&[UNTIL_SENTENCE, Shape::Record(&UNTIL)]);

/// `pod/ns/name network nad ip`.
const CAPTURE_SENTENCE: Shape = Shape::Sentence {
    pattern: r"^[a-z$][^ ]*/[^ ]+( (ip|node|field [^ ]+|(network|interface) [^ ]+( (ip|ips|mac|interface|name|mtu))?))?$",
    examples: &[
        "pod/tenantblue/blue-server network shared-net",
        "pod/tenantblue/blue-server network shared-net ip",
        "pod/tenantblue/blue-server interface net1 mac",
        "vmi/tenantblue/vm-client interface overlay",
        "pod/tenantblue/blue-server ip",
        "pod/tenantblue/blue-server node",
        "deployment/default/dhcp-server field status.readyReplicas",
    ],
};

const STATEMENT_SENTENCE: Shape = Shape::Sentence {
    pattern: r" (is|is not|is in|is not in|is derived from|contains|does not contain) ",
    examples: &[
        "${server.ip} is in 192.168.200.0/24",
        "${server.mac} is derived from ${server.ip}",
        "${server.node} is not ${client.node}",
    ],
};

pub(crate) const STATEMENT_SHAPE: Shape =
    Shape::Either(&[STATEMENT_SENTENCE, Shape::Record(&STATEMENT)]);

pub(crate) const STEP: Record = Record {
    name: "step",
    what: "a step",
    doc: "One thing that is done or tried, and what must come of it.",
    verbs: &[
        "apply", "delete", "start", "stop", "restart", "curl", "ping", "tcp", "udp", "dns", "exec",
        "together", // planned
        "patch", "label", "scale", "migrate", "route", "psql", "matrix", "steps",
    ],
    fields: &[
        required(
            "title",
            Shape::Text,
            "A sentence that says what is shown. Read in order, the titles are the talk.",
        ),
        optional(
            "when",
            Shape::Table {
                keys: NAME,
                value: &Shape::OneOrMany(&Shape::Text),
            },
            "Only in cases whose parameters have these values (by the names of the values).",
        ),
        optional(
            "apply",
            Shape::Either(&[Shape::OneOrMany(&FILE), Shape::Record(&APPLY)]),
            "Manifests to apply on the server side, as field manager `trunkline`. \
             Looked for beside the scenario, then below `manifests/`.",
        ),
        optional(
            "delete",
            Shape::Either(&[
                Shape::OneOrMany(&OBJECT),
                Shape::OneOrMany(&FILE),
                Shape::Record(&DELETE),
            ]),
            "Objects, or all objects of manifests, to delete. The step is over when they are gone.",
        ),
        optional(
            "start",
            Shape::OneOrMany(&MACHINE),
            "Starts virtual machines.",
        ),
        optional(
            "stop",
            Shape::OneOrMany(&MACHINE),
            "Stops virtual machines and waits until their instances are gone.",
        ),
        optional(
            "restart",
            Shape::OneOrMany(&OBJECT),
            "Restarts virtual machines or workloads, and waits until nothing of what ran before is left.",
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
            "A program: its words as one text (quotes group words, nothing else is special) or as a list. \
             There is no shell.",
        ),
        optional(
            "together",
            Shape::List(&Shape::Record(&MEMBER)),
            "Several probes that start at the same time, each with its own expectation.",
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
            "Where the probe starts. Probes of `together` that say nothing start here.",
        ),
        optional(
            "until",
            Shape::OneOrMany(&UNTIL_SHAPE),
            "What must become true before the step is over, all of it. Without a verb the step only waits.",
        ),
        optional(
            "let",
            Shape::Table {
                keys: NAME,
                value: &Shape::Either(&[CAPTURE_SENTENCE, Shape::Record(&CAPTURE)]),
            },
            "Values to read from objects and use in later steps as `${name}`. An attachment without a field \
             gives `${name.ip}`, `.ips`, `.mac`, `.interface` and `.name`.",
        ),
        optional(
            "expect",
            Shape::ByVerb,
            "What must come of it. Beside a probe: its answer, or the way it does not get through. \
             Elsewhere: sentences about captured values.",
        ),
        optional(
            "known",
            Shape::Either(&[Shape::Text, Shape::Record(&KNOWN)]),
            "This step is expected to fail, for this reason. It turns red once it passes.",
        ),
        optional(
            "retry",
            Shape::Record(&RETRY),
            "The step may be tried again, for a reason.",
        ),
        optional(
            "timeout",
            Shape::Duration,
            "How long the step may wait, or each attempt of its probes may take.",
        ),
        planned("as", "The persona that acts."),
        planned(
            "meanwhile",
            "Probes that run without pause while the step runs.",
        ),
        planned("patch", "Changes an object."),
        planned("label", "Labels an object."),
        planned("scale", "Changes the number of replicas."),
        planned("migrate", "Moves a virtual machine to another node."),
        planned("route", "Adds or removes a route inside a guest."),
        planned("psql", "A query to a PostgreSQL server."),
        planned("matrix", "Who reaches whom over what."),
        planned("steps", "Steps as a group."),
    ],
};

pub(crate) const APPLY: Record = Record {
    name: "apply",
    what: "an `apply`",
    doc: "Manifests to apply, and how.",
    verbs: &[],
    fields: &[
        required("files", Shape::OneOrMany(&FILE), "The manifests, in order."),
        optional(
            "namespace",
            Shape::Text,
            "For objects whose manifest names no namespace; `default` otherwise.",
        ),
        planned("place", "Which objects share a node, and which do not."),
        planned("with", "Changes to the objects of the manifests."),
    ],
};

pub(crate) const DELETE: Record = Record {
    name: "delete",
    what: "a `delete`",
    doc: "Objects to delete.",
    verbs: &[],
    fields: &[
        optional("objects", Shape::OneOrMany(&OBJECT), "Objects by name."),
        optional(
            "files",
            Shape::OneOrMany(&FILE),
            "Manifests, all of whose objects are deleted.",
        ),
        optional(
            "namespace",
            Shape::Text,
            "For objects whose manifest names no namespace; `default` otherwise.",
        ),
    ],
};

pub(crate) const UNTIL: Record = Record {
    name: "until",
    what: "an `until`",
    doc: "A condition on objects that is more than a sentence.",
    verbs: &["is", "that"],
    fields: &[
        required(
            "object",
            Shape::Sentence {
                pattern: "",
                examples: &["pod/tenantblue/blue-server", "pods in tenantblue"],
            },
            "The object, or objects.",
        ),
        optional(
            "is",
            Shape::Text,
            "A condition or phase, as in `Ready`, `not Ready`, `gone`.",
        ),
        optional(
            "that",
            Shape::Cel,
            "A CEL expression over `object`, true of every object. `networks` is its parsed network-status; \
             captured names are variables.",
        ),
        optional("for", Shape::Duration, "How long it must stay true."),
        optional("timeout", Shape::Duration, "How long to wait for it."),
    ],
};

pub(crate) const CAPTURE: Record = Record {
    name: "capture",
    what: "a capture",
    doc: "A value computed from an object.",
    verbs: &[],
    fields: &[
        required("object", OBJECT, "The object."),
        required(
            "value",
            Shape::Cel,
            "A CEL expression over `object`; `networks` is its parsed network-status.",
        ),
    ],
};

pub(crate) const STATEMENT: Record = Record {
    name: "statement",
    what: "a statement",
    doc: "Something that must hold of captured values.",
    verbs: &[],
    fields: &[required(
        "that",
        Shape::Cel,
        "A CEL expression; captured names are variables.",
    )],
};
