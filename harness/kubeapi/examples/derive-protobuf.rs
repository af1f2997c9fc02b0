//! Writes `data/protobuf-1.34.txt.zst`: the field numbers of Kubernetes' types, from the struct tags of its Go sources.
//!
//! `cargo run -p kubeapi --example derive-protobuf -- MODULES OUT` where MODULES holds `api@v…` and `apimachinery@v…` as the
//! Go module cache does (`go mod download k8s.io/api@v0.34.4 k8s.io/apimachinery@v0.34.4`).

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;
use std::path::{Path, PathBuf};

use regex::Regex;

const GROUPS: [&str; 20] = [
    "admissionregistration/v1",
    "apps/v1",
    "authentication/v1",
    "authorization/v1",
    "autoscaling/v1",
    "autoscaling/v2",
    "batch/v1",
    "certificates/v1",
    "coordination/v1",
    "core/v1",
    "discovery/v1",
    "events/v1",
    "flowcontrol/v1",
    "networking/v1",
    "node/v1",
    "policy/v1",
    "rbac/v1",
    "resource/v1",
    "scheduling/v1",
    "storage/v1",
];

type Fail = Box<dyn std::error::Error>;

fn main() -> Result<(), Fail> {
    let mut arguments = std::env::args().skip(1).map(PathBuf::from);
    let (Some(modules), Some(out)) = (arguments.next(), arguments.next()) else {
        return Err("usage: derive-protobuf MODULES OUT".into());
    };
    let api = newest(&modules, "api@")?;
    let machinery = newest(&modules, "apimachinery@")?;
    let mut text = String::new();
    for group in GROUPS {
        let source = std::fs::read_to_string(api.join(group).join("types.go"))?;
        package(&group.replace('/', "."), &source, &mut text)?;
    }
    let meta = std::fs::read_to_string(machinery.join("pkg/apis/meta/v1/types.go"))?;
    package("meta.v1", &meta, &mut text)?;
    std::fs::write(out, zstd::encode_all(text.as_bytes(), 19)?)?;
    Ok(())
}

fn newest(modules: &Path, prefix: &str) -> Result<PathBuf, Fail> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(modules)?
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .filter(|path| {
            path.file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with(prefix))
        })
        .collect();
    found.sort();
    found
        .pop()
        .ok_or_else(|| format!("{} has no {prefix}", modules.display()).into())
}

/// Every struct of a package: a line `>package.Name`, then a line per field: number, flags, JSON name, type.
fn package(package: &str, source: &str, out: &mut String) -> Result<(), Fail> {
    let alias = Regex::new(r"(?m)^type (\w+) ((?:\[\]|map\[\w+\])?[\w.]+)$")?;
    let aliases: HashMap<&str, &str> = alias
        .captures_iter(source)
        .map(|c| c.extract())
        .map(|(_, [name, of])| (name, of))
        .collect();
    let structs = Regex::new(r"(?ms)^type (\w+) struct \{\n(.*?)^\}")?;
    let field = Regex::new(
        r#"(?m)^\s+(?:\w+ +)?(\S+) +`json:"([^"]*)".*?protobuf:"\w+,(\d+),[^"]*name=(\w+)"#,
    )?;
    let mut messages: BTreeMap<&str, String> = BTreeMap::new();
    for (_, [name, body]) in structs.captures_iter(source).map(|c| c.extract()) {
        let mut lines = String::new();
        for (_, [go, json, number, proto]) in field.captures_iter(body).map(|c| c.extract()) {
            let (flags, kind) = describe(package, go, json, &aliases);
            let json_name = json.split(',').next().unwrap_or_default();
            let json_name = if json_name.is_empty() {
                proto
            } else {
                json_name
            };
            writeln!(lines, "{number} {flags} {json_name} {kind}")?;
        }
        messages.insert(name, lines);
    }
    for (name, lines) in messages.into_iter().filter(|(_, lines)| !lines.is_empty()) {
        write!(out, ">{package}.{name}\n{lines}")?;
    }
    Ok(())
}

/// Flags: `*` list, `%` map, `^` inlined into its parent, `z` keeps its zero value, `-` none.
fn describe(
    package: &str,
    go: &str,
    json: &str,
    aliases: &HashMap<&str, &str>,
) -> (String, String) {
    let mut flags = String::new();
    let mut kind = go.trim();
    if let Some(of) = aliases.get(kind)
        && (of.starts_with("[]") || of.starts_with("map["))
        && kind != "ExtraValue"
    {
        kind = of;
    }
    if let Some(of) = kind.strip_prefix('*') {
        flags.push('z');
        kind = of;
    } else if !json.contains("omitempty") {
        flags.push('z');
    }
    if kind.ends_with(".ResourceList") {
        kind = "map[string]resource.Quantity";
    }
    if json.contains(",inline") {
        "^".clone_into(&mut flags);
    }
    if kind == "[]byte" {
        return (or_dash(flags), "bytes".to_owned());
    }
    if let Some(of) = kind.strip_prefix("[]") {
        flags.push('*');
        kind = of;
    } else if let Some(of) = kind.strip_prefix("map[") {
        flags.push('%');
        kind = of.split_once(']').map_or(of, |(_, value)| value);
    }
    if kind == "[]byte" {
        return (flags, "bytes".to_owned());
    }
    (or_dash(flags), resolve(package, kind, aliases))
}

fn or_dash(flags: String) -> String {
    if flags.is_empty() {
        "-".to_owned()
    } else {
        flags
    }
}

fn resolve(package: &str, kind: &str, aliases: &HashMap<&str, &str>) -> String {
    match kind {
        "string" | "types.UID" | "types.NodeName" | "v1.ResourceName" | "metav1.StatusReason" => {
            "string".to_owned()
        }
        "bool" | "int32" | "int64" | "uint32" | "float64" => kind.to_owned(),
        "byte" => "bytes".to_owned(),
        "resource.Quantity" => "Quantity".to_owned(),
        "intstr.IntOrString" => "IntOrString".to_owned(),
        "runtime.RawExtension" => "RawExtension".to_owned(),
        "Time" | "metav1.Time" => "Time".to_owned(),
        "MicroTime" | "metav1.MicroTime" => "MicroTime".to_owned(),
        "ExtraValue" => "ExtraValue".to_owned(),
        "FieldsV1" | "metav1.FieldsV1" => "FieldsV1".to_owned(),
        other => match (aliases.get(other), other.split_once('.')) {
            (Some(of), _) => resolve(package, of, aliases),
            (None, Some(("metav1", name))) => format!("meta.v1.{name}"),
            (None, Some((_, name))) => imported(name),
            (None, None) => format!("{package}.{other}"),
        },
    }
}

/// Other packages use types of core; the ones that are texts there end like this.
fn imported(name: &str) -> String {
    const TEXTS: [&str; 13] = [
        "Protocol",
        "ConditionStatus",
        "ResourceName",
        "PodConditionType",
        "PreemptionPolicy",
        "PersistentVolumeReclaimPolicy",
        "NodeInclusionPolicy",
        "AppProtocol",
        "PersistentVolumeAccessMode",
        "URIScheme",
        "IPFamily",
        "UID",
        "NodeName",
    ];
    if TEXTS.contains(&name) {
        "string".to_owned()
    } else {
        format!("core.v1.{name}")
    }
}
