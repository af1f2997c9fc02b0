//! What a machine is told through cloud-init: the files of the NoCloud and ConfigDrive data sources.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Serialize;
use trunkline_kubevirt::types::{CloudInitSource, VirtualMachineInstance};

use super::iso::Content;

/// The label that cloud-init looks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataSource {
    NoCloud,
    ConfigDrive,
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum CloudInitError {
    #[error("{field} of the volume {volume} is not base64: {reason}")]
    Base64 {
        volume: String,
        field: &'static str,
        reason: String,
    },
    #[error("UserData or NetworkData is required for cloud-init data source")]
    Empty,
}

/// User data and network data, wherever they were written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Data {
    pub user: Vec<u8>,
    pub network: Vec<u8>,
}

#[derive(Serialize)]
struct NoCloud<'a> {
    #[serde(rename = "instance-type", skip_serializing_if = "Option::is_none")]
    instance_type: Option<&'a str>,
    #[serde(rename = "instance-id")]
    instance_id: &'a str,
    #[serde(rename = "local-hostname")]
    local_hostname: &'a str,
}

#[derive(Serialize)]
struct ConfigDrive<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    instance_type: Option<&'a str>,
    instance_id: String,
    hostname: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    uuid: &'a str,
}

impl DataSource {
    pub const fn label(self) -> &'static str {
        match self {
            Self::NoCloud => "cidata",
            Self::ConfigDrive => "config-2",
        }
    }

    /// The files of the disk.
    pub fn content(
        self,
        vmi: &VirtualMachineInstance,
        data: Data,
    ) -> Result<Content, CloudInitError> {
        if data.user.is_empty() && data.network.is_empty() {
            return Err(CloudInitError::Empty);
        }
        let [meta, user, network] = match self {
            Self::NoCloud => ["meta-data", "user-data", "network-config"],
            Self::ConfigDrive => ["meta_data.json", "user_data", "network_data.json"],
        };
        let folder = match self {
            Self::NoCloud => "",
            Self::ConfigDrive => "openstack/latest/",
        };
        let mut content = vec![
            (format!("{folder}{meta}"), self.metadata(vmi)),
            (format!("{folder}{user}"), data.user),
        ];
        if !data.network.is_empty() {
            content.push((format!("{folder}{network}"), data.network));
        }
        Ok(content)
    }

    fn metadata(self, vmi: &VirtualMachineInstance) -> Vec<u8> {
        let annotations = vmi.metadata.annotations.as_ref();
        let instance_type = [
            "kubevirt.io/cluster-instancetype-name",
            "kubevirt.io/instancetype-name",
        ]
        .iter()
        .find_map(|name| annotations?.get(*name))
        .map(String::as_str);
        let uuid = vmi
            .spec
            .domain
            .firmware
            .as_ref()
            .and_then(|firmware| firmware.uuid.as_deref())
            .unwrap_or_default();
        let hostname = hostname(vmi);
        let name = vmi.metadata.name.as_deref().unwrap_or_default();
        let namespace = vmi.metadata.namespace.as_deref().unwrap_or_default();
        let json = match self {
            Self::NoCloud => serde_json::to_vec(&NoCloud {
                instance_type,
                instance_id: if uuid.is_empty() {
                    vmi.metadata.uid.as_deref().unwrap_or_default()
                } else {
                    uuid
                },
                local_hostname: &hostname,
            }),
            Self::ConfigDrive => serde_json::to_vec(&ConfigDrive {
                instance_type,
                instance_id: format!("{name}.{namespace}"),
                hostname: &hostname,
                uuid,
            }),
        };
        // Strings only: there is always a JSON form.
        json.unwrap_or_default()
    }
}

/// What is written in the volume itself; what it refers to is given.
pub fn data(
    volume: &str,
    source: &CloudInitSource,
    user_secret: Option<Vec<u8>>,
    network_secret: Option<Vec<u8>>,
) -> Result<Data, CloudInitError> {
    let read =
        |field, plain: &Option<String>, encoded: &Option<String>, secret: Option<Vec<u8>>| {
            if let Some(secret) = secret {
                return Ok(secret);
            }
            match (plain.as_deref(), encoded.as_deref()) {
                (Some(plain), _) if !plain.is_empty() => Ok(plain.as_bytes().to_vec()),
                (_, Some(encoded)) => {
                    BASE64_STANDARD
                        .decode(encoded)
                        .map_err(|error| CloudInitError::Base64 {
                            volume: volume.to_owned(),
                            field,
                            reason: error.to_string(),
                        })
                }
                _ => Ok(Vec::new()),
            }
        };
    Ok(Data {
        user: read(
            "userDataBase64",
            &source.user_data,
            &source.user_data_base64,
            user_secret,
        )?,
        network: read(
            "networkDataBase64",
            &source.network_data,
            &source.network_data_base64,
            network_secret,
        )?,
    })
}

