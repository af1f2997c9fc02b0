//! The command line is data: what it says is held against what was agreed.
#![allow(clippy::unwrap_used)]

use std::path::PathBuf;

use trunkline_qemu::{
    Accelerator, Backing, Boot, Bus, Disk, DiskImage, Format, Identity, Machine, Memory, Nic,
    SLOTS, Serial, Socket, Sockets, command_line,
};

fn image(path: &str, format: Format, read_only: bool) -> DiskImage {
    DiskImage {
        path: PathBuf::from(path),
        format,
        read_only,
        backing: None,
    }
}

fn disk(id: &str, image: DiskImage) -> Disk {
    Disk {
        id: id.to_owned(),
        image,
        bus: Bus::Virtio,
        cdrom: false,
        serial: None,
        boot_order: None,
    }
}

fn machine() -> Machine {
    Machine {
        name: "default_tiny".to_owned(),
        identity: Identity {
            uuid: Some("a4479291-c8d4-4ccc-9526-85bee5ce11cb".to_owned()),
            serial: Some("3a, b".to_owned()),
            manufacturer: Some("KubeVirt".to_owned()),
            product: Some("None".to_owned()),
            family: Some("KubeVirt".to_owned()),
        },
        accelerator: Accelerator::Tcg,
        kvm_device: None,
        vcpus: 1,
        memory: Memory {
            mib: 1024,
            backing: Backing::Template(PathBuf::from("/proc/self/fd/10")),
        },
        boot: Boot::Kernel {
            kernel: PathBuf::from("/proc/self/fd/11"),
            initrd: PathBuf::from("/proc/self/fd/12"),
            arguments: vec!["trunkline.template".to_owned()],
        },
        disks: vec![
            disk("root", image("/dev/fdset/13", Format::Raw, true)),
            disk("cloudinitdisk", image("/dev/fdset/14", Format::Raw, false)),
        ],
        nics: vec![Nic {
            id: "default".to_owned(),
            mac: [2, 0, 0, 0xab, 0, 1],
            mtu: Some(1400),
            tap: 15,
            link: true,
        }],
        sockets: Sockets {
            monitor: Socket::Connected(16),
            serial: Serial {
                socket: Socket::Path(PathBuf::from("/run/private/virt-serial0")),
                log: PathBuf::from("/run/private/virt-serial0-log"),
            },
            agent: Socket::Connected(17),
            init: Socket::Listening(PathBuf::from("/run/init")),
        },
        inherited: vec![13, 14],
    }
}

/// One option with its value per line.
fn lines(machine: &Machine) -> String {
    let mut text = String::new();
    for argument in command_line(machine) {
        let separator = if argument.starts_with('-') { '\n' } else { ' ' };
        text.push(separator);
        text.push_str(&argument);
    }
    text
}

#[test]
fn a_machine_woken_from_a_template() {
    insta::assert_snapshot!(lines(&machine()));
}

#[test]
fn a_plain_machine_has_everything_from_the_start() {
    let mut machine = machine();
    machine.memory.backing = Backing::Anonymous;
    let text = lines(&machine);
    assert!(!text.contains("-incoming"), "{text}");
    assert!(
        text.contains(r#""qom-type":"memory-backend-ram""#),
        "{text}"
    );
    assert!(text.contains(r#""id":"nic-default""#), "{text}");
    assert!(text.contains(r#""id":"disk-cloudinitdisk""#), "{text}");
    assert!(text.contains(r#""mac":"02:00:00:ab:00:01""#), "{text}");
}

#[test]
fn a_disk_that_boots_gets_no_kernel() {
    let mut machine = machine();
    machine.memory.backing = Backing::Anonymous;
    machine.boot = Boot::Firmware;
    let mut overlay = image("/pod/overlay.qcow2", Format::Qcow2, false);
    overlay.backing = Some(Box::new(image("/cache/disk.img", Format::Raw, true)));
    machine.disks = vec![disk("root", overlay)];
    let text = lines(&machine);
    assert!(
        !text.contains("-kernel") && !text.contains("pvpanic"),
        "{text}"
    );
    let blockdev = text
        .lines()
        .find(|line| line.starts_with("-blockdev"))
        .unwrap();
    assert!(
        blockdev.contains(r#""backing":{"driver":"raw","read-only":true"#),
        "{blockdev}"
    );
    assert!(text.contains(r#""bootindex":1"#), "{text}");
    assert!(!machine.fits_template());
    machine.disks[0].boot_order = Some(7);
    let text = lines(&machine);
    assert!(
        text.contains(r#""bootindex":7"#) && !text.contains(r#""bootindex":1"#),
        "{text}"
    );
}

#[test]
fn a_template_takes_what_its_slots_can() {
    let mut machine = machine();
    assert!(machine.fits_template());
    let nic = machine.nics[0].clone();
    machine.nics = vec![nic; usize::from(SLOTS) - 1];
    assert!(machine.fits_template());
    machine.nics.push(machine.nics[0].clone());
    assert!(!machine.fits_template(), "a card more than there are slots");

    let mut machine = self::machine();
    machine.disks[1].bus = Bus::Sata;
    assert!(!machine.fits_template(), "nothing is plugged into SATA");
}

#[test]
fn a_comma_stays_in_its_value() {
    let text = lines(&machine());
    assert!(text.contains("serial=3a,, b,"), "{text}");
}

#[test]
fn kvm_may_be_somewhere_else() {
    let mut machine = machine();
    machine.accelerator = Accelerator::Kvm;
    machine.kvm_device = Some(PathBuf::from("/dev/fdset/20"));
    let text = lines(&machine);
    assert!(
        text.contains("-accel kvm,device=/dev/fdset/20\n-cpu host"),
        "{text}"
    );
}
