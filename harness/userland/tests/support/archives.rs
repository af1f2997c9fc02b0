//! Archives as the tools of others write them.

use std::io::Write;

use serde_json::{Value, json};

use super::digest;

pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";

pub fn here() -> &'static str {
    match std::env::consts::ARCH {
        "aarch64" => "arm64",
        _ => "amd64",
    }
}

/// A tar archive of files.
#[derive(Default)]
pub struct Tar(Vec<(String, Vec<u8>)>);

impl Tar {
    pub fn add(&mut self, name: impl Into<String>, content: impl Into<Vec<u8>>) {
        self.0.push((name.into(), content.into()));
    }

    /// Changes what a file holds; its name stays.
    pub fn damage(&mut self, name: &str) {
        let file = self.0.iter_mut().find(|(own, _)| own == name).unwrap();
        let last = file.1.last_mut().unwrap();
        *last ^= 1;
    }

    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(own, _)| own == name)
    }

    pub fn remove(&mut self, name: &str) {
        self.0.retain(|(own, _)| own != name);
    }

    pub fn blob(&mut self, content: impl Into<Vec<u8>>) -> String {
        let content = content.into();
        let digest = digest(&content);
        self.add(format!("blobs/{}", digest.replace(':', "/")), content);
        digest
    }

    pub fn done(&self) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        for (name, content) in &self.0 {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            tar.append_data(&mut header, name, content.as_slice())
                .unwrap();
        }
        tar.into_inner().unwrap()
    }
}

/// What containers of the archives' images start from.
pub fn runtime() -> Value {
    json!({"Entrypoint": ["/app"], "Env": ["A=b"]})
}

pub fn configuration(layers: &[Vec<u8>], runtime: &Value, arch: &str) -> Vec<u8> {
    let diff_ids: Vec<String> = layers.iter().map(|layer| digest(layer)).collect();
    json!({
        "os": "linux", "architecture": arch, "config": runtime,
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    })
    .to_string()
    .into_bytes()
}

/// As docker 20.10 saves an image: a directory a layer, the configuration named by its digest.
pub fn docker(name: &str, layers: &[Vec<u8>], runtime: &Value) -> Tar {
    let mut tar = Tar::default();
    let config = configuration(layers, runtime, here());
    let config_name = format!("{}.json", digest(&config).trim_start_matches("sha256:"));
    let mut names = Vec::new();
    for (index, layer) in layers.iter().enumerate() {
        let name = format!("layer{index}/layer.tar");
        tar.add(name.clone(), layer.clone());
        names.push(name);
    }
    let manifest = json!([{"Config": config_name, "RepoTags": [name], "Layers": names}]);
    tar.add(config_name, config);
    tar.add("manifest.json", manifest.to_string());
    tar
}

/// The manifest of one image, with its blobs added to the archive; what an index says of it.
pub fn oci_image(tar: &mut Tar, layers: &[Vec<u8>], arch: &str) -> Value {
    let config = configuration(layers, &runtime(), arch);
    let (config_size, config) = (config.len(), tar.blob(config));
    let layers: Vec<Value> = layers
        .iter()
        .map(|layer| {
            let layer = super::gzip(layer);
            json!({"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
                   "size": layer.len(), "digest": tar.blob(layer)})
        })
        .collect();
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MANIFEST, "layers": layers,
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "size": config_size, "digest": config},
    })
    .to_string();
    json!({"mediaType": MANIFEST, "size": manifest.len(), "digest": tar.blob(manifest),
           "platform": {"os": "linux", "architecture": arch}})
}

pub fn oci_index(tar: &mut Tar, entries: &[Value]) {
    tar.add("oci-layout", r#"{"imageLayoutVersion": "1.0.0"}"#);
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries});
    tar.add("index.json", index.to_string());
}

/// An image of one platform under one name.
pub fn oci(annotation: &str, name: &str, layers: &[Vec<u8>]) -> Tar {
    let mut tar = Tar::default();
    let mut entry = oci_image(&mut tar, layers, here());
    entry["annotations"] = json!({annotation: name});
    oci_index(&mut tar, &[entry]);
    tar
}

pub fn zstd(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}
