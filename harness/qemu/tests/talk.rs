//! The monitor and the guest agent, against stand-ins that misbehave as the real ones do.
#![allow(clippy::unwrap_used)]

use std::os::fd::AsFd;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use trunkline_qemu::{AgentError, GuestAgent, Qmp, QmpError, restore, save};

const GREETING: &[u8] = b"{\"QMP\": {\"version\": {}, \"capabilities\": []}}\n";

struct Monitor(BufReader<UnixStream>);

impl Monitor {
    async fn asked(&mut self) -> Value {
        let mut line = String::new();
        self.0.read_line(&mut line).await.unwrap();
        serde_json::from_str(&line).unwrap_or_default()
    }

    async fn say(&mut self, line: &Value) {
        let text = format!("{line}\r\n");
        self.0.get_mut().write_all(text.as_bytes()).await.unwrap();
    }

    async fn agree(&mut self) -> Value {
        let asked = self.asked().await;
        self.say(&json!({"return": {}, "id": asked["id"]})).await;
        asked
    }
}

async fn monitor() -> (Qmp, Monitor) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let mut monitor = Monitor(BufReader::new(theirs));
    monitor.0.get_mut().write_all(GREETING).await.unwrap();
    let (qmp, asked) = tokio::join!(Qmp::connect(ours), monitor.agree());
    assert_eq!(asked["execute"], "qmp_capabilities");
    (qmp.unwrap(), monitor)
}

#[tokio::test]
async fn answers_find_whoever_asked_and_events_are_not_lost() {
    let (qmp, mut monitor) = monitor().await;
    let mut events = qmp.events();
    let stand_in = async {
        let (first, second) = (monitor.asked().await, monitor.asked().await);
        monitor
            .say(&json!({"event": "STOP", "timestamp": {}}))
            .await;
        monitor
            .say(&json!({"return": "second", "id": second["id"]}))
            .await;
        monitor
            .say(&json!({"event": "SHUTDOWN", "data": {"reason": "guest-shutdown"}}))
            .await;
        let error = json!({"class": "GenericError", "desc": "it is no more"});
        monitor
            .say(&json!({"error": error, "id": first["id"]}))
            .await;
    };
    let (first, second, ()) = tokio::join!(
        qmp.execute::<String>("query-first", json!({})),
        qmp.execute::<String>("query-second", json!({})),
        stand_in
    );
    let error = first.unwrap_err();
    assert_eq!(
        error.to_string(),
        "QEMU refused `query-first`: it is no more"
    );
    assert_eq!(second.unwrap(), "second");
    assert_eq!(events.next().await.unwrap().name, "STOP");
    let shutdown = events.next().await.unwrap();
    assert_eq!(shutdown.data["reason"], "guest-shutdown");

    let gone = async { drop(monitor) };
    let (asked, ()) = tokio::join!(qmp.run("query-third", json!({})), gone);
    assert!(asked.is_err(), "{asked:?}");
    assert!(events.next().await.is_none());
    let after = qmp.run("query-status", json!({})).await;
    assert!(matches!(after, Err(QmpError::Gone)), "{after:?}");
}

#[tokio::test]
async fn a_file_travels_with_its_command() {
    use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

    let (qmp, mut monitor) = monitor().await;
    let file = tempfile::tempfile().unwrap();
    let receive = async {
        monitor.0.get_ref().readable().await.unwrap();
        let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut bytes = [0; 1024];
        let read = recvmsg(
            monitor.0.get_ref().as_fd(),
            &mut [std::io::IoSliceMut::new(&mut bytes)],
            &mut control,
            RecvFlags::empty(),
        )
        .unwrap();
        let files: usize = control
            .drain()
            .map(|message| match message {
                RecvAncillaryMessage::ScmRights(files) => files.count(),
                _ => 0,
            })
            .sum();
        let asked: Value = serde_json::from_slice(&bytes[..read.bytes]).unwrap();
        monitor
            .say(&json!({"return": {"fdset-id": 3}, "id": asked["id"]}))
            .await;
        (files, asked)
    };
    let (added, (files, asked)) = tokio::join!(
        qmp.execute_with::<Value>("add-fd", json!({}), file.as_fd()),
        receive
    );
    assert_eq!(added.unwrap()["fdset-id"], 3);
    assert_eq!((files, asked["execute"].as_str()), (1, Some("add-fd")));
}

#[tokio::test]
async fn a_peer_that_is_no_monitor_is_recognised() {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    theirs.write_all(b"SSH-2.0-OpenSSH\n").await.unwrap();
    let error = Qmp::connect(ours).await.unwrap_err();
    assert!(matches!(error, QmpError::Greeting(_)), "{error}");
    let (ours, theirs) = UnixStream::pair().unwrap();
    drop(theirs);
    assert!(matches!(Qmp::connect(ours).await, Err(QmpError::Gone)));
}

