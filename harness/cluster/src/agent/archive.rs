//! An image of one file, as `docker load` and containerd read it. Pure: the same program gives the same bytes.

use std::io::{self, Write as _};

use serde_json::json;
use sha2::{Digest as _, Sha256};

/// What the image is called.
pub(super) fn reference(program: &[u8]) -> String {
    let hash = hex::encode(Sha256::digest(program));
    format!("trunkline.dev/agent:{}", &hash[..16])
}

/// An archive with one layer that holds the program at this path.
pub(super) fn docker_archive(program: &[u8], path: &str) -> io::Result<Vec<u8>> {
    let mut layer = tar::Builder::new(Vec::new());
    add(&mut layer, path.trim_start_matches('/'), program, 0o755)?;
    let layer = layer.into_inner()?;
    let config = json!({
        "architecture": architecture(),
        "os": "linux",
        "config": {"Entrypoint": [path]},
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{}", hex::encode(Sha256::digest(&layer)))]},
        "history": [],
    })
    .to_string();
    let config_name = format!("{}.json", hex::encode(Sha256::digest(config.as_bytes())));
    let manifest = json!([{
        "Config": config_name,
        "RepoTags": [reference(program)],
        "Layers": ["layer.tar"],
    }])
    .to_string();
    let mut archive = tar::Builder::new(Vec::new());
    add(&mut archive, &config_name, config.as_bytes(), 0o644)?;
    add(&mut archive, "layer.tar", &layer, 0o644)?;
    add(&mut archive, "manifest.json", manifest.as_bytes(), 0o644)?;
    let mut bytes = archive.into_inner()?;
    bytes.flush()?;
    Ok(bytes)
}

fn add(archive: &mut tar::Builder<Vec<u8>>, path: &str, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(bytes.len() as u64);
    header.set_mode(mode);
    header.set_cksum();
    archive.append_data(&mut header, path, bytes)
}

/// The program was built for the machine this one was built for, in the words of images.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn an_archive_says_what_it_holds() {
        let bytes = docker_archive(b"a program", "/agent").unwrap();
        assert_eq!(bytes, docker_archive(b"a program", "/agent").unwrap());
        let mut files = std::collections::BTreeMap::new();
        for entry in tar::Archive::new(bytes.as_slice()).entries().unwrap() {
            let mut entry = entry.unwrap();
            let path = entry.path().unwrap().display().to_string();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            files.insert(path, content);
        }
        let manifest: serde_json::Value = serde_json::from_slice(&files["manifest.json"]).unwrap();
        assert_eq!(manifest[0]["RepoTags"][0], reference(b"a program"));
        assert_ne!(reference(b"a program"), reference(b"another"));
        let config = &files[manifest[0]["Config"].as_str().unwrap()];
        let config: serde_json::Value = serde_json::from_slice(config).unwrap();
        let layer = &files["layer.tar"];
        let digest = format!("sha256:{}", hex::encode(Sha256::digest(layer)));
        assert_eq!(config["rootfs"]["diff_ids"][0], digest);
        let mut inner = tar::Archive::new(layer.as_slice());
        let entry = inner.entries().unwrap().next().unwrap().unwrap();
        assert_eq!(entry.path().unwrap().display().to_string(), "agent");
        assert_eq!(entry.header().mode().unwrap(), 0o755);
    }
}
