//! KubeVirt's kinds as CustomResourceDefinitions.

mod schema;

use serde_json::{Value, json};

use schema::Fields;

/// The CustomResourceDefinitions of the kinds that trunkline serves.
pub fn crds() -> Vec<Value> {
    let fields = Fields::embedded();
    let kinds = KINDS.iter().map(|kind| kind.definition(&fields));
    kinds
        .chain([crate::controller::data_volume_definition()])
        .collect()
}

const VERSIONS: [(&str, bool); 2] = [("v1", true), ("v1alpha3", false)];
const GROUP: &str = "kubevirt.io";
const DEPRECATION: &str =
    "kubevirt.io/v1alpha3 is now deprecated and will be removed in a future release.";

struct Kind {
    name: &'static str,
    plural: &'static str,
    short: [&'static str; 2],
    label: &'static str,
    columns: &'static [Column],
    /// Without it a change of the status counts in `metadata.generation`, and is written with the object.
    status: bool,
}

struct Column {
    name: &'static str,
    type_: &'static str,
    path: &'static str,
    description: &'static str,
    wide: bool,
}

const fn column(name: &'static str, type_: &'static str, path: &'static str) -> Column {
    Column {
        name,
        type_,
        path,
        description: "",
        wide: false,
    }
}

const fn wide(name: &'static str, path: &'static str) -> Column {
    Column {
        name,
        type_: "string",
        path,
        description: "",
        wide: true,
    }
}

const fn described(name: &'static str, path: &'static str, description: &'static str) -> Column {
    Column {
        name,
        type_: "string",
        path,
        description,
        wide: false,
    }
}

const AGE: Column = column("Age", "date", ".metadata.creationTimestamp");
const READY: Column = column(
    "Ready",
    "string",
    ".status.conditions[?(@.type=='Ready')].status",
);

const KINDS: [Kind; 4] = [
    Kind {
        name: "VirtualMachine",
        plural: "virtualmachines",
        short: ["vm", "vms"],
        label: "kubevirt.io",
        columns: &[
            AGE,
            described("Status", ".status.printableStatus", "Human Readable Status"),
            READY,
        ],
        status: true,
    },
    Kind {
        name: "VirtualMachineInstance",
        plural: "virtualmachineinstances",
        short: ["vmi", "vmis"],
        label: "kubevirt.io",
        columns: &[
            AGE,
            column("Phase", "string", ".status.phase"),
            column("IP", "string", ".status.interfaces[0].ipAddress"),
            column("NodeName", "string", ".status.nodeName"),
            READY,
            wide(
                "Live-Migratable",
                ".status.conditions[?(@.type=='LiveMigratable')].status",
            ),
            wide("Paused", ".status.conditions[?(@.type=='Paused')].status"),
        ],
        status: false,
    },
    Kind {
        name: "VirtualMachineInstanceMigration",
        plural: "virtualmachineinstancemigrations",
        short: ["vmim", "vmims"],
        label: "kubevirt.io",
        columns: &[
            described(
                "Phase",
                ".status.phase",
                "The current phase of VM instance migration",
            ),
            described(
                "VMI",
                ".spec.vmiName",
                "The name of the VMI to perform the migration on",
            ),
        ],
        status: true,
    },
    Kind {
        name: "KubeVirt",
        plural: "kubevirts",
        short: ["kv", "kvs"],
        label: "operator.kubevirt.io",
        columns: &[AGE, column("Phase", "string", ".status.phase")],
        status: true,
    },
];

impl Kind {
    fn definition(&self, fields: &Fields) -> Value {
        let schema = fields.schema(self.name);
        let versions: Vec<Value> = VERSIONS
            .iter()
            .map(|(name, storage)| self.version(name, *storage, &schema))
            .collect();
        json!({
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {
                "name": format!("{}.{GROUP}", self.plural),
                "labels": {self.label: ""},
            },
            "spec": {
                "group": GROUP,
                "scope": "Namespaced",
                "names": {
                    "kind": self.name,
                    "listKind": format!("{}List", self.name),
                    "plural": self.plural,
                    "singular": self.name.to_lowercase(),
                    "shortNames": self.short,
                    "categories": ["all"],
                },
                "versions": versions,
            },
        })
    }

    fn version(&self, name: &str, storage: bool, schema: &Value) -> Value {
        let columns: Vec<Value> = self.columns.iter().map(Column::definition).collect();
        let mut version = json!({
            "name": name,
            "served": true,
            "storage": storage,
            "additionalPrinterColumns": columns,
            "schema": {"openAPIV3Schema": schema},
        });
        if self.status {
            version["subresources"] = json!({"status": {}});
        }
        if !storage {
            version["deprecated"] = json!(true);
            version["deprecationWarning"] = json!(DEPRECATION);
        }
        version
    }
}

impl Column {
    fn definition(&self) -> Value {
        let mut column = json!({"name": self.name, "type": self.type_, "jsonPath": self.path});
        if !self.description.is_empty() {
            column["description"] = json!(self.description);
        }
        if self.wide {
            column["priority"] = json!(1);
        }
        column
    }
}
