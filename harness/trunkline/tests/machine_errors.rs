//! What a user is told of a virtual machine that cannot work: soon, where it is wrong, and in whose words.

mod common;
#[path = "../../userland/tests/support/mod.rs"]
mod support;

use std::{
    fs,
    path::Path,
    process::Output,
    time::{Duration, Instant},
};

use common::trunkline;
use rstest::rstest;
use serde_json::json;
use support::{Layer, archives};
use tempfile::TempDir;

const MACHINES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/machines");

/// Lab and all, on a busy machine without KVM. The deadlines of the scenario are 60 seconds each.
const SOON: Duration = Duration::from_secs(50);

/// A change: in which file what becomes what.
type Edit<'a> = (&'a str, &'a str, &'a str);

const MACHINE: &str = "machine.yaml";
const SCENARIO: &str = "scenario.yaml";
const CLOUD_CONFIG: &str = "            chpasswd: {expire: false}\n";

/// The scenario that passes, with changes.
struct Bench {
    dir: TempDir,
    runtime: TempDir,
}

impl Bench {
    fn new(edits: &[Edit<'_>]) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        for file in fs::read_dir(MACHINES).expect("scenarios").flatten() {
            fs::copy(file.path(), dir.path().join(file.file_name())).expect("a copy");
        }
        for (file, from, to) in edits {
            let path = dir.path().join(file);
            let text = fs::read_to_string(&path).expect("a file");
            assert!(text.contains(from), "{from:?} is not in {file} any more");
            fs::write(path, text.replace(from, to)).expect("it is written");
        }
        let runtime = tempfile::tempdir().expect("a temporary directory");
        Self { dir, runtime }
    }

    fn trunkline(&self, arguments: &[&str]) -> Output {
        trunkline()
            .current_dir(self.dir.path())
            .env("XDG_RUNTIME_DIR", self.runtime.path())
            .args(arguments)
            .output()
            .expect("trunkline runs")
    }

    /// What a run says that fails, which it does long before any deadline, and which leaves nothing behind.
    #[track_caller]
    fn fails(&self, options: &[&str]) -> String {
        let started = Instant::now();
        let output = self.trunkline(&[&["run", SCENARIO], options].concat());
        let told = told(&output);
        assert_eq!(output.status.code(), Some(1), "{told}");
        assert!(told.contains("0 passed, 1 failed, 0 skipped"), "{told}");
        assert!(!told.contains("the environment broke"), "{told}");
        assert!(started.elapsed() < SOON, "{:?}:\n{told}", started.elapsed());
        assert_eq!(self.left(), Vec::<String>::new());
        told
    }

    /// Labs that are still listed, and processes that still know this bench.
    fn left(&self) -> Vec<String> {
        let listed = self.trunkline(&["list", "--labs", "--json"]);
        let labs: Vec<serde_json::Value> = serde_json::from_slice(&listed.stdout).expect("JSON");
        let mark = self.runtime.path().to_str().expect("a path").as_bytes();
        let knows = |process: &Path| {
            ["cmdline", "environ"].iter().any(|file| {
                let bytes = fs::read(process.join(file)).unwrap_or_default();
                bytes.windows(mark.len()).any(|part| part == mark)
            })
        };
        let processes = fs::read_dir("/proc").expect("processes").flatten();
        let processes = processes
            .map(|entry| entry.path())
            .filter(|path| knows(path));
        let labs = labs.into_iter().map(|lab| lab.to_string());
        labs.chain(processes.map(|path| path.display().to_string()))
            .collect()
    }
}

fn told(output: &Output) -> String {
    let out = String::from_utf8_lossy(&output.stdout);
    let err = String::from_utf8_lossy(&output.stderr);
    format!("{out}{err}")
}

#[track_caller]
fn has(told: &str, wanted: &[&str]) {
    for text in wanted {
        assert!(told.contains(text), "{text:?} is not in:\n{told}");
    }
}

#[test]
fn without_a_mistake_it_passes() {
    needs_lab!();
    let bench = Bench::new(&[]);
    let output = bench.trunkline(&["run", SCENARIO]);
    assert_eq!(output.status.code(), Some(0), "{}", told(&output));
    assert_eq!(bench.left(), Vec::<String>::new());
}

/// What is written wrong is found before anything starts.
#[rstest]
#[case::misspelt(
    &[(MACHINE, "terminationGracePeriodSeconds", "termination/GracePeriodSeconds")],
    &["KubeVirt knows no `termination/GracePeriodSeconds` here", "did you mean `terminationGracePeriodSeconds`?", "machine.yaml:18:7"],
)]
#[case::mac(
    &[(MACHINE, "masquerade: {}}", "masquerade: {}, macAddress: 'de:ad:be:ef'}")],
    &["`de:ad:be:ef` is not a MAC address", "write six bytes", "machine.yaml:14:"],
)]
#[case::no_networks(
    &[(MACHINE, "      networks:\n      - {name: default, pod: {}}\n", ""),
      (MACHINE, "masquerade: {}}", "masquerade: {}}\n          - {name: net, bridge: {}}")],
    &["the interface `default` of vm/blue/guest has no namesake among its networks",
      "the interface `net` of vm/blue/guest has no namesake among its networks"],
)]
#[case::unknown_network(
    &[(MACHINE, "masquerade: {}}", "masquerade: {}}\n          - {name: net, bridge: {}}"),
      (MACHINE, "pod: {}}", "pod: {}}\n      - {name: net, multus: {networkName: net}}")],
    &["no step up to this one creates the network attachment definition `blue/net`", "machine.yaml:19:"],
)]
fn what_lint_finds(#[case] edits: &[Edit<'_>], #[case] wanted: &[&str]) {
    let bench = Bench::new(edits);
    let output = bench.trunkline(&["run", SCENARIO]);
    let told = told(&output);
    assert_eq!(output.status.code(), Some(3), "{told}");
    has(&told, wanted);
    has(&told, &["nothing was started"]);
}

