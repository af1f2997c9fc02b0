//! Directories and files of the lab.

use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use k8s_openapi::api::core::v1::HostPathVolumeSource;

/// Verifies the type, and makes what may be made.
pub(super) fn check(source: &HostPathVolumeSource) -> Result<(), String> {
    let path = Path::new(&source.path);
    let kind = source.type_.as_deref().unwrap_or_default();
    let failed = |what: &str| {
        format!(
            "hostPath type check failed: {} is not a {what}",
            source.path
        )
    };
    let io = |e: std::io::Error| format!("{}: {e}", source.path);
    let found = fs::metadata(path).ok().map(|m| m.file_type());
    match (kind, found) {
        ("" | "DirectoryOrCreate", None) => fs::create_dir_all(path).map_err(io),
        ("FileOrCreate", None) => fs::write(path, "").map_err(io),
        ("", Some(_)) => Ok(()),
        ("DirectoryOrCreate" | "Directory", Some(t)) if t.is_dir() => Ok(()),
        ("FileOrCreate" | "File", Some(t)) if t.is_file() => Ok(()),
        ("Socket", Some(t)) if t.is_socket() => Ok(()),
        ("CharDevice", Some(t)) if t.is_char_device() => Ok(()),
        ("BlockDevice", Some(t)) if t.is_block_device() => Ok(()),
        ("DirectoryOrCreate" | "Directory", _) => Err(failed("directory")),
        ("FileOrCreate" | "File", _) => Err(failed("file")),
        ("Socket", _) => Err(failed("socket file")),
        ("CharDevice", _) => Err(failed("character device")),
        ("BlockDevice", _) => Err(failed("block device")),
        (other, _) => Err(format!("hostPath type {other:?} is unknown")),
    }
}
