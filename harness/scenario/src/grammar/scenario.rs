//! The scenario as a whole.

use super::{Field, LABEL, NAME, Record, STEP, Shape, Status, optional, planned, required};
use crate::model::TimeoutKind;

pub(crate) const SCENARIO: Record = Record {
    name: "scenario",
    what: "a scenario",
    doc: "One scenario: the test, the demo and the documentation of what a network does.",
    verbs: &[],
    fields: &[
        required(
            "apiVersion",
            Shape::Words(&[("trunkline.dev/v1alpha1", "the version of the format")]),
            "The version of the format.",
        ),
        required(
            "kind",
            Shape::Words(&[("Scenario", "a scenario")]),
            "What the document is.",
        ),
        required(
            "metadata",
            Shape::Record(&METADATA),
            "How the scenario is called.",
        ),
        required("spec", Shape::Record(&SPEC), "What it shows."),
    ],
};

pub(crate) const METADATA: Record = Record {
    name: "metadata",
    what: "the metadata of a scenario",
    doc: "How the scenario is called.",
    verbs: &[],
    fields: &[required(
        "name",
        Shape::Pattern(LABEL),
        "The name to select it by; no other scenario may have it.",
    )],
};

pub(crate) const SPEC: Record = Record {
    name: "spec",
    what: "the spec of a scenario",
    doc: "What the scenario shows, on what, step by step.",
    verbs: &[],
    fields: &[
        required(
            "title",
            Shape::Text,
            "One sentence that says what is shown, as it would be announced on stage.",
        ),
        optional(
            "description",
            Shape::Text,
            "A paragraph of background: why somebody would do this.",
        ),
        optional(
            "source",
            Shape::Either(&[Shape::Text, Shape::Record(&ORIGIN)]),
            "The demo, talk or post that the scenario was made from.",
        ),
        optional(
            "tags",
            Shape::OneOrMany(&Shape::Pattern(LABEL)),
            "Words to select scenarios by.",
        ),
        optional(
            "requires",
            Shape::Record(&REQUIRES),
            "What the site must have. Elsewhere the scenario is skipped, and the report says why.",
        ),
        optional(
            "namespaces",
            Shape::List(&Shape::Either(&[
                Shape::Pattern(LABEL),
                Shape::Record(&NAMESPACE),
            ])),
            "Namespaces that are created before the first step and deleted, with everything in them, at the end.",
        ),
        optional(
            "login",
            Shape::OneOrMany(&Shape::Record(&LOGIN)),
            "Who logs in to the consoles of virtual machines; `fedora` with the password `fedora` when not given.",
        ),
        optional(
            "parameters",
            Shape::Table {
                keys: NAME,
                value: &Shape::Either(&[
                    Shape::List(&Shape::Json),
                    Shape::Table {
                        keys: "^[a-zA-Z0-9][a-zA-Z0-9._-]*$",
                        value: &Shape::Json,
                    },
                ]),
            },
            "Values to run the scenario with, each combination as a case of its own: a list of values, \
             or a mapping from the name of each value to the value. Used as `${name}`.",
        ),
        optional(
            "except",
            Shape::List(&Shape::Table {
                keys: NAME,
                value: &Shape::OneOrMany(&Shape::Text),
            }),
            "Combinations of parameters to leave out, as mappings from parameter to the name of its value.",
        ),
        optional(
            "timeouts",
            Shape::Timeouts,
            "How long things may take in this scenario, where the defaults do not fit.",
        ),
        optional(
            "known",
            Shape::Either(&[Shape::Text, Shape::Record(&KNOWN)]),
            "The scenario as a whole is expected to fail, for this reason. It turns red once it passes.",
        ),
        required(
            "steps",
            Shape::List(&Shape::Record(&STEP)),
            "What is done and what must come of it, in order. The first failure ends the scenario.",
        ),
        optional(
            "catch",
            Shape::List(&Shape::Record(&STEP)),
            "Steps that run after a failure, to say more about it. They cannot make the scenario pass.",
        ),
        optional(
            "finally",
            Shape::List(&Shape::Record(&STEP)),
            "Steps that run in any case, at the very end.",
        ),
        planned(
            "outside",
            "Hosts on the physical network, not in the cluster.",
        ),
        planned("personas", "Users that steps act as."),
    ],
};

