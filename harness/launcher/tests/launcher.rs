//! The program, with real children.

#![allow(clippy::unwrap_used, reason = "a helper of a test may too")]

use std::io::{IoSlice, Read, Seek, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use trunkline_launcher::{Lines, Order, Report, SOCKET, encode};

struct Launcher {
    child: Child,
    dir: tempfile::TempDir,
}

struct Handler {
    stream: UnixStream,
    lines: Lines,
}

impl Launcher {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("sockets")).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_virt-launcher"))
            .args(["--name", "tiny", "--run-as-nonroot", "--kubevirt-share-dir"])
            .arg(dir.path())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self { child, dir }
    }

    fn connect(&self) -> Handler {
        let path = self.dir.path().join(SOCKET);
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            match UnixStream::connect(&path) {
                Ok(stream) => {
                    stream
                        .set_read_timeout(Some(Duration::from_secs(10)))
                        .unwrap();
                    return Handler {
                        stream,
                        lines: Lines::default(),
                    };
                }
                Err(error) if Instant::now() > deadline => panic!("{}: {error}", path.display()),
                Err(_) => std::thread::sleep(Duration::from_millis(2)),
            }
        }
    }

    fn terminate(&self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    }

    fn end(mut self) -> (Option<i32>, String) {
        let deadline = Instant::now() + Duration::from_secs(10);
        let status = loop {
            match self.child.try_wait().unwrap() {
                Some(status) => break status,
                None if Instant::now() > deadline => {
                    self.child.kill().unwrap();
                    panic!("it does not end");
                }
                None => std::thread::sleep(Duration::from_millis(2)),
            }
        };
        let mut text = String::new();
        self.child
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut text)
            .unwrap();
        (status.code(), text)
    }
}

impl Handler {
    fn order(&self, order: &Order, files: &[BorrowedFd<'_>]) {
        let line = encode(order).unwrap();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(16))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !files.is_empty() {
            assert!(ancillary.push(SendAncillaryMessage::ScmRights(files)));
        }
        let sent = sendmsg(
            &self.stream,
            &[IoSlice::new(&line)],
            &mut ancillary,
            SendFlags::empty(),
        );
        assert_eq!(sent.unwrap(), line.len());
    }

