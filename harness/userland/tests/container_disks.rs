//! True container disks: pulled from a registry of our own or taken from archives, and booted by their firmware.
#![allow(clippy::unwrap_used)]

mod machines_support;
mod support;

use std::path::Path;
use std::process::Command;

use machines_support::{Start, disk, raw, start};
use support::{Layer, Registry, archives};
use trunkline_qemu::{Boot, Format};
use trunkline_userland::contain::Identity;
use trunkline_userland::machine::{DiskFile, MachineError, MachineImage, Shape, Workshop};
use trunkline_userland::{Cache, Catalogue, ImageSource, Images, RootKind, rootfs};

/// A boot sector that says hello on the first serial line, byte by byte, and stops.
///
/// ```text
/// 7c00  be 0f 7c     mov si, 0x7c0f     the text behind the code
/// 7c03  ba f8 03     mov dx, 0x3f8
/// 7c06  ac           lodsb
/// 7c07  84 c0        test al, al
/// 7c09  74 03        jz 7c0e
/// 7c0b  ee           out dx, al
/// 7c0c  eb f8        jmp 7c06
/// 7c0e  f4           hlt
/// ```
const CODE: [u8; 15] = [
    0xbe, 0x0f, 0x7c, 0xba, 0xf8, 0x03, 0xac, 0x84, 0xc0, 0x74, 0x03, 0xee, 0xeb, 0xf8, 0xf4,
];

const HELLO: &str = "hello from the boot sector\r\n";

fn bootable() -> Vec<u8> {
    let mut disk = CODE.to_vec();
    disk.extend(HELLO.bytes());
    disk.resize(510, 0);
    disk.extend([0x55, 0xaa]);
    // Less than a cylinder would be nothing to the firmware.
    disk.resize(2 << 20, 0);
    disk
}

fn cannot_unpack() -> Option<String> {
    Identity::current().err().map(|error| error.to_string())
}

macro_rules! needs_identities {
    () => {
        if let Some(reason) = cannot_unpack() {
            println!("skipped: {reason}");
            return;
        }
    };
}

fn workshop(cache: &Path, source: ImageSource) -> Workshop {
    let cache = Cache::at(cache);
    let images = Images::new(cache.clone(), Catalogue::embedded().unwrap(), source);
    Workshop::new(cache, images)
}

/// As KubeVirt's container disks are made: owned by QEMU's user, in `/disk`.
fn layer(name: &str, disk: &[u8]) -> Vec<u8> {
    Layer::new().program(name, disk).done()
}

async fn pulled(cache: &Path, layers: &[Vec<u8>]) -> Result<MachineImage, MachineError> {
    let registry = Registry::start().await;
    registry.image("1", layers, &archives::runtime(), archives::here());
    let reference = registry.reference("disk:1");
    workshop(cache, ImageSource::Pull)
        .provide(&reference, &|_| {})
        .await
}

#[tokio::test]
async fn a_pulled_disk_boots_and_is_not_written_to() {
    needs_identities!();
    let cache = tempfile::tempdir().unwrap();
    let image = pulled(cache.path(), &[layer("disk/root.img", &bootable())])
        .await
        .unwrap();
    let MachineImage::Disk(file) = &image else {
        panic!("{image:?}");
    };
    assert_eq!((file.format, file.size), (Format::Raw, 2 << 20));
    let shape = Shape {
        memory_mib: 64,
        vcpus: 1,
    };
    let template = workshop(cache.path(), ImageSource::Pull)
        .template(&image, shape, &|_| {})
        .await
        .unwrap();
    assert_eq!(template, None);

    let own = Cache::locate().unwrap();
    let Ok(Some(launcher)) = rootfs::find(&own, RootKind::Launcher) else {
        println!("skipped: the root file system launcher is not built");
        return;
    };
    let overlay = overlay(&launcher.path, file, cache.path());
    let mut machine = start(Start {
        launcher: &launcher.path,
        boot: Boot::Firmware,
        disks: vec![disk("root", overlay)],
        taps: Vec::new(),
        template: None,
        memory_mib: 64,
    })
    .await;
    machine.until(HELLO).await;
}

/// What a pod keeps of the disk: only what its machine changes.
fn overlay(launcher: &Path, file: &DiskFile, place: &Path) -> trunkline_qemu::DiskImage {
    let path = place.join("overlay.qcow2");
    let script = "mount --bind \"$2\" \"$1/mnt/out\" && mount --rbind /dev \"$1/dev\" && exec chroot \"$1\" qemu-img create -q \
         -f qcow2 /mnt/out/overlay.qcow2 \"$3\"";
    let made = Command::new("unshare")
        .args(["--map-root-user", "--mount", "--", "sh", "-c", script, "sh"])
        .args([launcher, place])
        .arg(file.size.to_string())
        .status()
        .unwrap();
    assert!(made.success());
    let mut overlay = raw(&path, false);
    overlay.format = Format::Qcow2;
    overlay.backing = Some(Box::new(raw(&file.path, true)));
    overlay
}

#[tokio::test]
async fn an_archive_is_as_good_as_a_registry() {
    needs_identities!();
    let cache = tempfile::tempdir().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let layers = [Layer::new().program("disk/x.qcow2", &bootable()).done()];
    let name = "quay.io/containerdisks/fedora:38";
    let archive = archives::docker(name, &layers, &archives::runtime()).done();
    std::fs::write(directory.path().join("fedora.tar"), archive).unwrap();
    let source = ImageSource::Directory(directory.path().to_path_buf());
    let workshop = workshop(cache.path(), source);
    // Whoever gives archives wants what is in them, not the guest that answers to the name.
    let image = workshop.provide(name, &|_| {}).await.unwrap();
    assert!(matches!(image, MachineImage::Disk(_)), "{image:?}");
    let absent = workshop.provide("quay.io/containerdisks/ubuntu:24.04", &|_| {});
    let message = absent.await.unwrap_err().to_string();
    assert!(
        message.contains("quay.io/containerdisks/ubuntu:24.04"),
        "{message}"
    );
}

#[tokio::test]
async fn an_image_without_a_disk_is_refused() {
    needs_identities!();
    let cache = tempfile::tempdir().unwrap();
    let error = pulled(cache.path(), &[Layer::new().file("etc/motd", "hi").done()])
        .await
        .unwrap_err();
    assert!(error.to_string().ends_with("and has none"), "{error}");
    let two = [layer("disk/a.img", b"a"), layer("disk/b.img", b"b")];
    let error = pulled(cache.path(), &two).await.unwrap_err();
    assert!(error.to_string().contains("has 2: "), "{error}");
}
