//! In which form the client wants the answer.

use super::path::Target;
use crate::status::{Reason, Status};

/// The chosen form and whether to write it as YAML.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Accept {
    pub form: Form,
    pub yaml: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Form {
    /// The object or list itself.
    #[default]
    Whole,
    /// `meta.k8s.io` Table of this version.
    Table(&'static str),
    /// `PartialObjectMetadata(List)`
    Metadata(Partial),
    /// Aggregated discovery.
    Discovery,
}

/// Which form of `PartialObjectMetadata`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Partial {
    pub list: bool,
    pub version: &'static str,
}

/// How much of the object a table row carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Include {
    None,
    #[default]
    Metadata,
    Object,
}

/// What the server can write.
pub const SUPPORTED: &[&str] = &["application/json", "application/yaml", PROTOBUF];
/// What a watch can also be written as.
pub const STREAMED: &[&str] = &[
    "application/json;stream=watch",
    "application/vnd.kubernetes.protobuf;stream=watch",
];
const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";

impl Accept {
    /// Takes the first clause the server can serve; None when there is none. Protobuf is answered with JSON, which
    /// its clients read too.
    pub fn parse(header: Option<&str>) -> Option<Self> {
        let Some(header) = header.filter(|h| !h.trim().is_empty()) else {
            return Some(Self::default());
        };
        let mut fallback = None;
        for clause in header.split(',') {
            let mut parts = clause.split(';').map(str::trim);
            let media = parts.next().unwrap_or_default();
            if media == PROTOBUF {
                fallback = Some(Self::default());
                continue;
            }
            let yaml = media == "application/yaml";
            if !yaml
                && !matches!(
                    media,
                    "application/json" | "application/*" | "*/*" | "text/*"
                )
            {
                continue;
            }
            let parameters: Vec<(&str, &str)> = parts
                .filter_map(|parameter| parameter.split_once('='))
                .collect();
            let parameter = |key: &str| {
                parameters
                    .iter()
                    .find(|(k, _)| *k == key)
                    .map(|(_, value)| *value)
            };
            if let Some(form) = form(parameter("as"), parameter("g"), parameter("v")) {
                return Some(Self { form, yaml });
            }
        }
        fallback
    }
}

/// Why nothing of what a client accepts can be had. A type that the path does not know at all is refused by
/// upstream's router, another form of a known one by what is behind it.
pub fn refusal(header: Option<&str>, path: &str) -> Status {
    let known = header.unwrap_or_default().split(',').any(|clause| {
        let media = clause.split(';').next().unwrap_or_default().trim();
        SUPPORTED.contains(&media)
    });
    if known {
        return Status::not_acceptable(SUPPORTED);
    }
    let streams = matches!(Target::parse(path), Target::Resource(path) if path.name.is_none());
    let streamed: &[&str] = if streams { STREAMED } else { &[] };
    let all: Vec<&str> = SUPPORTED.iter().chain(streamed).copied().collect();
    let message = format!(
        "406: Not Acceptable\n\nAvailable representations: {}",
        all.join(", ")
    );
    Status::new(406, Reason::NotAcceptable, message).about("", "", "")
}

fn form(kind: Option<&str>, group: Option<&str>, version: Option<&str>) -> Option<Form> {
    match (kind, group, version) {
        (None, _, _) => Some(Form::Whole),
        (Some("Table"), Some("meta.k8s.io"), Some("v1")) => Some(Form::Table("v1")),
        (Some("Table"), Some("meta.k8s.io"), Some("v1beta1")) => Some(Form::Table("v1beta1")),
        (
            Some(kind @ ("PartialObjectMetadata" | "PartialObjectMetadataList")),
            Some("meta.k8s.io"),
            Some(version @ ("v1" | "v1beta1")),
        ) => Some(Form::Metadata(Partial {
            list: kind == "PartialObjectMetadataList",
            version: if version == "v1" { "v1" } else { "v1beta1" },
        })),
        (Some("APIGroupDiscoveryList"), Some("apidiscovery.k8s.io"), Some("v2")) => {
            Some(Form::Discovery)
        }
        _ => None,
    }
}

impl Include {
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "" | "Metadata" => Some(Self::Metadata),
            "None" => Some(Self::None),
            "Object" => Some(Self::Object),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("", Some(Form::Whole))]
    #[case("*/*", Some(Form::Whole))]
    #[case(
        "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json",
        Some(Form::Table("v1"))
    )]
    #[case(
        "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json",
        Some(Form::Discovery)
    )]
    #[case("application/vnd.kubernetes.protobuf", Some(Form::Whole))]
    #[case(
        "application/vnd.kubernetes.protobuf,application/json",
        Some(Form::Whole)
    )]
    #[case(
        "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1",
        Some(Form::Metadata(Partial {
            list: true,
            version: "v1"
        }))
    )]
    #[case(
        "application/json;as=Unknown;g=x;v=v1,application/json",
        Some(Form::Whole)
    )]
    #[case("image/png", None)]
    fn forms(#[case] header: &str, #[case] expected: Option<Form>) {
        assert_eq!(Accept::parse(Some(header)).map(|a| a.form), expected);
    }
}
