//! Consoles against real shells on real terminals.

#[path = "../../tests/support/console.rs"]
mod standin;

use std::{
    io::Write as _,
    sync::{Arc, Mutex, atomic::Ordering},
    time::Duration,
};

use futures::future::join_all;
use trunkline_guest::{
    Octets,
    protocol::{self as ask, Answer, Exec, Exit, Outcome, Probe},
};

use self::standin::{Like, Machine, Machines};
use super::*;

/// A machine and the way to it.
struct Lab {
    consoles: Consoles,
    guest: Guest,
    machine: Arc<Machine>,
    access: Access,
    told: Mutex<Vec<String>>,
}

impl Lab {
    async fn new(like: &Like) -> Self {
        let machines = Machines::default();
        let machine = machines.start("blue", "vm", like);
        Self {
            consoles: Consoles::new(machines.client(None).await),
            guest: Guest {
                namespace: "blue".into(),
                name: "vm".into(),
            },
            machine,
            access: Access {
                login: Login {
                    user: like.user.into(),
                    password: like.password.into(),
                    vms: Vec::new(),
                },
                patience: Duration::from_secs(30),
            },
            told: Mutex::default(),
        }
    }

    async fn ask(&self, probe: Probe) -> Result<Outcome, ConsoleError> {
        let notice = |message: String| self.told.lock().unwrap().push(message);
        let asked = self
            .consoles
            .ask(&self.guest, &self.access, &probe, &notice);
        tokio::time::timeout(Duration::from_secs(120), asked)
            .await
            .expect("a guest answers or does not, but within two minutes")
            .map(|response| response.outcome)
    }

    async fn exec(
        &self,
        argv: &[&str],
        stdin: Option<&[u8]>,
        seconds: u64,
    ) -> Result<ask::ExecAnswer, String> {
        let probe = Probe::Exec(Exec {
            argv: argv.iter().map(|&word| word.to_owned()).collect(),
            timeout_ms: seconds * 1000,
            stdin: stdin.map(|stdin| Octets(stdin.to_vec())),
        });
        match self.ask(probe).await {
            Ok(Outcome::Answered(Answer::Exec(answer))) => Ok(answer),
            Ok(other) => Err(crate::verdict::came(&other)),
            Err(error) => Err(error.trouble.to_string()),
        }
    }

    async fn sh(&self, script: &str) -> ask::ExecAnswer {
        self.exec(&["sh", "-c", script], None, 20).await.unwrap()
    }
}

fn present(shell: &str) -> bool {
    let found = std::process::Command::new(shell)
        .arg("--help")
        .output()
        .is_ok();
    if !found {
        eprintln!("skipped: {shell} is not on this machine");
    }
    found
}

#[rstest::rstest]
#[case("bash")]
#[case("dash")]
#[case("busybox")]
#[tokio::test(flavor = "multi_thread")]
async fn commands_are_carried_out_in_every_shell(#[case] shell: &'static str) {
    if !present(shell) {
        return;
    }
    let lab = Lab::new(&Like {
        shell,
        ..Like::default()
    })
    .await;
    let answer = lab.sh("echo out; echo err >&2; exit 3").await;
    assert_eq!(answer.exit, Exit::Code(3));
    assert_eq!(
        (answer.stdout.to_text(), answer.stderr.to_text()),
        ("out\n".into(), "err\n".into())
    );

    // Words arrive as they are, and what is read too.
    let odd = "it's $HOME `x` \"q\" \\ tab\there\nü\u{1}\u{3}\u{4}\r\n";
    let answer = lab.exec(&["printf", "%s", odd], None, 20).await.unwrap();
    assert_eq!(answer.stdout.to_text(), odd);
    let bytes: Vec<u8> = (0..100_000_u32)
        .map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[0])
        .collect();
    let answer = lab.exec(&["cat"], Some(&bytes), 30).await.unwrap();
    assert!(
        answer.stdout.as_ref() == bytes,
        "{} bytes",
        answer.stdout.len()
    );

    // A long command, far beyond what a terminal takes as one line.
    let long = "x".repeat(20_000);
    let answer = lab.exec(&["printf", "%s", &long], None, 20).await.unwrap();
    assert_eq!(answer.stdout.len(), 20_000);

    assert_eq!(
        lab.machine.connections.load(Ordering::SeqCst),
        1,
        "one connection for everything"
    );
}