#[tokio::test]
async fn a_machine_is_saved_and_the_reason_is_told_when_it_is_not_restored() {
    let (qmp, mut monitor) = monitor().await;
    let saving = async {
        assert_eq!(monitor.agree().await["execute"], "migrate-set-capabilities");
        assert_eq!(monitor.agree().await["execute"], "stop");
        let migrate = monitor.agree().await;
        assert_eq!(migrate["arguments"]["uri"], "file:/out/state");
        for status in ["setup", "active", "completed"] {
            monitor
                .say(&json!({"event": "MIGRATION", "data": {"status": status}}))
                .await;
        }
    };
    let (saved, ()) = tokio::join!(save(&qmp, "/out/state".as_ref()), saving);
    saved.unwrap();

    let failing = async {
        monitor.agree().await;
        assert_eq!(monitor.agree().await["execute"], "migrate-incoming");
        monitor
            .say(&json!({"event": "MIGRATION", "data": {"status": "failed"}}))
            .await;
        let asked = monitor.asked().await;
        let state = json!({"status": "failed", "error-desc": "no such ram block"});
        monitor
            .say(&json!({"return": state, "id": asked["id"]}))
            .await;
    };
    let (restored, ()) = tokio::join!(restore(&qmp, "/out/state".as_ref()), failing);
    let message = restored.unwrap_err().to_string();
    assert_eq!(
        message,
        "the machine's state could not be restored: no such ram block"
    );
}

/// Reads questions, of which each may follow a mark.
async fn question(agent: &mut BufReader<UnixStream>) -> (bool, Value) {
    let mut line = Vec::new();
    agent.read_until(b'\n', &mut line).await.unwrap();
    let marked = line.first() == Some(&0xff);
    let json = if marked { &line[1..] } else { &line };
    (marked, serde_json::from_slice(json).unwrap())
}

async fn reply(agent: &mut BufReader<UnixStream>, mark: bool, value: &Value) {
    let mut bytes = if mark { vec![0xff] } else { Vec::new() };
    bytes.extend(format!("{}\n", json!({"return": value})).bytes());
    agent.get_mut().write_all(&bytes).await.unwrap();
}

#[tokio::test]
async fn an_agent_is_brought_back_in_step() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let agent = GuestAgent::new(ours);
    let mut guest = BufReader::new(theirs);
    // What somebody before us had asked comes first.
    reply(&mut guest, false, &json!("an old answer")).await;
    let stand_in = async {
        let (marked, asked) = question(&mut guest).await;
        assert!(marked);
        assert_eq!(asked["execute"], "guest-sync-delimited");
        reply(&mut guest, true, &json!(999)).await;
        reply(&mut guest, true, &asked["arguments"]["id"]).await;
        let (marked, asked) = question(&mut guest).await;
        assert_eq!(
            (marked, asked["execute"].as_str()),
            (false, Some("guest-get-osinfo"))
        );
        reply(
            &mut guest,
            false,
            &json!({"id": "debian", "kernel-release": "6.12"}),
        )
        .await;
        // Once in step there is no need to ask.
        let (_, asked) = question(&mut guest).await;
        assert_eq!(asked["execute"], "guest-get-users");
        reply(
            &mut guest,
            false,
            &json!([{"user": "fedora", "login-time": 1.5, "domain": null}]),
        )
        .await;
    };
    let questions = async {
        let os = agent.os().await.unwrap();
        assert_eq!(
            (os.id.as_str(), os.kernel_release.as_str()),
            ("debian", "6.12")
        );
        assert_eq!(os.version_id, "");
        let users = agent.users().await.unwrap();
        assert_eq!(users[0].user, "fedora");
    };
    tokio::join!(stand_in, questions);
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_is_not_there_is_silent_and_one_that_comes_late_is_understood() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let agent = GuestAgent::new(ours);
    assert!(matches!(agent.info().await, Err(AgentError::Silent)));
    let mut guest = BufReader::new(theirs);
    let stand_in = async {
        // It finds both: the question that was given up, and ours.
        let (_, old) = question(&mut guest).await;
        reply(&mut guest, true, &old["arguments"]["id"]).await;
        let (_, asked) = question(&mut guest).await;
        reply(&mut guest, true, &asked["arguments"]["id"]).await;
        question(&mut guest).await;
        let commands = json!([{"name": "guest-ping", "enabled": true, "success-response": true}]);
        let info = json!({"version": "10.0.2", "supported_commands": commands});
        reply(&mut guest, false, &info).await;
    };
    let (info, ()) = tokio::join!(agent.info(), stand_in);
    let info = info.unwrap();
    assert_eq!(info.version, "10.0.2");
    assert_eq!(info.supported_commands[0].name, "guest-ping");

    let mut rest = Vec::new();
    drop(agent);
    guest.read_to_end(&mut rest).await.unwrap();
    assert!(rest.is_empty());
}

#[tokio::test]
async fn refusals_of_an_agent_keep_their_words() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let agent = GuestAgent::new(ours);
    let mut guest = BufReader::new(theirs);
    let stand_in = async {
        let (_, asked) = question(&mut guest).await;
        reply(&mut guest, true, &asked["arguments"]["id"]).await;
        question(&mut guest).await;
        let error = json!({"error": {"class": "CommandNotFound", "desc": "it is disabled"}});
        let line = format!("{error}\n");
        guest.get_mut().write_all(line.as_bytes()).await.unwrap();
    };
    let (frozen, ()) = tokio::join!(agent.freeze(), stand_in);
    let message = frozen.unwrap_err().to_string();
    assert_eq!(
        message,
        "the guest agent refused `guest-fsfreeze-freeze`: it is disabled"
    );
}
