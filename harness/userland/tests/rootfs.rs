//! Builds the real root file systems, and meets what can go wrong on the way.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use trunkline_userland::contain::{self, Identity, Stop};
use trunkline_userland::{Cache, RootFsError, RootKind, rootfs};

/// The mirror is configured by an environment variable, so one test of this program at a time
/// changes it, in a process of its own.
const CHILD: &str = "TRUNKLINE_TEST_ROOTFS_CHILD";

fn missing() -> Option<String> {
    let has = |program: &str| {
        Command::new(program)
            .arg("--version")
            .output()
            .is_ok_and(|output| output.status.success())
    };
    if !has("mmdebstrap") {
        return Some("mmdebstrap is not installed".to_owned());
    }
    if !Path::new("/usr/share/keyrings/debian-archive-keyring.gpg").exists() {
        return Some("debian-archive-keyring is not installed".to_owned());
    }
    Identity::current().err().map(|error| error.to_string())
}

macro_rules! needs_mmdebstrap {
    () => {
        if let Some(reason) = missing() {
            println!("skipped: {reason}");
            return;
        }
    };
}

/// The user's own cache: what is there is checked, what is not there is built once.
async fn both() -> (Cache, [PathBuf; 2]) {
    let cache = Cache::locate().unwrap();
    let lab = rootfs::ensure(&cache, RootKind::Lab, &|_| {})
        .await
        .unwrap();
    let workload = rootfs::ensure(&cache, RootKind::Workload, &|_| {})
        .await
        .unwrap();
    (cache, [lab.path, workload.path])
}

#[tokio::test]
async fn both_are_built_and_found_again() {
    needs_mmdebstrap!();
    let (cache, paths) = both().await;
    for (kind, path) in [RootKind::Lab, RootKind::Workload].into_iter().zip(paths) {
        assert_eq!(rootfs::find(&cache, kind).unwrap().unwrap().path, path);
        let started = Instant::now();
        let again = rootfs::ensure(&cache, kind, &|progress| panic!("{progress:?}")).await;
        assert_eq!(again.unwrap().path, path);
        assert!(
            started.elapsed().as_millis() < 300,
            "{:?}",
            started.elapsed()
        );

        let manifest: rootfs::Manifest =
            serde_json::from_slice(&fs::read(path.with_file_name("manifest.json")).unwrap())
                .unwrap();
        assert_eq!(manifest.release, "trixie");
        assert!(manifest.packages.contains_key("busybox-static"));
        assert!(manifest.entries > 1_000, "{}", manifest.entries);
        // Nothing that would have to be mounted over or cleaned is left.
        assert_eq!(fs::read_dir(path.join("dev")).unwrap().count(), 0);
        assert_eq!(fs::read_dir(path.join("proc")).unwrap().count(), 0);
    }
}

/// What travels in images says nothing about the machine that they were made on.
#[tokio::test]
async fn workloads_do_not_know_where_they_come_from() {
    needs_mmdebstrap!();
    let (_, [_, workload]) = both().await;
    for path in ["etc/apt", "var/lib/apt", "etc/machine-id"] {
        assert!(!workload.join(path).exists(), "{path}");
    }
    for path in ["etc/resolv.conf", "etc/hostname"] {
        assert_eq!(fs::read(workload.join(path)).unwrap(), b"", "{path}");
    }
}

#[tokio::test]
async fn the_lab_has_what_the_lab_runs() {
    needs_mmdebstrap!();
    let (_, [lab, workload]) = both().await;
    let manifest: rootfs::Manifest =
        serde_json::from_slice(&fs::read(lab.with_file_name("manifest.json")).unwrap()).unwrap();
    assert!(
        manifest.packages["ovn-common"].starts_with("25.03"),
        "{:?}",
        manifest.packages
    );
    assert!(manifest.packages["openvswitch-switch"].starts_with("3.5"));
    for program in [
        "usr/sbin/runc",
        "usr/sbin/ovs-vswitchd",
        "usr/bin/ovn-controller",
        "usr/bin/ip",
    ] {
        assert!(lab.join(program).exists(), "{program}");
    }
    for program in [
        "usr/bin/curl",
        "usr/bin/dig",
        "usr/bin/psql",
        "usr/bin/iperf3",
        "usr/bin/sh",
    ] {
        assert!(workload.join(program).exists(), "{program}");
    }
}

#[test]
fn what_runs_contained_can_mount_and_ends_with_us() {
    let identity = match Identity::current() {
        Ok(identity) => identity,
        Err(error) => {
            println!("skipped: {error}");
            return;
        }
    };
    let directory = tempfile::tempdir().unwrap();
    let script = "test $(id -u) = 0 && test $$ -lt 10 && mount -t tmpfs tmpfs \"$1\" && touch \"$1/inside\" && ls \"$1\"";
    let argv = ["sh", "-c", script, "sh"].map(OsString::from);
    let argv = [&argv[..], &[directory.path().into()]].concat();
    let (status, output) = contain::run(&identity, &argv, &Stop::default()).unwrap();
    assert!(status.success(), "{output}");
    assert_eq!(output, "inside\n");
    assert_eq!(
        fs::read_dir(directory.path()).unwrap().count(),
        0,
        "the mount is gone"
    );

    let stop = Stop::default();
    let guard = stop.on_drop();
    let started = Instant::now();
    let sleeper = {
        let (identity, stop) = (identity.clone(), stop.clone());
        thread::spawn(move || contain::run(&identity, &["sleep".into(), "60".into()], &stop))
    };
    drop(guard);
    let ended = sleeper.join().unwrap();
    assert!(started.elapsed() < Duration::from_secs(30));
    assert!(!ended.is_ok_and(|(status, _)| status.success()));
}