#[rstest::rstest]
#[case("bash")]
#[case("dash")]
#[case("busybox")]
#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_ends_the_command_and_nothing_else(#[case] shell: &'static str) {
    if !present(shell) {
        return;
    }
    let lab = Lab::new(&Like {
        shell,
        ..Like::default()
    })
    .await;
    let slow = lab.exec(
        &["sh", "-c", "echo begun; sleep 60 & wait; echo over"],
        None,
        1,
    );
    let deaf = lab.exec(
        &[
            "sh",
            "-c",
            "trap '' INT TERM; echo deaf; while :; do sleep 1; done",
        ],
        None,
        1,
    );
    let other = lab.exec(&["sh", "-c", "sleep 2; echo fine"], None, 20);
    let (slow, deaf, other) = futures::join!(slow, deaf, other);
    let slow = slow.unwrap();
    assert_eq!(
        (slow.exit, slow.stdout.to_text()),
        (Exit::TimedOut, "begun\n".into())
    );
    let deaf = deaf.unwrap();
    assert_eq!(
        (deaf.exit, deaf.stdout.to_text()),
        (Exit::TimedOut, "deaf\n".into())
    );
    assert_eq!(other.unwrap().stdout.to_text(), "fine\n");
    assert_eq!(
        lab.sh("echo still here").await.stdout.to_text(),
        "still here\n"
    );
}

