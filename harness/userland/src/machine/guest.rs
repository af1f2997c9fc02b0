//! The guest that is built here: kernel, first root and root.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::cpio::Archive;
use super::{GuestImage, MachineError, kernel};
use crate::cache::Cache;
use crate::contain::{self, Identity, Stop};
use crate::programs;
use crate::rootfs::RootFs;

/// Raised when the same inputs are to give another guest.
const FORMAT: u32 = 1;

/// What the guest needs before it has its root; made with the root file system.
const EARLY_MODULES: &str = "usr/lib/trunkline/modules";

/// What the first root has beside its init: places to mount on.
const DIRECTORIES: [&str; 8] = [
    "proc", "sys", "dev", "root", "lower", "rw", "run", "modules",
];

/// Builds the guest from its root file system unless it is there. Blocks.
pub fn ensure(cache: &Cache, root: &RootFs, launcher: &RootFs) -> Result<GuestImage, MachineError> {
    let directory = cache.root().join("guests");
    fs::create_dir_all(&directory).map_err(MachineError::io("create", &directory))?;
    let lock = directory.join("lock");
    let lock_file = File::create(&lock).map_err(MachineError::io("create", &lock))?;
    lock_file.lock().map_err(MachineError::io("lock", &lock))?;

    let guest = names(cache, root);
    let base = directory.join(base_name(root));
    if !base.exists() {
        build(root, launcher, &base)?;
    }
    if !guest.initrd.exists() {
        pack(&base.join("modules"), programs::init().0, &guest.initrd)?;
    }
    Ok(guest)
}

/// Whether it is there already.
pub fn is_there(cache: &Cache, root: &RootFs) -> bool {
    let guest = names(cache, root);
    guest.root.exists() && guest.initrd.exists()
}

/// Where everything lies once it is there.
fn names(cache: &Cache, root: &RootFs) -> GuestImage {
    let directory = cache.root().join("guests");
    let base = directory.join(base_name(root));
    let key = key(&[&root.key, programs::init().1]);
    GuestImage {
        kernel: base.join("kernel"),
        initrd: directory.join(format!("initrd-{key}")),
        root: base.join("root.erofs"),
        key,
    }
}

fn base_name(root: &RootFs) -> String {
    format!("root-{FORMAT}-{}", root.key)
}

fn key(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    hash.update(FORMAT.to_be_bytes());
    for part in parts {
        hash.update(part);
        hash.update([0]);
    }
    let mut key = hex::encode(hash.finalize());
    key.truncate(16);
    key
}

/// What follows from the root file system alone.
fn build(root: &RootFs, launcher: &RootFs, finished: &Path) -> Result<(), MachineError> {
    let unfinished = finished.with_extension("building");
    if unfinished.exists() {
        fs::remove_dir_all(&unfinished).map_err(MachineError::io("remove", &unfinished))?;
    }
    let modules = unfinished.join("modules");
    fs::create_dir_all(&modules).map_err(MachineError::io("create", &modules))?;
    let image = bootable(&root.path.join("boot"))?;
    let path = unfinished.join("kernel");
    fs::write(&path, image).map_err(MachineError::io("write", &path))?;
    let early = root.path.join(EARLY_MODULES);
    let entries = fs::read_dir(&early).map_err(MachineError::io("read", &early))?;
    for entry in entries {
        let entry = entry.map_err(MachineError::io("read", &early))?;
        fs::copy(entry.path(), modules.join(entry.file_name()))
            .map_err(MachineError::io("copy", entry.path()))?;
    }
    pack_root(root, launcher, &unfinished)?;
    fs::rename(&unfinished, finished).map_err(MachineError::io("rename", &unfinished))
}

/// The only kernel in `/boot`, uncompressed where that is possible.
fn bootable(boot: &Path) -> Result<Vec<u8>, MachineError> {
    let entries = fs::read_dir(boot).map_err(MachineError::io("read", boot))?;
    let kernels: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            path.file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with("vmlinuz"))
        })
        .collect();
    let [kernel] = kernels.as_slice() else {
        return Err(MachineError::Kernel(format!(
            "{} holds {} of them, not one",
            boot.display(),
            kernels.len()
        )));
    };
    let image = fs::read(kernel).map_err(MachineError::io("read", kernel))?;
    Ok(kernel::uncompressed(&image).unwrap_or(image))
}

/// Into one file, uncompressed: the machine that reads it has slower processors than disks.
fn pack_root(root: &RootFs, launcher: &RootFs, place: &Path) -> Result<(), MachineError> {
    let script = "mount --bind \"$1\" \"$3/mnt/in\" && mount --bind \"$2\" \"$3/mnt/out\" && \
         exec chroot \"$3\" mkfs.erofs --quiet -T0 -U00000000-0000-0000-0000-000000000000 \
         --exclude-regex='^(boot|usr/lib/trunkline)/' /mnt/out/root.erofs /mnt/in";
    let argv = ["sh", "-c", script, "sh"].map(Into::into).into_iter();
    let places = [&root.path, place, &launcher.path].map(|path| path.as_os_str().to_owned());
    let argv: Vec<_> = argv.chain(places).collect();
    let (status, output) = contain::run(&Identity::current()?, &argv, &Stop::default())?;
    if status.success() {
        return Ok(());
    }
    Err(MachineError::Pack(output.trim().to_owned()))
}

/// The archive that the kernel unpacks into memory; not compressed, as the kernel would have to undo it.
fn pack(modules: &Path, init: &[u8], finished: &Path) -> Result<(), MachineError> {
    let unfinished = finished.with_extension("building");
    let file = File::create(&unfinished).map_err(MachineError::io("create", &unfinished))?;
    let written = (|| {
        let mut archive = Archive::new(BufWriter::new(file));
        for directory in DIRECTORIES {
            archive.directory(directory)?;
        }
        archive.file("init", 0o755, init)?;
        let mut entries = fs::read_dir(modules)?.collect::<Result<Vec<_>, _>>()?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let name = format!("modules/{}", entry.file_name().to_string_lossy());
            archive.file(&name, 0o644, &fs::read(entry.path())?)?;
        }
        archive.finish()?.flush()
    })();
    written
        .and_then(|()| fs::rename(&unfinished, finished))
        .map_err(MachineError::io("write", &unfinished))
}
