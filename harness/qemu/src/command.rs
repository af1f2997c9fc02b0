//! From a machine to QEMU's command line: pure, and the same every time.

use serde_json::{Value, json};

use crate::machine::{
    Accelerator, Backing, Boot, Bus, Disk, DiskImage, MACHINE_TYPE, Machine, Nic, Serial, Socket,
};

/// The program, where Debian puts it.
pub const PROGRAM: &str = "/usr/bin/qemu-system-x86_64";

/// What every guest that is booted without firmware gets to know: where its console is, that it need not defend itself
/// against its host, that clock and timers of such a machine need no check, and that its ports are the firmware's.
const KERNEL_ARGUMENTS: &str = "console=ttyS0 quiet panic=-1 tsc=reliable no_timer_check mitigations=off init_on_alloc=0 pcie_ports=compat";

const BRIDGE: &str = "slots";

/// Megabytes that translated guest code may take; QEMU's own gigabyte would be paid for by every machine.
const TRANSLATIONS_MB: u32 = 64;

/// The arguments, the program first.
pub fn command_line(machine: &Machine) -> Vec<String> {
    let mut arguments = Arguments(vec![PROGRAM.to_owned()]);
    frame(machine, &mut arguments);
    boot(machine, &mut arguments);
    for fd in &machine.inherited {
        arguments.add("-add-fd", format!("fd={fd},set={fd}"));
    }
    channels(machine, &mut arguments);
    frame_devices(machine, &mut arguments);
    for disk in &machine.disks {
        arguments.add("-blockdev", blockdev(&disk.id, &disk.image).to_string());
    }
    for nic in &machine.nics {
        arguments.add("-netdev", netdev(nic).to_string());
    }
    for device in cold_plugged(machine) {
        arguments.add("-device", device.to_string());
    }
    arguments.0
}

struct Arguments(Vec<String>);

impl Arguments {
    fn flag(&mut self, flag: &str) {
        self.0.push(flag.to_owned());
    }

    fn add(&mut self, option: &str, value: impl Into<String>) {
        self.0.extend([option.to_owned(), value.into()]);
    }
}

fn frame(machine: &Machine, to: &mut Arguments) {
    to.add("-name", format!("guest={},debug-threads=on", machine.name));
    to.flag("-S");
    // A machine without graphics has its firmware speak on the serial console.
    let firmware = match machine.boot {
        Boot::Firmware => ",graphics=off",
        Boot::Kernel { .. } => "",
    };
    to.add(
        "-machine",
        format!(
            "{MACHINE_TYPE},usb=off,vmport=off,dump-guest-core=off,memory-backend=pc.ram,acpi=on{firmware}"
        ),
    );
    match (machine.accelerator, &machine.kvm_device) {
        (Accelerator::Kvm, None) => to.add("-accel", "kvm"),
        (Accelerator::Kvm, Some(device)) => {
            to.add("-accel", format!("kvm,device={}", device.display()));
        }
        (Accelerator::Tcg, _) => {
            to.add(
                "-accel",
                format!("tcg,thread=multi,tb-size={TRANSLATIONS_MB}"),
            );
        }
    }
    to.add(
        "-cpu",
        match machine.accelerator {
            Accelerator::Kvm => "host",
            // Five-level page tables make every walk longer, and nobody here has that much memory.
            Accelerator::Tcg => "max,la57=off",
        },
    );
    let memory = &machine.memory;
    to.add("-m", format!("size={}M", memory.mib));
    to.add("-object", ram(memory.mib, &memory.backing).to_string());
    let vcpus = machine.vcpus;
    to.add(
        "-smp",
        format!("{vcpus},sockets={vcpus},dies=1,cores=1,threads=1"),
    );
    identity(machine, to);
    for flag in ["-no-user-config", "-nodefaults"] {
        to.flag(flag);
    }
    to.add("-display", "none");
    to.add("-rtc", "base=utc");
    to.add("-boot", "strict=on");
    if machine.is_restored() {
        to.add("-incoming", "defer");
    }
}