pub(crate) const ORIGIN: Record = Record {
    name: "origin",
    what: "a source",
    doc: "Where the scenario comes from.",
    verbs: &[],
    fields: &[
        required("name", Shape::Text, "The name of the demo, talk or post."),
        optional("url", Shape::Text, "Where to read it."),
    ],
};

pub(crate) const REQUIRES: Record = Record {
    name: "requires",
    what: "the requirements",
    doc: "What the site must have.",
    verbs: &[],
    fields: &[
        optional(
            "sdn",
            Shape::Words(&[
                ("ovn-kubernetes", "OVN-Kubernetes"),
                ("kube-ovn", "Kube-OVN"),
            ]),
            "The network plugin of the cluster.",
        ),
        optional(
            "workers",
            Shape::Integer { min: 1, max: 100 },
            "At least this many nodes for ordinary pods.",
        ),
        optional("vms", Shape::Boolean, "KubeVirt's virtual machines."),
        optional("nmstate", Shape::Boolean, "kubernetes-nmstate."),
        optional("storage", Shape::Boolean, "A default storage class."),
        optional(
            "networkSegmentation",
            Shape::Boolean,
            "User defined networks as primary networks.",
        ),
        optional(
            "multiNetworkPolicy",
            Shape::Boolean,
            "MultiNetworkPolicy on secondary networks.",
        ),
    ],
};

pub(crate) const NAMESPACE: Record = Record {
    name: "namespace",
    what: "a namespace",
    doc: "A namespace to create.",
    verbs: &[],
    fields: &[
        required("name", Shape::Pattern(LABEL), "The name of the namespace."),
        optional(
            "labels",
            Shape::Table {
                keys: "",
                value: &Shape::Text,
            },
            "Labels that it has from the beginning.",
        ),
    ],
};

pub(crate) const LOGIN: Record = Record {
    name: "login",
    what: "a login",
    doc: "A user of guests.",
    verbs: &[],
    fields: &[
        required("user", Shape::Text, "The name of the user."),
        required(
            "password",
            Shape::Text,
            "The password; empty for a user without one.",
        ),
        optional(
            "vms",
            Shape::OneOrMany(&Shape::Sentence {
                pattern: "^vm/[^/ ]+/[^/ ]+$",
                examples: &["vm/tenantblue/vm-client"],
            }),
            "The virtual machines it is for; all others when not given.",
        ),
    ],
};

pub(crate) const KNOWN: Record = Record {
    name: "known",
    what: "an expected failure",
    doc: "Why this fails today.",
    verbs: &[],
    fields: &[
        required(
            "because",
            Shape::Text,
            "The reason, as one would explain it.",
        ),
        optional("issue", Shape::Text, "Where it is tracked."),
    ],
};

pub(crate) const RETRY: Record = Record {
    name: "retry",
    what: "a retry",
    doc: "The step may be tried again, for a reason.",
    verbs: &[],
    fields: &[
        required(
            "times",
            Shape::Integer { min: 1, max: 100 },
            "Attempts beyond the first.",
        ),
        required(
            "because",
            Shape::Text,
            "Why one attempt is not enough. There is no retry without a reason.",
        ),
    ],
};

/// The keys of `timeouts`, from the one table of defaults.
pub(crate) fn timeout_record() -> &'static Record {
    static RECORD: std::sync::OnceLock<Record> = std::sync::OnceLock::new();
    RECORD.get_or_init(|| {
        let fields: Vec<Field> = TimeoutKind::ALL
            .iter()
            .map(|kind| Field {
                key: kind.key(),
                doc: kind.meaning(),
                shape: Shape::Duration,
                status: Status::Optional,
            })
            .collect();
        Record {
            name: "timeouts",
            what: "the table of timeouts",
            doc: "How long things may take.",
            fields: Vec::leak(fields),
            verbs: &[],
        }
    })
}