/// The machine does not come up: its status and events are in the failure.
#[rstest]
#[case::image(
    &[(MACHINE, "quay.io/containerdisks/fedora:41", "registry.example/disk:1")],
    &["vm/blue/guest cannot get there any more", "an image of ", "ErrImagePull",
      "registry.example/disk:1 is not in the catalogue as the disk of a virtual machine", "--images pull"],
)]
#[case::memory(
    &[(MACHINE, "guest: 256Mi", "guest: 4Ti")],
    &["cannot be scheduled: ", "0/3 nodes are available", "2 Insufficient memory"],
)]
#[case::network_is_gone(
    &[(MACHINE, "masquerade: {}}", "masquerade: {}}\n          - {name: net, macAddress: '02:00:00:00:00:01', bridge: {}}"),
      (MACHINE, "pod: {}}", "pod: {}}\n      - {name: net, multus: {networkName: net}}"),
      // Lint takes the network for there: that its owner is not, and that it goes with it, only the API knows.
      ("network.yaml", "namespace: blue}", "namespace: blue, ownerReferences: [{apiVersion: v1, kind: ConfigMap, name: nobody, uid: none}]}"),
      (SCENARIO, "  steps:\n", "  steps:\n  - {title: A network, apply: network.yaml, until: net-attach-def/blue/net is gone}\n")],
    &["the virtual machine cannot start: FailedCreate: failed to render launch manifest: \
       failed to locate network attachment definition blue/net"],
)]
#[case::off(
    &[(MACHINE, "Always", "Halted")],
    &["the virtual machine is switched off: it is to be Halted"],
)]
#[case::switches_itself_off(
    &[(MACHINE, "Always", "Once"),
      (MACHINE, "      networks:\n", "      readinessProbe: {tcpSocket: {port: 9}, periodSeconds: 1}\n      networks:\n"),
      (MACHINE, CLOUD_CONFIG, "            runcmd: [poweroff]\n")],
    &["the virtual machine is switched off: it has run Once"],
)]
fn a_machine_that_does_not_come_up(#[case] edits: &[Edit<'_>], #[case] wanted: &[&str]) {
    needs_lab!();
    let told = Bench::new(edits).fails(&[]);
    has(&told, wanted);
    has(
        &told,
        &[
            "expected  vm/blue/guest is Ready",
            "scenario.yaml:",
            "machine.yaml:1",
            "kubectl -n blue describe vm guest",
        ],
    );
}

/// The machine runs, but nobody gets into its guest: the last lines of its console are in the failure.
#[rstest]
#[case::cloud_init(
    &[(MACHINE, CLOUD_CONFIG, "            - chpasswd: {expire\n")],
    &["the guest refuses the login of user `fedora`, twice: Login incorrect", "Failed loading yaml blob", "guest login: fedora"],
)]
#[case::password(
    &[(SCENARIO, "password: fedora", "password: not-that-one")],
    &["the guest refuses the login of user `fedora`, twice: Login incorrect", "guest login: fedora", "cloud-init sets in the manifest"],
)]
#[case::panic(
    &[(MACHINE, CLOUD_CONFIG, "            bootcmd: ['sleep 2; echo c > /proc/sysrq-trigger']\n")],
    &["the guest has come to its end: Kernel panic - not syncing: sysrq triggered crash", "sysrq: Trigger a crash"],
)]
#[case::hangs(
    &[(MACHINE, CLOUD_CONFIG, "            bootcmd: ['sleep 2; echo waiting for nothing > /dev/ttyS0; sleep 1000']\n"),
      (SCENARIO, "login: 60s", "login: 12s")],
    &["nobody could log in within 12s; the console waited for a login prompt or a shell", "waiting for nothing", "`timeouts: {login: …}`"],
)]
fn a_guest_that_lets_nobody_in(#[case] edits: &[Edit<'_>], #[case] wanted: &[&str]) {
    needs_lab!();
    let told = Bench::new(edits).fails(&[]);
    has(&told, wanted);
    has(
        &told,
        &[
            "vm/blue/guest cannot be asked",
            "the console showed last:",
            "scenario.yaml:14:5",
        ],
    );
    assert!(!told.contains("^C"), "{told}");
}

/// A guest that panics while a command runs in it: the command is not run again in the one that comes after it.
#[test]
fn a_guest_that_dies_of_a_command() {
    needs_lab!();
    let crash = "exec: sudo sh -c 'echo c > /proc/sysrq-trigger'";
    let told = Bench::new(&[(SCENARIO, "exec: uname", crash)]).fails(&[]);
    has(
        &told,
        &["the guest has come to its end: Kernel panic - not syncing: sysrq triggered crash"],
    );
}

/// An image that is one, but no disk.
#[test]
fn an_image_without_a_disk() {
    needs_lab!();
    let bench = Bench::new(&[(
        MACHINE,
        "quay.io/containerdisks/fedora:41",
        "example.test/no-disk:1",
    )]);
    let layer = Layer::new().program("readme", b"no disk here").done();
    let archive = archives::docker("example.test/no-disk:1", &[layer], &json!({}));
    let images = bench.dir.path().join("images");
    fs::create_dir(&images).expect("a directory");
    fs::write(images.join("no-disk.tar"), archive.done()).expect("an archive");
    let told = bench.fails(&["--images", images.to_str().expect("a path")]);
    has(
        &told,
        &[
            "vm/blue/guest cannot get there any more",
            "example.test/no-disk:1 is no container disk: it must have one file in /disk, and has ",
        ],
    );
}