fn ram(mib: u32, backing: &Backing) -> Value {
    let size = u64::from(mib) << 20;
    match backing {
        Backing::Anonymous => {
            json!({"qom-type": "memory-backend-ram", "id": "pc.ram", "size": size})
        }
        Backing::Recorded(file) => json!({
            "qom-type": "memory-backend-file", "id": "pc.ram", "size": size, "mem-path": file, "share": true
        }),
        // The file is opened for reading only, and what the guest writes stays in this process.
        Backing::Template(file) => json!({
            "qom-type": "memory-backend-file", "id": "pc.ram", "size": size, "mem-path": file,
            "share": false, "readonly": true, "rom": "off"
        }),
    }
}

fn identity(machine: &Machine, to: &mut Arguments) {
    let identity = &machine.identity;
    if let Some(uuid) = &identity.uuid {
        to.add("-uuid", uuid);
    }
    let fields = [
        ("manufacturer", &identity.manufacturer),
        ("product", &identity.product),
        ("serial", &identity.serial),
        ("uuid", &identity.uuid),
        ("family", &identity.family),
    ];
    let told: Vec<_> = fields
        .iter()
        .filter_map(|(name, value)| Some(format!("{name}={}", escaped(value.as_deref()?))))
        .collect();
    if !told.is_empty() {
        to.add("-smbios", format!("type=1,{}", told.join(",")));
    }
}

/// A comma would end the value.
fn escaped(value: &str) -> String {
    value.replace(',', ",,")
}

fn boot(machine: &Machine, to: &mut Arguments) {
    let Boot::Kernel {
        kernel,
        initrd,
        arguments,
    } = &machine.boot
    else {
        return;
    };
    to.add("-kernel", kernel.display().to_string());
    to.add("-initrd", initrd.display().to_string());
    let words = std::iter::once(KERNEL_ARGUMENTS).chain(arguments.iter().map(String::as_str));
    to.add("-append", words.collect::<Vec<_>>().join(" "));
}

fn channels(machine: &Machine, to: &mut Arguments) {
    let sockets = &machine.sockets;
    let Serial { socket, log } = &sockets.serial;
    let logged = format!(
        ",logfile={},logappend=on",
        escaped(&log.display().to_string())
    );
    to.add("-chardev", chardev("monitor", &sockets.monitor));
    to.add("-mon", "chardev=monitor,id=qmp,mode=control");
    to.add("-chardev", chardev("serial0", socket) + &logged);
    to.add("-serial", "chardev:serial0");
    to.add("-chardev", chardev("agent", &sockets.agent));
    to.add("-chardev", chardev("init", &sockets.init));
}

fn chardev(id: &str, socket: &Socket) -> String {
    match socket {
        Socket::Path(path) => {
            let path = escaped(&path.display().to_string());
            format!("socket,id={id},path={path},server=on,wait=off")
        }
        Socket::Listening(path) => {
            let path = escaped(&path.display().to_string());
            format!("socket,id={id},path={path}")
        }
        Socket::Connected(fd) => format!("socket,id={id},fd={fd}"),
    }
}

/// The devices that every machine has. What is plugged in sits on one bridge: a guest looks through it faster than
/// through ports of their own, and finds what is there in the order of the slots.
fn frame_devices(machine: &Machine, to: &mut Arguments) {
    let bridge = json!({"driver": "pcie-pci-bridge", "id": BRIDGE, "bus": "pcie.0", "addr": "0x2"});
    to.add("-device", bridge.to_string());
    let serial = json!({
        "driver": "virtio-serial-pci-non-transitional", "id": "virtio-serial0", "bus": "pcie.0", "addr": "0x1c"
    });
    to.add("-device", serial.to_string());
    let channels = [
        (1, "agent", "org.qemu.guest_agent.0"),
        (2, "init", "dev.trunkline.init.0"),
    ];
    for (number, chardev, name) in channels {
        let port = json!({
            "driver": "virtserialport", "id": format!("channel-{chardev}"), "bus": "virtio-serial0.0",
            "nr": number, "chardev": chardev, "name": name
        });
        to.add("-device", port.to_string());
    }
    if matches!(machine.boot, Boot::Kernel { .. }) {
        to.add(
            "-device",
            json!({"driver": "pvpanic", "id": "panic"}).to_string(),
        );
    }
    if machine.disks.iter().any(|disk| disk.bus == Bus::Scsi) {
        let scsi = json!({
            "driver": "virtio-scsi-pci-non-transitional", "id": "scsi0", "bus": "pcie.0", "addr": "0x1d"
        });
        to.add("-device", scsi.to_string());
    }
}