/// Runs one test of this program again with other surroundings; its output.
fn again(test: &str, environment: &[(&str, &str)]) -> String {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(CHILD, "1")
        .envs(environment.iter().copied())
        .output()
        .unwrap();
    let told = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(output.status.success(), "{told}");
    told
}

fn is_child() -> bool {
    std::env::var_os(CHILD).is_some()
}

/// The failed build of a fresh cache, and that it left only what is worth keeping.
async fn fails() -> (RootFsError, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let cache = Cache::at(directory.path());
    let error = rootfs::ensure(&cache, RootKind::Lab, &|_| {})
        .await
        .unwrap_err();
    let left: BTreeSet<String> = fs::read_dir(directory.path().join("rootfs"))
        .map(|entries| {
            let names = entries.flatten();
            names
                .map(|entry| entry.file_name().to_string_lossy().into_owned())
                .collect()
        })
        .unwrap_or_default();
    let kept = left
        .iter()
        .all(|name| name == "lab.lock" || name == "lab.log");
    assert!(kept, "{left:?}");
    assert_eq!(rootfs::find(&cache, RootKind::Lab).unwrap(), None);
    (error, directory)
}

#[tokio::test]
async fn a_source_that_refuses_is_named() {
    needs_mmdebstrap!();
    if is_child() {
        println!("says: {}", fails().await.0);
        return;
    }
    let closed = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let mirror = format!("http://{closed}/debian");
    let told = again(
        "a_source_that_refuses_is_named",
        &[("TRUNKLINE_DEBIAN_MIRROR", &mirror)],
    );
    assert!(
        told.contains(&format!(
            "says: the package source {closed} does not answer"
        )),
        "{told}"
    );
    assert!(told.contains("TRUNKLINE_DEBIAN_MIRROR"), "{told}");
}

/// Answers every request the same way.
fn source(answer: impl Fn(TcpStream) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || listener.incoming().flatten().for_each(answer));
    format!("http://{address}/debian")
}

#[tokio::test]
async fn a_source_without_the_release_is_named() {
    needs_mmdebstrap!();
    if is_child() {
        println!("says: {}", fails().await.0);
        return;
    }
    let mirror = source(|mut stream| {
        let mut request = [0; 4096];
        let _read = stream.read(&mut request);
        let _sent = stream
            .write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    });
    let told = again(
        "a_source_without_the_release_is_named",
        &[("TRUNKLINE_DEBIAN_MIRROR", &mirror)],
    );
    assert!(
        told.contains(&format!(
            "says: the package source {mirror} lacks something"
        )),
        "{told}"
    );
}

#[tokio::test]
async fn a_mirror_that_is_no_address_is_refused_at_once() {
    if is_child() {
        println!("says: {}", fails().await.0);
        return;
    }
    let told = again(
        "a_mirror_that_is_no_address_is_refused_at_once",
        &[("TRUNKLINE_DEBIAN_MIRROR", "mirror.example")],
    );
    assert!(
        told.contains("says: TRUNKLINE_DEBIAN_MIRROR is `mirror.example`"),
        "{told}"
    );
}

#[tokio::test]
async fn a_cancelled_build_leaves_no_process_and_no_tree() {
    needs_mmdebstrap!();
    if is_child() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::at(directory.path());
        let begun = tokio::sync::Notify::new();
        let report = |_| begun.notify_one();
        {
            let build = rootfs::ensure(&cache, RootKind::Lab, &report);
            tokio::select! {
                ended = build => panic!("it ended by itself: {ended:?}"),
                () = begun.notified() => {}
            }
        }
        println!("says: dropped");
        return;
    }
    // A source that never answers keeps the build busy until it is cancelled.
    let held = Mutex::new(Vec::new());
    let mirror = source(move |stream| held.lock().unwrap().push(stream));
    let told = again(
        "a_cancelled_build_leaves_no_process_and_no_tree",
        &[("TRUNKLINE_DEBIAN_MIRROR", &mirror)],
    );
    assert!(told.contains("says: dropped"), "{told}");
    let left = Command::new("pgrep").args(["-f", &mirror]).output();
    if let Ok(left) = left {
        let left = String::from_utf8_lossy(&left.stdout).into_owned();
        assert!(left.is_empty(), "still running: {left}");
    }
}

#[tokio::test]
async fn damage_is_noticed_and_named() {
    needs_mmdebstrap!();
    let (_, [lab, _]) = both().await;
    // A cache that holds the manifest of the real one and a tree that lacks everything.
    let directory = tempfile::tempdir().unwrap();
    let name = lab.parent().unwrap().file_name().unwrap();
    let damaged = directory.path().join("rootfs").join(name);
    fs::create_dir_all(damaged.join("root")).unwrap();
    fs::copy(
        lab.with_file_name("manifest.json"),
        damaged.join("manifest.json"),
    )
    .unwrap();
    let cache = Cache::at(directory.path());
    assert_eq!(rootfs::find(&cache, RootKind::Lab).unwrap(), None);

    let said = Mutex::new(None);
    let report = |progress: trunkline_userland::Progress| {
        said.lock().unwrap().get_or_insert(progress.phase);
    };
    // What it says first is enough; building it again is another test's matter.
    let build = rootfs::ensure(&cache, RootKind::Lab, &report);
    tokio::select! {
        biased;
        _ended = build => {}
        () = tokio::task::yield_now() => {}
    }
    let said = said.lock().unwrap().clone().unwrap();
    assert!(said.contains("is missing); building it again"), "{said}");
}
