//! Read-only disks made of files, as KubeVirt makes them.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::Path;
use std::process::Stdio;

use tokio::process::Command;

/// Comes with the package xorriso.
const PROGRAM: &str = "xorrisofs";

#[derive(Debug, thiserror::Error)]
pub enum IsoError {
    #[error("cannot write {path}: {source}")]
    File { path: String, source: io::Error },
    #[error("cannot start {PROGRAM}: {0}; it comes with the package xorriso")]
    Start(io::Error),
    #[error("{PROGRAM} failed ({status}): {output}")]
    Failed { status: String, output: String },
}

/// A file by its path within the disk.
pub type Content = Vec<(String, Vec<u8>)>;

/// Makes an ISO 9660 image with Joliet and Rock Ridge names. `staging` is emptied and used on the way.
pub async fn build(
    content: &Content,
    label: &str,
    staging: &Path,
    image: &Path,
) -> Result<(), IsoError> {
    let failed = |path: &Path| {
        let path = path.display().to_string();
        |source| IsoError::File { path, source }
    };
    if staging.exists() {
        fs::remove_dir_all(staging).map_err(failed(staging))?;
    }
    for (name, bytes) in content {
        let path = staging.join(name);
        let parent = path.parent().unwrap_or(staging);
        fs::create_dir_all(parent).map_err(failed(parent))?;
        fs::write(&path, bytes).map_err(failed(&path))?;
    }
    let made = run(label, staging, image).await;
    // It may hold passwords; the image is what is left.
    fs::remove_dir_all(staging).map_err(failed(staging))?;
    made
}

async fn run(label: &str, from: &Path, to: &Path) -> Result<(), IsoError> {
    let output = Command::new(PROGRAM)
        .args([OsStr::new("-output"), to.as_os_str()])
        .args([
            "-volid",
            label,
            "-joliet",
            "-rock",
            "-partition_cyl_align",
            "on",
        ])
        .arg(from)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .map_err(IsoError::Start)?;
    if output.status.success() {
        return Ok(());
    }
    Err(IsoError::Failed {
        status: output.status.to_string(),
        output: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    })
}

/// The files that a volume of ConfigMaps, Secrets and the like shows, without those it hides.
pub fn read_volume(directory: &Path) -> Result<Content, IsoError> {
    let failed = |path: &Path| {
        let path = path.display().to_string();
        |source| IsoError::File { path, source }
    };
    let mut content = Content::new();
    let mut pending = vec![String::new()];
    while let Some(relative) = pending.pop() {
        let path = directory.join(&relative);
        for entry in fs::read_dir(&path).map_err(failed(&path))? {
            let name = entry.map_err(failed(&path))?.file_name();
            let name = name.to_string_lossy();
            if name.starts_with("..") {
                continue;
            }
            let inner = if relative.is_empty() {
                name.into_owned()
            } else {
                format!("{relative}/{name}")
            };
            let path = directory.join(&inner);
            // Through the links that such volumes consist of.
            if fs::metadata(&path).map_err(failed(&path))?.is_dir() {
                pending.push(inner);
            } else {
                content.push((inner, fs::read(&path).map_err(failed(&path))?));
            }
        }
    }
    content.sort();
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::read_volume;

    #[test]
    fn a_volume_shows_what_its_links_lead_to() {
        let dir = tempfile::tempdir().unwrap();
        let version = dir.path().join("..2026");
        std::fs::create_dir_all(version.join("sub")).unwrap();
        std::fs::write(version.join("a"), "1").unwrap();
        std::fs::write(version.join("sub/b"), "2").unwrap();
        std::os::unix::fs::symlink("..2026", dir.path().join("..data")).unwrap();
        for name in ["a", "sub"] {
            std::os::unix::fs::symlink(format!("..data/{name}"), dir.path().join(name)).unwrap();
        }
        let content = read_volume(dir.path()).unwrap();
        assert_eq!(
            content,
            [
                ("a".to_owned(), b"1".to_vec()),
                ("sub/b".to_owned(), b"2".to_vec())
            ]
        );
        assert!(
            read_volume(&dir.path().join("missing"))
                .unwrap_err()
                .to_string()
                .contains("missing")
        );
    }
}