/// The machine's name for itself: the first label, as long as a label may be.
pub fn hostname(vmi: &VirtualMachineInstance) -> String {
    const LONGEST: usize = 63;
    let name = vmi.metadata.name.as_deref().unwrap_or_default();
    let wanted = vmi.spec.hostname.as_deref().filter(|name| !name.is_empty());
    let first = wanted.unwrap_or(name).split('.').next().unwrap_or_default();
    let end = first.len().min(LONGEST);
    first
        .get(..end)
        .unwrap_or(first)
        .trim_end_matches('-')
        .to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use trunkline_kubevirt::types::{CloudInitSource, VirtualMachineInstance};

    use super::{CloudInitError, Data, DataSource, data, hostname};

    fn vmi(name: &str) -> VirtualMachineInstance {
        serde_json::from_value(json!({
            "metadata": {"name": name, "namespace": "ns", "uid": "u-1"},
            "spec": {"domain": {"firmware": {"uuid": "f-1"}, "devices": {}}},
        }))
        .unwrap()
    }

    fn text(content: &super::Content) -> Vec<(&str, &str)> {
        content
            .iter()
            .map(|(name, bytes)| (name.as_str(), std::str::from_utf8(bytes).unwrap()))
            .collect()
    }

    #[test]
    fn no_cloud_has_its_files() {
        let data = Data {
            user: b"#cloud-config\n".to_vec(),
            network: b"version: 2\n".to_vec(),
        };
        let content = DataSource::NoCloud.content(&vmi("server.a"), data).unwrap();
        assert_eq!(
            text(&content),
            [
                (
                    "meta-data",
                    r#"{"instance-id":"f-1","local-hostname":"server"}"#
                ),
                ("user-data", "#cloud-config\n"),
                ("network-config", "version: 2\n"),
            ]
        );
    }

    #[test]
    fn a_config_drive_has_openstacks_files() {
        let data = Data {
            user: b"#!/bin/sh\n".to_vec(),
            network: Vec::new(),
        };
        let content = DataSource::ConfigDrive
            .content(&vmi("server"), data)
            .unwrap();
        assert_eq!(
            text(&content),
            [
                (
                    "openstack/latest/meta_data.json",
                    r#"{"instance_id":"server.ns","hostname":"server","uuid":"f-1"}"#
                ),
                ("openstack/latest/user_data", "#!/bin/sh\n"),
            ]
        );
    }

    #[test]
    fn data_comes_from_wherever_it_is_written() {
        let source = CloudInitSource {
            user_data_base64: Some("aGVsbG8=".to_owned()),
            network_data: Some("plain".to_owned()),
            ..CloudInitSource::default()
        };
        let read = data("v", &source, None, None).unwrap();
        assert_eq!(
            (read.user, read.network),
            (b"hello".to_vec(), b"plain".to_vec())
        );
        let read = data("v", &source, Some(b"secret".to_vec()), None).unwrap();
        assert_eq!(read.user, b"secret");
    }

    #[test]
    fn data_that_is_none_is_refused() {
        let source = CloudInitSource {
            user_data_base64: Some("%%".to_owned()),
            ..CloudInitSource::default()
        };
        let error = data("v", &source, None, None).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("userDataBase64 of the volume v is not base64")
        );
        let empty = DataSource::NoCloud.content(&vmi("a"), Data::default());
        assert_eq!(empty, Err(CloudInitError::Empty));
    }

    #[test]
    fn host_names_are_labels() {
        assert_eq!(hostname(&vmi(&"a".repeat(80))).len(), 63);
        let mut named = vmi("a");
        named.spec.hostname = Some("other".to_owned());
        assert_eq!(hostname(&named), "other");
    }
}