    fn start(&self, script: &str, files: &[(i32, BorrowedFd<'_>)]) {
        let order = Order::Start {
            command: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
            files: files.iter().map(|(number, _)| *number).collect(),
        };
        let files: Vec<_> = files.iter().map(|(_, file)| *file).collect();
        self.order(&order, &files);
    }

    fn report(&mut self) -> Option<Report> {
        loop {
            if let Some(report) = self.lines.take() {
                return Some(report.unwrap());
            }
            let mut bytes = [0; 1024];
            match self.stream.read(&mut bytes).unwrap() {
                0 => return None,
                count => self.lines.push(&bytes[..count]),
            }
        }
    }

    fn started(&mut self) -> u32 {
        match self.report() {
            Some(Report::Started { pid }) => pid,
            other => panic!("{other:?}"),
        }
    }

    fn ended(&mut self) -> trunkline_launcher::Exit {
        match self.report() {
            Some(Report::Ended(exit)) => exit,
            other => panic!("{other:?}"),
        }
    }
}

/// What a child of this process has open anyway, the folder it lists included.
fn inherited() -> Vec<i32> {
    let output = Command::new("ls")
        .arg("/proc/self/fd")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.split_whitespace()
        .map(|number| number.parse().unwrap())
        .collect()
}

#[test]
fn files_arrive_at_their_numbers() {
    let launcher = Launcher::start();
    let mut handler = launcher.connect();
    let mut files: Vec<_> = (0..3)
        .map(|n| {
            let mut file = tempfile::tempfile().unwrap();
            writeln!(file, "file {n}").unwrap();
            file.rewind().unwrap();
            file
        })
        .collect();
    let wanted: Vec<_> = [103, 100, 299]
        .into_iter()
        .zip(files.iter().map(AsFd::as_fd))
        .collect();
    // Beside them only what `ls` opens itself.
    handler.start("cat /proc/self/fd/103 /proc/self/fd/100 /proc/self/fd/299 >&2; ls /proc/self/fd | sort -n | tr '\\n' ' ' >&2; exit 7", &wanted);
    assert!(handler.started() > 0);
    let exit = handler.ended();
    assert_eq!((exit.code, exit.signal), (Some(7), None));
    let (contents, open) = exit.stderr.rsplit_once('\n').unwrap();
    assert_eq!(contents, "file 0\nfile 1\nfile 2");
    let mut expected = inherited();
    expected.extend([100, 103, 299]);
    expected.sort_unstable();
    let open: Vec<i32> = open
        .split(' ')
        .map(|number| number.parse().unwrap())
        .collect();
    assert_eq!(open, expected);
    files.clear();
    drop(handler);
    let (code, log) = launcher.end();
    assert_eq!(code, Some(0));
    assert!(log.starts_with("file 0\n"), "{log}");
}

#[test]
fn a_killed_machine_is_told_as_killed() {
    let launcher = Launcher::start();
    let mut handler = launcher.connect();
    handler.start("exec sleep 1000", &[]);
    handler.started();
    handler.order(&Order::Kill, &[]);
    let exit = handler.ended();
    assert_eq!((exit.code, exit.signal), (None, Some(9)));
    drop(handler);
    assert_eq!(launcher.end().0, Some(0));
}

#[test]
fn the_launcher_stays_until_the_handler_has_hung_up() {
    let mut launcher = Launcher::start();
    let mut handler = launcher.connect();
    handler.start("true", &[]);
    handler.started();
    handler.ended();
    std::thread::sleep(Duration::from_millis(50));
    assert!(launcher.child.try_wait().unwrap().is_none());
    drop(handler);
    assert_eq!(launcher.end().0, Some(0));
}

#[test]
fn a_pod_that_is_to_end_is_the_handlers_business() {
    let launcher = Launcher::start();
    let mut handler = launcher.connect();
    handler.start("exec sleep 1000", &[]);
    handler.started();
    launcher.terminate();
    assert_eq!(handler.report(), Some(Report::Terminating));
    // Twice, as kubelets may.
    launcher.terminate();
    assert_eq!(handler.report(), Some(Report::Terminating));
    handler.order(&Order::Kill, &[]);
    assert_eq!(handler.ended().signal, Some(9));
    drop(handler);
    assert_eq!(launcher.end().0, Some(0));
}

#[test]
fn without_a_machine_it_ends_at_once() {
    let launcher = Launcher::start();
    let mut handler = launcher.connect();
    // It is listening, so it takes signals already.
    launcher.terminate();
    assert_eq!(handler.report(), None);
    assert_eq!(launcher.end().0, Some(0));
}

#[test]
fn when_the_handler_dies_the_machine_dies() {
    let launcher = Launcher::start();
    let mut handler = launcher.connect();
    handler.start("exec sleep 1000", &[]);
    let pid = handler.started();
    drop(handler);
    let (code, log) = launcher.end();
    assert_eq!(code, Some(0));
    assert!(log.contains("virt-handler is gone"), "{log}");
    assert!(!Path::new(&format!("/proc/{pid}")).exists());
}

#[test]
fn orders_that_cannot_be_followed_are_refused() {
    let launcher = Launcher::start();
    let mut handler = launcher.connect();
    let refusal = |report| match report {
        Some(Report::Refused { reason }) => reason,
        other => panic!("{other:?}"),
    };
    let missing = Order::Start {
        command: vec!["/nowhere/qemu".to_owned()],
        files: Vec::new(),
    };
    handler.order(&missing, &[]);
    assert!(refusal(handler.report()).contains("cannot start /nowhere/qemu"));
    let file = tempfile::tempfile().unwrap();
    handler.start("true", &[(5, file.as_fd())]);
    assert!(refusal(handler.report()).contains("5 cannot be the number"));
    handler.start("exec sleep 1000", &[]);
    handler.started();
    handler.start("true", &[]);
    assert!(refusal(handler.report()).contains("started before"));
    // A second handler is hung up on and changes nothing.
    let mut second = launcher.connect();
    assert_eq!(second.report(), None);
    handler.order(&Order::Kill, &[]);
    handler.ended();
    drop(handler);
    assert_eq!(launcher.end().0, Some(0));
}

#[test]
fn what_is_no_order_ends_the_connection_and_the_machine() {
    let launcher = Launcher::start();
    let mut handler = launcher.connect();
    handler.start("exec sleep 1000", &[]);
    handler.started();
    (&handler.stream).write_all(b"{\"start\":1}\n").unwrap();
    assert_eq!(launcher.end().0, Some(0));
}
