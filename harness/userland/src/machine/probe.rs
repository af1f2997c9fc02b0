//! Whether KVM runs guests here. Its device may be there and still do nothing of use.

use std::fs;
use std::path::Path;
use std::time::Duration;

use trunkline_qemu::Accelerator;

use super::MachineError;
use super::qemu::{self, IN, OUT};
use crate::cache::Cache;
use crate::rootfs::RootFs;

const DEVICE: &str = "/dev/kvm";

/// Firmware and boot sector take a tenth of a second where KVM works.
const LIMIT: Duration = Duration::from_secs(5);

/// Writes `K` to the port of a debug console, then stops for good:
/// `mov al, 'K'; out 0xe9, al; cli; hlt`.
const BOOT_SECTOR: [u8; 6] = [0xb0, b'K', 0xe6, 0xe9, 0xfa, 0xf4];

/// What machines can be run with. Found out once for every boot of this machine.
pub async fn accelerator(cache: &Cache, launcher: &RootFs) -> Accelerator {
    // Without the right to open it there is nothing to find out, and that may change.
    let usable = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(DEVICE)
        .is_ok();
    if !usable {
        return Accelerator::Tcg;
    }
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let known = cache.root().join("machines/kvm");
    let text = fs::read_to_string(&known).unwrap_or_default();
    if let Some(answer) = text.strip_prefix(boot.trim()) {
        return if answer.trim() == "works" {
            Accelerator::Kvm
        } else {
            Accelerator::Tcg
        };
    }
    let works = runs(cache, launcher, "kvm").await.unwrap_or_else(|error| {
        tracing::info!(%error, "KVM could not be tried");
        false
    });
    let word = if works { "works" } else { "fails" };
    // Only costs the next one the same time again.
    let _unknown = fs::write(&known, format!("{} {word}\n", boot.trim()));
    if works {
        Accelerator::Kvm
    } else {
        Accelerator::Tcg
    }
}

/// Starts a guest that says one byte.
async fn runs(cache: &Cache, launcher: &RootFs, accelerator: &str) -> Result<bool, MachineError> {
    let place = cache
        .root()
        .join(format!("machines/probe-{}", std::process::id()));
    fs::create_dir_all(&place).map_err(MachineError::io("create", &place))?;
    // A guest that hangs is the answer, too.
    let answered = tokio::time::timeout(LIMIT, answer(&place, launcher, accelerator)).await;
    fs::remove_dir_all(&place).map_err(MachineError::io("remove", &place))?;
    answered.unwrap_or(Ok(false))
}

async fn answer(place: &Path, launcher: &RootFs, accelerator: &str) -> Result<bool, MachineError> {
    use tokio::io::AsyncReadExt;

    let mut sector = BOOT_SECTOR.to_vec();
    sector.resize(510, 0);
    sector.extend([0x55, 0xaa]);
    // Less than a cylinder would be nothing to the firmware.
    sector.resize(2 << 20, 0);
    let disk = place.join("disk");
    fs::write(&disk, sector).map_err(MachineError::io("write", &disk))?;
    let listener = qemu::listen(place, "said")?;
    let command = [
        trunkline_qemu::PROGRAM,
        "-accel",
        accelerator,
        "-machine",
        trunkline_qemu::MACHINE_TYPE,
        "-nodefaults",
        "-display",
        "none",
        "-m",
        "16",
        "-chardev",
        &format!("socket,id=said,path={OUT}/said"),
        "-device",
        "isa-debugcon,chardev=said,iobase=0xe9",
        "-drive",
        &format!("file={IN}/disk,format=raw,if=virtio,read-only=on"),
    ]
    .map(str::to_owned)
    .to_vec();
    let mut running = qemu::start(&launcher.path, place, place, command)?;
    let mut said = qemu::accept(&listener, &mut running).await?;
    tokio::select! {
        byte = said.read_u8() => Ok(byte.is_ok_and(|byte| byte == b'K')),
        _ = running.ended() => Ok(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rootfs::{self, RootKind};

    /// Where nothing but the accelerator can be to blame, the guest says its byte.
    #[tokio::test]
    async fn the_guest_speaks_when_it_is_run() {
        let own = Cache::locate().unwrap();
        let Ok(Some(launcher)) = rootfs::find(&own, RootKind::Launcher) else {
            println!("skipped: the root file system launcher is not built");
            return;
        };
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::at(directory.path());
        assert!(runs(&cache, &launcher, "tcg").await.unwrap());
        assert!(!runs(&cache, &launcher, "none-such").await.unwrap_or(false));
        let left = fs::read_dir(directory.path().join("machines")).unwrap();
        assert_eq!(left.count(), 0, "the probes are gone");
    }
}
