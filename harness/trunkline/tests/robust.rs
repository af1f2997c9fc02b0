//! A lab leaves nothing behind, however it ends.

mod common;

use std::{collections::BTreeSet, fs, time::Duration};

use common::{Lab, host_lacks, trunkline};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

const ROUNDS: u32 = 20;

/// What a lab could leave: processes, network interfaces and namespaces, mounts, cgroups.
#[derive(Debug, PartialEq, Eq)]
struct Traces {
    processes: BTreeSet<String>,
    interfaces: BTreeSet<String>,
    mounts: BTreeSet<String>,
    cgroups: BTreeSet<String>,
    namespaces: BTreeSet<String>,
}

impl Traces {
    fn now() -> Self {
        let ours = ["ovs-vswitchd", "ovsdb-server", "ovn-northd", "ovn-controller", "runc", "trunkline"];
        let mut processes = BTreeSet::new();
        let mut namespaces = BTreeSet::new();
        for entry in fs::read_dir("/proc").expect("/proc").flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
            let Ok(name) = fs::read_to_string(entry.path().join("comm")) else { continue };
            if ours.contains(&name.trim()) {
                processes.insert(format!("{pid} {}", name.trim()));
            }
            for kind in ["net", "mnt", "pid"] {
                if let Ok(namespace) = fs::read_link(entry.path().join("ns").join(kind)) {
                    namespaces.insert(namespace.display().to_string());
                }
            }
        }
        let names = |path: &str| -> BTreeSet<String> {
            let entries = fs::read_dir(path).into_iter().flatten().flatten();
            entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
        };
        let mounts = fs::read_to_string("/proc/self/mountinfo").expect("mountinfo").lines().map(str::to_owned).collect();
        let cgroups = ["/sys/fs/cgroup", "/sys/fs/cgroup/devices", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/pids"]
            .iter()
            .flat_map(|path| names(path))
            .collect();
        Self { processes, interfaces: names("/sys/class/net"), mounts, cgroups, namespaces }
    }
}

#[test]
fn killed_at_any_moment_it_leaves_nothing() {
    if let Some(reason) = host_lacks() {
        eprintln!("skipped: {reason}");
        return;
    }
    let before = Traces::now();
    for round in 0..ROUNDS {
        // From before the first namespace exists to the middle of the scenario.
        let delay = Duration::from_millis(u64::from(round * 97 + rand::random_range(0..97)));
        let mut run = trunkline()
            .args(["run", "scenarios/overlay/ipam-pods.yaml", "--quiet"])
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .expect("trunkline runs");
        // A lab of which somebody holds this file is not gone; `wait_gone` needs no list of processes.
        std::thread::sleep(delay);
        let pid = Pid::from_raw(i32::try_from(run.id()).expect("a process id"));
        let family = common::family(pid);
        // It may have finished by then, which is a moment like any other.
        let _ = kill(pid, Signal::SIGKILL);
        run.wait().expect("it was ours");
        for process in family {
            process.wait_gone(Duration::from_secs(5)).unwrap_or_else(|told| panic!("round {round}, after {delay:?}: {told}"));
        }
        assert_eq!(Traces::now(), before, "round {round}, killed after {delay:?}");
    }
}

#[test]
fn two_labs_run_side_by_side() {
    if let Some(reason) = host_lacks() {
        eprintln!("skipped: {reason}");
        return;
    }
    let (one, two) = (Lab::up("side-one"), Lab::up("side-two"));
    for lab in [&one, &two] {
        let list = trunkline().args(["list", "--labs", "--json"]).output().expect("trunkline runs");
        let labs: Vec<serde_json::Value> = serde_json::from_slice(&list.stdout).expect("JSON");
        assert!(labs.iter().any(|up| up["name"] == lab.name()), "{} is not listed: {labs:?}", lab.name());
    }
    assert_ne!(one.kubeconfig(), two.kubeconfig());
    drop(one);
    // The other one is none the worse for it.
    let nodes = two.get("/api/v1/nodes");
    assert_eq!(nodes["items"].as_array().map(Vec::len), Some(3), "{nodes}");
}

#[test]
fn down_ends_a_lab_and_its_files() {
    if let Some(reason) = host_lacks() {
        eprintln!("skipped: {reason}");
        return;
    }
    let lab = Lab::up("downed");
    let kubeconfig = lab.kubeconfig();
    assert!(kubeconfig.exists());
    drop(lab);
    assert!(!kubeconfig.exists(), "{} is still there", kubeconfig.display());
}
