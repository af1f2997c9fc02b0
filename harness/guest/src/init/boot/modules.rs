//! Kernel modules of the initial ramdisk, loaded in the order that stands beside them.

use std::fs::{self, File};

use nix::errno::Errno;
use nix::kmod::{ModuleInitFlags, finit_module};

use crate::log;

const DIRECTORY: &str = "/modules";
pub const ORDER: &str = "/modules/order";

/// What cannot be loaded is said and left out: if it was needed, what needs it will say more.
pub fn load() {
    let order = fs::read_to_string(ORDER).unwrap_or_default();
    for name in names(&order) {
        let path = format!("{DIRECTORY}/{name}");
        let loaded = File::open(&path)
            .map_err(|error| error.to_string())
            .and_then(
                |file| match finit_module(&file, c"", ModuleInitFlags::empty()) {
                    Ok(()) | Err(Errno::EEXIST) => Ok(()),
                    Err(error) => Err(error.to_string()),
                },
            );
        if let Err(error) = loaded {
            log::error(&format!("cannot load the kernel module {path}: {error}"));
        }
    }
    // The memory is the guest's.
    let _best_effort = fs::remove_dir_all(DIRECTORY);
}

fn names(order: &str) -> impl Iterator<Item = &str> {
    order
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_modules() {
        let order = "# first\nvirtio_blk.ko\n\n  squashfs.ko \n#x.ko\n";
        assert_eq!(
            names(order).collect::<Vec<_>>(),
            ["virtio_blk.ko", "squashfs.ko"]
        );
    }
}
