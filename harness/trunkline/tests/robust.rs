//! A lab leaves nothing behind, however it ends.

mod common;

use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader, Read},
    process::{Child, Command, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use common::{
    Lab,
    process::{
        Process, Traces, adopt_orphans, family, namespaces, namespaces_in_use, soon, wait_childless,
    },
    trunkline,
};
use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
    sys::signal::{Signal, kill},
    unistd::{Pid, geteuid},
};
use tempfile::TempDir;

const ROUNDS: u32 = 20;

/// The kernel needs a moment to take a lab apart.
const LIMIT: Duration = Duration::from_secs(10);

/// These tests account for every child of their process, so they take turns.
fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A place where everything that happens is trunkline's doing: a scratch directory, and for root namespaces of this
/// thread, so that nobody else's interfaces and mounts come into view.
struct Room {
    scratch: TempDir,
    before: Traces,
    _turn: MutexGuard<'static, ()>,
}

impl Room {
    fn enter() -> Self {
        let turn = alone();
        adopt_orphans();
        if geteuid().is_root() {
            unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS)
                .expect("root may have namespaces");
            mount(
                None::<&str>,
                "/",
                None::<&str>,
                MsFlags::MS_REC | MsFlags::MS_PRIVATE,
                None::<&str>,
            )
            .expect("mounts can be made private");
            let up = Command::new("ip")
                .args(["link", "set", "lo", "up"])
                .status();
            assert!(
                up.expect("ip runs").success(),
                "the loopback interface comes up"
            );
        }
        let scratch = tempfile::tempdir().expect("a temporary directory");
        let before = Traces::now(scratch.path());
        Self {
            scratch,
            before,
            _turn: turn,
        }
    }

    fn trunkline(&self) -> Command {
        let mut command = trunkline();
        command
            .env("XDG_RUNTIME_DIR", self.scratch.path())
            .env("TMPDIR", self.scratch.path());
        command
    }

    fn run(&self) -> Child {
        self.trunkline()
            .args(["run", "scenarios/overlay/ipam-pods.yaml", "--quiet"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("trunkline runs")
    }

    /// That no lab has a file left. The place of labs stays; it goes here, so that the room is as it was.
    fn assert_swept(&self) {
        let home = self.scratch.path().join("trunkline");
        let left: Vec<_> = std::fs::read_dir(&home)
            .expect("the place of labs stays")
            .collect();
        assert!(left.is_empty(), "{left:?}");
        std::fs::remove_dir(home).expect("it is empty");
    }

    /// That nothing is left: no process, no namespace of those processes, no interface, mount or file.
    fn assert_empty(&self, family: &[Process], namespaces: &BTreeSet<String>, when: &str) {
        for process in family {
            process
                .wait_gone(LIMIT)
                .unwrap_or_else(|told| panic!("{when}: {told}"));
        }
        wait_childless(LIMIT).unwrap_or_else(|told| panic!("{when}: {told}"));
        let used = namespaces_in_use();
        let left: Vec<_> = namespaces.intersection(&used).collect();
        assert!(
            left.is_empty(),
            "{when}: namespaces {left:?} are still in use"
        );
        let now = Traces::now(self.scratch.path());
        assert_eq!(now.since(&self.before), Vec::<&String>::new(), "{when}");
    }
}

fn pid(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).expect("a process id"))
}

/// The namespaces of these processes that are not this thread's own.
fn own_namespaces(family: &[Process]) -> BTreeSet<String> {
    let here = namespaces("thread-self");
    let theirs = family
        .iter()
        .flat_map(|process| namespaces(&process.pid.to_string()));
    theirs
        .filter(|namespace| !here.contains(namespace))
        .collect()
}

/// Labs stay out of the machine's control groups: theirs would outlive them.
fn assert_no_cgroups(family: &[Process], when: &str) {
    let ours = Process::open(Pid::this())
        .and_then(|this| this.cgroups())
        .expect("this process lives");
    for process in family {
        for group in process.cgroups().unwrap_or_default().lines() {
            // The kernel moves what has died to the root of every hierarchy.
            let dead = group.ends_with(":/");
            assert!(
                dead || ours.lines().any(|our| our == group),
                "{when}: process {} has a control group of its own, {group}",
                process.pid
            );
        }
    }
}

#[test]
fn killed_at_any_moment_it_leaves_nothing() {
    needs_lab!();
    let room = Room::enter();
    let started = Instant::now();
    assert!(
        room.run().wait().expect("it was ours").success(),
        "the scenario passes when it is left alone"
    );
    let whole = started.elapsed();
    room.assert_empty(&[], &BTreeSet::new(), "left alone");
    let mut alive = 0;
    for round in 0..ROUNDS {
        // Somewhere in each twentieth of its life, from before the first namespace exists to the goodbye.
        let delay =
            whole.mul_f64((f64::from(round) + rand::random_range(0.0..1.0)) / f64::from(ROUNDS));
        let mut run = room.run();
        std::thread::sleep(delay);
        let family = family(pid(&run));
        let namespaces = own_namespaces(&family);
        let when = format!(
            "round {round}, killed after {delay:?} with {} processes",
            family.len()
        );
        alive += usize::from(family.len() > 2);
        assert_no_cgroups(&family, &when);
        // It may have finished by then, which is a moment like any other.
        let _ = kill(pid(&run), Signal::SIGKILL);
        run.wait().expect("it was ours");
        room.assert_empty(&family, &namespaces, &when);
    }
    assert!(
        alive > ROUNDS as usize / 2,
        "only {alive} of {ROUNDS} rounds had a lab to end"
    );
}

