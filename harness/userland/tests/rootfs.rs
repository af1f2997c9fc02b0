//! Builds the real root file systems, and meets what can go wrong on the way.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::Command;
use std::sync::Mutex;

use trunkline_userland::{Cache, RootKind, rootfs};

fn missing() -> Option<&'static str> {
    let has = |program: &str| {
        Command::new(program)
            .arg("--version")
            .output()
            .is_ok_and(|output| output.status.success())
    };
    if !has("mmdebstrap") {
        return Some("mmdebstrap is not installed");
    }
    if !Path::new("/usr/share/keyrings/debian-archive-keyring.gpg").exists() {
        return Some("debian-archive-keyring is not installed");
    }
    None
}

#[tokio::test]
async fn both_are_built_and_found_again() {
    if let Some(reason) = missing() {
        println!("skipped: {reason}");
        return;
    }
    // The user's own cache: what is there is checked, what is not there is built once.
    let cache = Cache::locate().unwrap();
    for kind in [RootKind::Lab, RootKind::Workload] {
        let phases = Mutex::new(Vec::new());
        let built = rootfs::ensure(&cache, kind, &|progress| {
            println!("{progress:?}");
            phases.lock().unwrap().push(progress.phase);
        })
        .await
        .unwrap();
        assert!(built.path.join("usr/bin/busybox").is_file());
        assert_eq!(rootfs::find(&cache, kind).unwrap(), Some(built.clone()));

        let started = std::time::Instant::now();
        let again = rootfs::ensure(&cache, kind, &|progress| panic!("{progress:?}")).await;
        assert_eq!(again.unwrap(), built);
        assert!(
            started.elapsed().as_millis() < 200,
            "{:?}",
            started.elapsed()
        );
    }
}
