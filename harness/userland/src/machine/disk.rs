//! The disk in the image of a container disk.

use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::Path;

use trunkline_qemu::Format;

use super::{DiskFile, MachineError};
use crate::images::Image;

const QCOW2: [u8; 4] = *b"QFI\xfb";

/// Finds it: the only file in `/disk`.
pub fn find(image: &Image) -> Result<DiskFile, MachineError> {
    let no_disk = |found: String| MachineError::NoDisk {
        reference: image.reference.clone(),
        found,
    };
    let mut files = Vec::new();
    for layer in &image.layers {
        let directory = layer.join("disk");
        let entries = match fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(MachineError::io("read", directory)(error)),
        };
        for entry in entries {
            let entry = entry.map_err(MachineError::io("read", &directory))?;
            files.push(entry.path());
        }
    }
    match files.as_slice() {
        [] => Err(no_disk("none".to_owned())),
        [file] => describe(file),
        more => {
            let names: Vec<_> = more
                .iter()
                .filter_map(|file| Some(file.file_name()?.to_string_lossy()))
                .collect();
            Err(no_disk(format!("{}: {}", more.len(), names.join(", "))))
        }
    }
}

/// By its first bytes, as names say nothing.
pub fn describe(path: &Path) -> Result<DiskFile, MachineError> {
    let failed = |error| MachineError::io("read", path)(error);
    let file = File::open(path).map_err(failed)?;
    let length = file.metadata().map_err(failed)?.len();
    let mut header = Vec::with_capacity(32);
    file.take(32).read_to_end(&mut header).map_err(failed)?;
    let qcow2 = header.strip_prefix(&QCOW2);
    // The disk's size stands at 24, most significant byte first.
    let size = qcow2.and_then(|rest| rest.get(20..28)?.try_into().ok());
    Ok(DiskFile {
        path: path.to_path_buf(),
        format: if qcow2.is_some() {
            Format::Qcow2
        } else {
            Format::Raw
        },
        size: size.map_or(length, u64::from_be_bytes),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(files: &[(&str, &[u8])]) -> (tempfile::TempDir, Image) {
        let root = tempfile::tempdir().unwrap();
        for (path, bytes) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        let image = Image {
            reference: "quay.io/disks/some:1".to_owned(),
            digest: String::new(),
            layers: vec![root.path().to_path_buf()],
            config: crate::images::ImageConfig::default(),
        };
        (root, image)
    }

    #[test]
    fn the_only_file_is_the_disk() {
        let mut qcow2 = QCOW2.to_vec();
        qcow2.extend([0; 20]);
        qcow2.extend((5u64 << 30).to_be_bytes());
        qcow2.extend([0; 100]);
        let (_root, image) = self::image(&[("disk/fedora.img", &qcow2)]);
        let disk = find(&image).unwrap();
        assert_eq!((disk.format, disk.size), (Format::Qcow2, 5 << 30));
        assert!(disk.path.ends_with("disk/fedora.img"));

        let (_root, image) = self::image(&[("disk/a.qcow2", &[0; 1024]), ("etc/x", b"")]);
        let disk = find(&image).unwrap();
        assert_eq!((disk.format, disk.size), (Format::Raw, 1024));
    }

    #[test]
    fn other_images_are_refused_by_name() {
        let (_root, image) = self::image(&[("etc/x", b"")]);
        let message = find(&image).unwrap_err().to_string();
        assert!(
            message.contains("quay.io/disks/some:1 is no container disk"),
            "{message}"
        );
        assert!(message.ends_with("has none"), "{message}");
        let (_root, image) = self::image(&[("disk/a", b""), ("disk/b", b"")]);
        let message = find(&image).unwrap_err().to_string();
        assert!(message.contains("has 2: "), "{message}");
    }
}