#[test]
fn interrupted_it_says_so_and_leaves_nothing() {
    needs_lab!();
    let room = Room::enter();
    let started = Instant::now();
    assert!(
        room.run().wait().expect("it was ours").success(),
        "the scenario passes when it is left alone"
    );
    let whole = started.elapsed();
    // While the lab starts, and in the middle of the scenario; machines differ.
    for (signal, part) in [
        (Signal::SIGINT, 0.1),
        (Signal::SIGINT, 0.4),
        (Signal::SIGTERM, 0.6),
    ] {
        let mut run = room.run();
        let delay = whole.mul_f64(part);
        std::thread::sleep(delay);
        let family = family(pid(&run));
        let namespaces = own_namespaces(&family);
        let when = format!("{signal} after {delay:?}");
        kill(pid(&run), signal).expect("it runs");
        assert_eq!(run.wait().expect("it was ours").code(), Some(130), "{when}");
        room.assert_empty(&family, &namespaces, &when);
    }
}

#[test]
fn a_lab_that_dies_breaks_the_run() {
    needs_lab!();
    let room = Room::enter();
    let junit = room.scratch.path().join("junit.xml");
    let mut run = room
        .trunkline()
        .args(["run", "scenarios/overlay/ipam-pods.yaml", "--junit"])
        .arg(&junit)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("trunkline runs");
    let mut report = BufReader::new(run.stdout.take().expect("it is piped"));
    let mut told = String::new();
    while !told.contains('✓') {
        let read = report.read_line(&mut told).expect("text");
        assert!(read > 0, "a step passes first:\n{told}");
    }
    let family = family(pid(&run));
    let namespaces = own_namespaces(&family);
    // The first process of the lab's own namespace of processes.
    kill(
        family.first().expect("a lab runs by then").pid,
        Signal::SIGKILL,
    )
    .expect("it lives");
    report.read_to_string(&mut told).expect("text");
    let status = run.wait().expect("it was ours");
    assert_eq!(status.code(), Some(4), "{told}");
    assert!(
        told.contains("the site is gone") && told.contains("SIGKILL"),
        "{told}"
    );
    let report = std::fs::read_to_string(&junit).expect("a report");
    assert!(
        report.contains("<error message=\"the site is gone\""),
        "{report}"
    );
    std::fs::remove_file(junit).expect("it was ours");
    room.assert_empty(&family, &namespaces, "the lab was killed");
}

#[test]
fn a_killed_supervisor_leaves_files_that_the_next_command_sweeps() {
    needs_lab!();
    let room = Room::enter();
    let lab = Lab::up_in(room.scratch.path(), "killed");
    let record = lab.listed().expect("the lab is listed");
    let supervisor = Pid::from_raw(
        i32::try_from(record["pid"].as_i64().expect("a process id")).expect("in range"),
    );
    let family = family(supervisor);
    let namespaces = own_namespaces(&family);
    assert!(!namespaces.is_empty(), "a lab has namespaces");
    assert_no_cgroups(&family, "up");
    kill(supervisor, Signal::SIGKILL).expect("it lives");
    for process in &family {
        process
            .wait_gone(LIMIT)
            .expect("the lab ends with its supervisor");
    }
    wait_childless(LIMIT).expect("nobody is left");
    assert!(lab.kubeconfig().exists(), "nobody was there to remove it");
    assert_eq!(lab.listed(), None, "it is not up");
    room.assert_swept();
    room.assert_empty(&family, &namespaces, "the supervisor was killed");
}

#[test]
fn a_lab_that_nobody_can_be_told_of_ends() {
    needs_lab!();
    let room = Room::enter();
    let mut up = room.trunkline();
    let mut up = up
        .args(["up"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("trunkline runs");
    let labs = room.scratch.path().join("trunkline");
    soon(LIMIT, || std::fs::read_dir(&labs).ok()?.next()?.ok())
        .expect("its background half starts");
    let family = family(pid(&up));
    assert!(!family.is_empty(), "its background half runs");
    let namespaces = own_namespaces(&family);
    kill(pid(&up), Signal::SIGKILL).expect("it runs");
    up.wait().expect("it was ours");
    wait_childless(LIMIT).expect("the background half ends");
    room.assert_swept();
    room.assert_empty(&family, &namespaces, "up was killed");
}

#[test]
fn down_ends_a_lab_and_its_files() {
    needs_lab!();
    let room = Room::enter();
    let lab = Lab::up_in(room.scratch.path(), "downed");
    let family = family(Pid::this());
    let namespaces = own_namespaces(&family);
    let nodes = lab.get("/api/v1/nodes");
    assert_eq!(nodes["items"].as_array().map(Vec::len), Some(3), "{nodes}");
    drop(lab);
    room.assert_swept();
    room.assert_empty(&family, &namespaces, "down");
}

#[test]
fn two_labs_run_side_by_side() {
    needs_lab!();
    let _turn = alone();
    let (one, two) = (Lab::up("side-one"), Lab::up("side-two"));
    let (first, second) = (
        one.listed().expect("one is listed"),
        two.listed().expect("two is listed"),
    );
    assert_ne!(first["server"], second["server"]);
    assert_ne!(one.kubeconfig(), two.kubeconfig());
    // The same name again is refused, and hurts nobody.
    let again = trunkline()
        .args(["up", "--name", one.name()])
        .output()
        .expect("trunkline runs");
    assert_eq!(
        again.status.code(),
        Some(2),
        "{}",
        String::from_utf8_lossy(&again.stderr)
    );
    drop(one);
    // The other one is none the worse for it.
    let nodes = two.get("/api/v1/nodes");
    assert_eq!(nodes["items"].as_array().map(Vec::len), Some(3), "{nodes}");
}