/// 200 commands with up to 1 MiB of output each, with noise in between: no byte is lost or comes twice.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_or_doubled_under_noise() {
    let lab = Lab::new(&Like {
        quiet: 40_000,
        ..Like::default()
    })
    .await;
    let bytes: Vec<u8> = {
        use rand::RngCore as _;
        let mut bytes = vec![0; 2 << 20];
        rand::rng().fill_bytes(&mut bytes);
        bytes
    };
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&bytes).unwrap();
    let path = file.path().display().to_string();
    for round in 0..20 {
        let commands = (0..10).map(|command| {
            let (lab, bytes, path) = (&lab, &bytes, &path);
            async move {
                let number = round * 10 + command;
                // 1 MiB ten times, all other lengths around the sizes of lines and pieces.
                let length = match command {
                    0 if round % 2 == 0 => 1 << 20,
                    1 => 49_152 * 2 - 1 + round % 3,
                    2 => 57 * round,
                    _ => (number * 7919) % 60_000,
                };
                let start = (number * 104_729) % (1 << 20);
                let script = format!(
                    "tail -c +{} {path} | head -c {length}; echo {number} >&2",
                    start + 1
                );
                let answer = lab.exec(&["sh", "-c", &script], None, 60).await.unwrap();
                assert_eq!(answer.exit, Exit::Code(0), "{number}");
                assert_eq!(answer.stderr.to_text(), format!("{number}\n"));
                assert_eq!(answer.stdout.len(), length, "{number}");
                assert!(
                    answer.stdout.as_ref() == &bytes[start..start + length],
                    "{number}"
                );
            }
        });
        join_all(commands).await;
    }
    assert_eq!(lab.machine.connections.load(Ordering::SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_console_that_is_always_noisy_is_understood_too() {
    // Every login prompt and every mark has a good chance of being printed over.
    let lab = Lab::new(&Like {
        quiet: 700,
        ..Like::default()
    })
    .await;
    for number in 0..10 {
        let answer = lab
            .sh(&format!(
                "echo {number}; head -c 20000 /dev/zero | tr '\\0' x"
            ))
            .await;
        assert_eq!(answer.stdout.len(), 20_002);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_client_takes_the_console_and_nothing_is_run_twice() {
    let lab = Lab::new(&Like::default()).await;
    lab.sh("true").await;
    let marks = tempfile::NamedTempFile::new().unwrap();
    let script = format!("echo once >>{}; sleep 1; echo done", marks.path().display());
    let (answer, ()) = futures::join!(lab.sh(&script), async {
        tokio::time::sleep(Duration::from_millis(400)).await;
        lab.machine.eject();
    });
    assert_eq!(answer.stdout.to_text(), "done\n");
    assert_eq!(std::fs::read_to_string(marks.path()).unwrap(), "once\n");
    assert_eq!(lab.machine.connections.load(Ordering::SeqCst), 2);
    let told = lab.told.lock().unwrap().clone();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(
        told[0].contains("vm/blue/vm") && told[0].contains("another client"),
        "{told:?}"
    );

    // What somebody typed in the meantime, and that they ended our program, is no harm.
    lab.machine.type_in("ls -l");
    lab.machine.eject();
    assert_eq!(lab.sh("echo again").await.stdout.to_text(), "again\n");
    lab.machine.type_in("\x04");
    tokio::time::sleep(Duration::from_millis(300)).await;
    lab.machine.eject();
    assert_eq!(
        lab.sh("echo once more").await.stdout.to_text(),
        "once more\n"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn logging_in() {
    // Refused once, because cloud-init was not there yet.
    let lab = Lab::new(&Like {
        refusals: 1,
        boots_for: "0.5",
        ..Like::default()
    })
    .await;
    assert_eq!(lab.sh("echo $USER").await.stdout.to_text(), "fedora\n");

    // Without a password.
    let lab = Lab::new(&Like {
        user: "root",
        password: "",
        shell: "dash",
        ..Like::default()
    })
    .await;
    assert_eq!(lab.sh("echo $USER").await.stdout.to_text(), "root\n");

    // Somebody else is logged in already, and has typed half a command.
    let mut lab = Lab::new(&Like::default()).await;
    lab.sh("true").await;
    lab.consoles = Consoles::new(lab.consoles.client.clone());
    lab.machine.type_in("sleep 1");
    assert_eq!(
        lab.sh("echo taken over").await.stdout.to_text(),
        "taken over\n"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_is_refused_is_given_up() {
    let mut lab = Lab::new(&Like::default()).await;
    lab.access.login.password = "wrong".into();
    let error = lab
        .ask(Probe::Exec(Exec {
            argv: vec!["true".into()],
            timeout_ms: 1000,
            stdin: None,
        }))
        .await
        .unwrap_err();
    assert_eq!(
        error.trouble.to_string(),
        "the guest refuses the login of user `fedora`, twice: Login incorrect"
    );
    let last = error.last_lines.join("\n");
    assert!(
        last.contains("Login incorrect") && !last.contains("wrong"),
        "{last}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_never_asks_for_a_login_is_given_up_with_its_last_words() {
    let mut lab = Lab::new(&Like {
        boot: "[    1.0] Kernel panic - not syncing: VFS: Unable to mount root fs\\n",
        boots_for: "0.5",
        hangs: true,
        ..Like::default()
    })
    .await;
    lab.access.patience = Duration::from_secs(4);
    let error = lab
        .ask(Probe::Exec(Exec {
            argv: vec!["true".into()],
            timeout_ms: 1000,
            stdin: None,
        }))
        .await
        .unwrap_err();
    assert_eq!(
        error.trouble.to_string(),
        "the guest has come to its end: Kernel panic - not syncing: VFS: Unable to mount root fs"
    );
    assert_eq!(
        error.last_lines,
        ["[    1.0] Kernel panic - not syncing: VFS: Unable to mount root fs"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_does_not_run_yet_is_waited_for() {
    let lab = Lab::new(&Like::default()).await;
    lab.machine.starting.store(true, Ordering::SeqCst);
    let (answer, ()) = futures::join!(lab.sh("echo up"), async {
        tokio::time::sleep(Duration::from_millis(1500)).await;
        lab.machine.starting.store(false, Ordering::SeqCst);
    });
    assert_eq!(answer.stdout.to_text(), "up\n");

    let mut nobody = Lab::new(&Like::default()).await;
    nobody.guest.name = "nope".into();
    let error = nobody.exec(&["true"], None, 1).await.unwrap_err();
    assert_eq!(
        error,
        "the API refuses the console: virtualmachineinstance.kubevirt.io \"nope\" not found"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_guest_lacks_is_said() {
    let lab = Lab::new(&Like::default()).await;
    assert_eq!(
        lab.exec(&["no-such-program", "-x"], None, 5)
            .await
            .unwrap_err(),
        "the probe could not be carried out: the guest has no program `no-such-program`"
    );
    let lab = Lab::new(&Like {
        lacks: &["curl"],
        ..Like::default()
    })
    .await;
    let outcome = lab
        .ask(Probe::Curl(ask::Curl::get("http://127.0.0.1:1/")))
        .await
        .unwrap();
    assert_eq!(
        crate::verdict::came(&outcome),
        "the probe could not be carried out: the guest has no program `curl`"
    );
    let lab = Lab::new(&Like {
        lacks: &["base64", "dd"],
        ..Like::default()
    })
    .await;
    assert_eq!(
        lab.exec(&["true"], None, 5).await.unwrap_err(),
        "the guest lacks base64, dd (needed to carry out commands on its console)"
    );
}

fn came(outcome: &Outcome) -> String {
    // Ports and times differ from run to run.
    let words = crate::verdict::came(outcome);
    words
        .split(" within ")
        .next()
        .unwrap_or_default()
        .to_owned()
}

fn dns(name: &str, server: String) -> Probe {
    Probe::Dns(ask::Dns {
        name: name.into(),
        record_type: ask::RecordType::A,
        server: Some(server),
        timeout_ms: 1000,
    })
}

/// Answers a single client as a name server that knows no names.
async fn name_server() -> u16 {
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let port = socket.local_addr().unwrap().port();
    tokio::spawn(async move {
        let mut buffer = [0; 512];
        while let Ok((read, from)) = socket.recv_from(&mut buffer).await {
            let asked = simple_dns::Packet::parse(&buffer[..read]).unwrap();
            let name = asked.questions[0].qname.clone();
            let known = name.to_string() == "db.blue";
            let mut reply = asked.into_reply();
            if known {
                let data = simple_dns::rdata::RData::A(simple_dns::rdata::A {
                    address: 0x0a00_0001,
                });
                let class = simple_dns::CLASS::IN;
                reply
                    .answers
                    .push(simple_dns::ResourceRecord::new(name, class, 30, data));
            } else {
                *reply.rcode_mut() = simple_dns::RCODE::NameError;
            }
            let _ = socket
                .send_to(&reply.build_bytes_vec().unwrap(), from)
                .await;
        }
    });
    port
}

#[allow(clippy::too_many_lines, reason = "one line for each verb and way")]
/// The verbs by a guest's own programs, against what really happens on the loopback.
#[tokio::test(flavor = "multi_thread")]
async fn verbs_from_a_guest() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let lab = Lab::new(&Like::default()).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut request = vec![0; 4096];
                let read = stream.read(&mut request).await.unwrap_or_default();
                let text = String::from_utf8_lossy(&request[..read]).into_owned();
                let body = format!(
                    "{}|{}",
                    text.lines().next().unwrap_or_default(),
                    text.contains("\r\nX-Colour: blue\r\n")
                );
                let answer = if text.starts_with("ping") {
                    "pong and more".to_owned()
                } else {
                    format!(
                        "HTTP/1.1 201 Created\r\nServer: test\r\nContent-Length: {}\r\n\r\n{body}",
                        body.len()
                    )
                };
                let _ = stream.write_all(answer.as_bytes()).await;
            });
        }
    });
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent_port = silent.local_addr().unwrap().port();

    let curl = |port: u16, path: &str| ask::Curl {
        timeout_ms: 2000,
        ..ask::Curl::get(format!("http://127.0.0.1:{port}/{path}"))
    };
    let posted = ask::Curl {
        method: "PUT".into(),
        headers: [("X-Colour".to_owned(), "blue".to_owned())].into(),
        body: Some(Octets::from("some 'text'\n\u{0}")),
        ..curl(port, "a%20b?c=d")
    };
    let head = ask::Curl {
        method: "HEAD".into(),
        ..curl(port, "")
    };
    let tcp = |port: u16, send: Option<&str>, expect: Option<&str>| {
        Probe::Tcp(ask::Tcp {
            host: "127.0.0.1".into(),
            port,
            timeout_ms: 1000,
            send: send.map(Octets::from),
            expect: expect.map(Octets::from),
            family: None,
        })
    };
    let udp = |port: u16| {
        Probe::Udp(ask::Udp {
            host: "127.0.0.1".into(),
            port,
            timeout_ms: 1000,
            send: Octets::from("hello"),
            expect: None,
            family: None,
        })
    };
    let ping = |host: &str| {
        Probe::Ping(ask::Ping {
            count: 2,
            interval_ms: 200,
            timeout_ms: 1200,
            ..ask::Ping::new(host)
        })
    };
    let echo = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let echo_port = echo.local_addr().unwrap().port();
    tokio::spawn(async move {
        let mut buffer = [0; 512];
        while let Ok((read, from)) = echo.recv_from(&mut buffer).await {
            let _ = echo.send_to(&buffer[..read], from).await;
        }
    });
    let mute = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mute_port = mute.local_addr().unwrap().port();
    let names = name_server().await;
    let server = format!("127.0.0.1:{names}");

    let refused = "refused: connection refused by 127.0.0.1";
    for (probe, expected) in [
        (
            Probe::Curl(curl(port, "x")),
            "status 201, body \"GET /x HTTP/1.1|false\"".to_owned(),
        ),
        (
            Probe::Curl(posted),
            "status 201, body \"PUT /a%20b?c=d HTTP/1.1|true\"".into(),
        ),
        (Probe::Curl(head), "status 201, body \"\"".into()),
        (Probe::Curl(curl(closed, "")), refused.into()),
        (
            Probe::Curl(curl(silent_port, "")),
            "blocked: silence after the request was sent".into(),
        ),
        (
            Probe::Curl(ask::Curl {
                timeout_ms: 2000,
                ..ask::Curl::get("http://no-such-name.invalid/")
            }),
            "unresolved: no-such-name.invalid, no such name".into(),
        ),
        (
            tcp(port, None, None),
            format!("connected to 127.0.0.1:{port}"),
        ),
        (
            tcp(port, Some("ping\n"), Some("pong")),
            format!("connected to 127.0.0.1:{port}, received \"pong\""),
        ),
        (tcp(closed, None, None), refused.into()),
        (
            tcp(silent_port, Some("x"), Some("y")),
            "blocked: silence after the request was sent".into(),
        ),
        (
            udp(echo_port),
            format!("127.0.0.1:{echo_port} answered \"hello\""),
        ),
        (
            udp(mute_port),
            "blocked: silence after the request was sent".into(),
        ),
        (udp(closed), refused.into()),
        (
            ping("no-such-name.invalid"),
            "unresolved: no-such-name.invalid, no such name".into(),
        ),
        (dns("db.blue.", server.clone()), "records 10.0.0.1".into()),
        (
            dns("nope.", server.clone()),
            format!("unresolved: nope, no such name says {server}"),
        ),
        (dns("db.", format!("127.0.0.1:{closed}")), refused.into()),
    ] {
        let outcome = lab.ask(probe.clone()).await.unwrap();
        let words = came(&outcome);
        // Without a resolver that says no at once, a name that does not exist stays without an answer.
        let unanswered = expected.replace("no such name", "server does not answer");
        assert!(
            words == expected || (words == unanswered && words.contains(".invalid")),
            "{probe:?}: {words}"
        );
    }
    let outcome = lab.ask(ping("127.0.0.1")).await.unwrap();
    assert!(
        came(&outcome).starts_with("2 of 2 replies, loss 0%"),
        "{}",
        came(&outcome)
    );
    let Outcome::Answered(Answer::Ping(answer)) = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!(answer.ttl, Some(64));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_is_gone_is_noticed_and_there_is_another_one() {
    let lab = Lab::new(&Like::default()).await;
    let program = lab
        .sh("ps -o ppid= -p $PPID")
        .await
        .stdout
        .to_text()
        .trim()
        .to_owned();
    let killed = std::process::Command::new("kill")
        .args(["-KILL", &program])
        .status();
    assert!(killed.unwrap().success());
    assert_eq!(lab.sh("echo back").await.stdout.to_text(), "back\n");
}