/// A block device, for the command line and for `blockdev-add`.
fn blockdev(id: &str, image: &DiskImage) -> Value {
    let mut device = layer(image);
    device["node-name"] = json!(id);
    device
}

fn layer(image: &DiskImage) -> Value {
    let mut layer = json!({
        "driver": image.format.name(),
        "read-only": image.read_only,
        // Who shares a file here shares it for reading, or is the only one by construction.
        "file": {
            "driver": "file", "filename": image.path, "locking": "off", "read-only": image.read_only,
            "discard": "unmap",
        },
    });
    if !image.read_only {
        layer["discard"] = json!("unmap");
    }
    if let Some(backing) = &image.backing {
        layer["backing"] = self::layer(backing);
    }
    layer
}

fn netdev(nic: &Nic) -> Value {
    json!({"type": "tap", "id": backend(nic), "fd": nic.tap.to_string(), "vhost": false})
}

fn backend(nic: &Nic) -> String {
    format!("host-{}", nic.id)
}

/// The devices of the disks and cards that are there from the start.
fn cold_plugged(machine: &Machine) -> Vec<Value> {
    let root = machine.disks.first().map(|root| {
        let mut device = disk(root);
        // Nobody ever pulls it out.
        if root.bus == Bus::Virtio {
            device["bus"] = json!("pcie.0");
            device["addr"] = json!("0x1b");
        }
        let chosen = machine.disks.iter().any(|disk| disk.boot_order.is_some());
        if machine.boot == Boot::Firmware && !chosen {
            device["bootindex"] = json!(1);
        }
        device
    });
    let mut devices = Vec::from_iter(root);
    if !machine.is_restored() {
        devices.extend(hot_plugged(machine));
    }
    devices
}

/// The devices of the disks and cards that a template lacks, each in the next slot.
pub fn hot_plugged(machine: &Machine) -> Vec<Value> {
    let cards = machine.nics.iter().map(card);
    let disks = machine.disks.iter().skip(1).map(disk);
    let mut devices: Vec<_> = cards.chain(disks).collect();
    for (device, slot) in devices.iter_mut().zip(1..) {
        if device.get("bus").is_none() && device["driver"].as_str().is_some_and(is_virtio) {
            device["bus"] = json!(BRIDGE);
            device["addr"] = json!(format!("{slot:#x}"));
        }
    }
    devices
}

fn is_virtio(driver: &str) -> bool {
    driver.starts_with("virtio-")
}

fn card(nic: &Nic) -> Value {
    let mac = nic.mac.map(|byte| format!("{byte:02x}")).join(":");
    let mut device = json!({
        "driver": "virtio-net-pci-non-transitional", "id": format!("nic-{}", nic.id),
        "netdev": backend(nic), "mac": mac, "romfile": "",
    });
    if let Some(mtu) = nic.mtu {
        device["host_mtu"] = json!(mtu);
    }
    device
}

fn disk(disk: &Disk) -> Value {
    let mut device = match (disk.bus, disk.cdrom) {
        (Bus::Virtio, _) => json!({"driver": "virtio-blk-pci-non-transitional"}),
        (Bus::Scsi, false) => json!({"driver": "scsi-hd", "bus": "scsi0.0"}),
        (Bus::Scsi, true) => json!({"driver": "scsi-cd", "bus": "scsi0.0"}),
        (Bus::Sata, false) => json!({"driver": "ide-hd"}),
        (Bus::Sata, true) => json!({"driver": "ide-cd"}),
    };
    device["id"] = json!(format!("disk-{}", disk.id));
    device["drive"] = json!(disk.id);
    if let Some(serial) = &disk.serial {
        device["serial"] = json!(serial);
    }
    if let Some(order) = disk.boot_order {
        device["bootindex"] = json!(order);
    }
    device
}
