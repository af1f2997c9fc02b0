//! The real virtctl. `TRUNKLINE_VIRTCTL` names it; without it these tests say that they did nothing.

use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;
use tokio::time::timeout;

use crate::site::{Site, site};

const PATIENCE: Duration = Duration::from_secs(30);

struct Virtctl {
    program: PathBuf,
    home: tempfile::TempDir,
    site: Site,
}

impl Virtctl {
    async fn new() -> Option<Self> {
        let Some(program) = std::env::var_os("TRUNKLINE_VIRTCTL") else {
            eprintln!("skipped: TRUNKLINE_VIRTCTL names no virtctl");
            return None;
        };
        let site = site().await;
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("kubeconfig"), site.kubeconfig()).unwrap();
        Some(Self {
            program: program.into(),
            home,
            site,
        })
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(arguments)
            .env("HOME", self.home.path())
            .env("KUBECONFIG", self.home.path().join("kubeconfig"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    async fn output(&self, arguments: &[&str]) -> Output {
        timeout(PATIENCE, self.command(arguments).output())
            .await
            .expect("virtctl ends")
            .unwrap()
    }

    /// What it says when all goes well.
    async fn ok(&self, arguments: &[&str]) -> String {
        let output = self.output(arguments).await;
        let said = String::from_utf8(output.stdout).unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{arguments:?}: {said}{error}");
        said
    }

    /// What it complains of.
    async fn refused(&self, arguments: &[&str]) -> String {
        let output = self.output(arguments).await;
        assert!(!output.status.success(), "{arguments:?}");
        String::from_utf8(output.stderr).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn virtctl_switches_machines() {
    let Some(virtctl) = Virtctl::new().await else {
        return;
    };
    let site = &virtctl.site;
    let said = virtctl.ok(&["version"]).await;
    let versions: Vec<&str> = said.matches("GitVersion:\"v1.8.4\"").collect();
    assert_eq!(versions.len(), 2, "client and server: {said}");

    let stopped = json!({"printableStatus": "Stopped"});
    site.machine("m", json!({"runStrategy": "Halted"}), stopped)
        .await;
    assert_eq!(
        virtctl.ok(&["start", "m"]).await,
        "VM m was scheduled to start\n"
    );
    let vm = site.get("virtualmachines", "m").await;
    assert_eq!(vm["spec"]["runStrategy"], "Always");
    let uid = site.running("m").await;
    let refused = virtctl.refused(&["start", "m"]).await;
    assert!(refused.contains("VM is already running"), "{refused}");
    assert_eq!(
        virtctl.ok(&["restart", "m"]).await,
        "VM m was scheduled to restart\n"
    );
    let vm = site.get("virtualmachines", "m").await;
    assert_eq!(
        vm["status"]["stateChangeRequests"],
        json!([{"action": "Stop", "uid": uid}, {"action": "Start"}])
    );
    assert_eq!(
        virtctl.ok(&["stop", "m"]).await,
        "VM m was scheduled to stop\n"
    );
    let vm = site.get("virtualmachines", "m").await;
    assert_eq!(vm["spec"]["runStrategy"], "Halted");
    assert_eq!(
        virtctl.ok(&["migrate", "m"]).await,
        "VM m was scheduled to migrate\n"
    );
    let refused = virtctl.refused(&["stop", "nope"]).await;
    assert!(
        refused.contains("virtualmachine.kubevirt.io \"nope\" not found"),
        "{refused}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn virtctl_acts_on_instances_and_reads_guests() {
    let Some(virtctl) = Virtctl::new().await else {
        return;
    };
    let site = &virtctl.site;
    let uid = site.running("tiny").await;
    for (arguments, call) in [
        (&["pause", "vmi", "tiny"][..], "pause"),
        (&["soft-reboot", "tiny"], "softreboot"),
        (&["reset", "tiny"], "reset"),
    ] {
        virtctl.ok(arguments).await;
        assert_eq!(
            site.machines.taken(),
            [format!("{call} default/tiny {uid}")]
        );
    }
    let refused = virtctl.refused(&["unpause", "vmi", "tiny"]).await;
    assert!(refused.contains("VMI is not paused"), "{refused}");
    let info: Value = serde_json::from_str(&virtctl.ok(&["guestosinfo", "tiny"]).await).unwrap();
    assert_eq!(info["guestAgentVersion"], "7.2.22");
    let users: Value = serde_json::from_str(&virtctl.ok(&["userlist", "tiny"]).await).unwrap();
    assert_eq!(users["items"][0]["userName"], "fedora");
    let systems = virtctl.ok(&["fslist", "tiny"]).await;
    let systems: Value = serde_json::from_str(&systems).unwrap();
    assert_eq!(systems["items"][0]["mountPoint"], "/");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn virtctl_has_a_console() {
    let Some(virtctl) = Virtctl::new().await else {
        return;
    };
    let uid = virtctl.site.running("tiny").await;
    let console = ["console", "tiny", "--timeout", "1"];
    let mut first = virtctl
        .command(&console)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut typed = first.stdin.take().unwrap();
    let mut shown = first.stdout.take().unwrap();
    typed.write_all(b"uname -a\r").await.unwrap();
    typed.flush().await.unwrap();
    let mut echoed = [0; 9];
    timeout(PATIENCE, shown.read_exact(&mut echoed))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(&echoed, b"uname -a\r");
    // A second one takes the console away.
    let mut second = virtctl
        .command(&console)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let ended = timeout(PATIENCE, first.wait_with_output())
        .await
        .unwrap()
        .unwrap();
    let complaint = String::from_utf8(ended.stderr).unwrap();
    assert!(
        complaint.contains("You were disconnected from the console"),
        "{complaint}"
    );
    // The way out is Ctrl+].
    let mut typed = second.stdin.take().unwrap();
    let mut shown = second.stdout.take().unwrap();
    typed.write_all(b"x").await.unwrap();
    typed.flush().await.unwrap();
    let mut echoed = [0; 1];
    timeout(PATIENCE, shown.read_exact(&mut echoed))
        .await
        .unwrap()
        .unwrap();
    typed.write_all(b"\x1d").await.unwrap();
    typed.flush().await.unwrap();
    let ended = timeout(PATIENCE, second.wait()).await.unwrap().unwrap();
    assert!(ended.success());
    let calls = virtctl.site.machines.taken();
    assert_eq!(calls, vec![format!("console default/tiny {uid}"); 2]);
    // What has no console yet is asked for again until the time is up.
    virtctl
        .site
        .instance("new", json!({}), json!({"phase": "Scheduling"}))
        .await;
    let refused = virtctl.refused(&["console", "new", "--timeout", "0"]).await;
    assert!(!refused.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn virtctl_forwards_ports() {
    let Some(virtctl) = Virtctl::new().await else {
        return;
    };
    virtctl.site.running("tiny").await;
    let arguments = ["port-forward", "--stdio=true", "vmi/tiny", "80"];
    let mut child = virtctl
        .command(&arguments)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut asked = child.stdin.take().unwrap();
    asked.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
    asked.flush().await.unwrap();
    let mut shown = child.stdout.take().unwrap();
    let mut answer = [0; 21];
    timeout(PATIENCE, shown.read_exact(&mut answer))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(&answer, b"hello from the guest\n");
    let refused = virtctl.refused(&["vnc", "tiny", "--proxy-only"]).await;
    assert!(
        refused.contains("No graphics devices are present."),
        "{refused}"
    );
}
