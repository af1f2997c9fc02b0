//! In which form the client wants the answer.

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
    Metadata,
    /// Aggregated discovery of this version.
    Discovery(&'static str),
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
pub const SUPPORTED: &[&str] = &["application/json", "application/yaml"];
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

fn form(kind: Option<&str>, group: Option<&str>, version: Option<&str>) -> Option<Form> {
    match (kind, group, version) {
        (None, _, _) => Some(Form::Whole),
        (Some("Table"), Some("meta.k8s.io"), Some("v1")) => Some(Form::Table("v1")),
        (Some("Table"), Some("meta.k8s.io"), Some("v1beta1")) => Some(Form::Table("v1beta1")),
        (
            Some("PartialObjectMetadata" | "PartialObjectMetadataList"),
            Some("meta.k8s.io"),
            Some("v1" | "v1beta1"),
        ) => Some(Form::Metadata),
        (Some("APIGroupDiscoveryList"), Some("apidiscovery.k8s.io"), Some("v2")) => {
            Some(Form::Discovery("v2"))
        }
        (Some("APIGroupDiscoveryList"), Some("apidiscovery.k8s.io"), Some("v2beta1")) => {
            Some(Form::Discovery("v2beta1"))
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
        Some(Form::Discovery("v2"))
    )]
    #[case("application/vnd.kubernetes.protobuf", Some(Form::Whole))]
    #[case(
        "application/vnd.kubernetes.protobuf,application/json",
        Some(Form::Whole)
    )]
    #[case(
        "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1",
        Some(Form::Metadata)
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
