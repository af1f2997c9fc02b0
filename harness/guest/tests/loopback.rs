//! Every verb against real servers on loopback.
#![allow(clippy::unwrap_used)]

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use rstest::rstest;
use simple_dns::rdata::{A, CNAME, RData, TXT};
use simple_dns::{CLASS, Name, Packet, PacketFlag, RCODE, ResourceRecord};
use support::Agent;
use trunkline_guest::Octets;
use trunkline_guest::protocol::{
    Answer, Curl, CurlAnswer, Dns, DnsAnswer, Exec, ExecAnswer, Exit, Lookup, Outcome, Ping, Probe,
    RecordType, Refusal, Stage, Tcp, TcpAnswer, Udp,
};

fn curl(url: impl Into<String>) -> Curl {
    Curl {
        timeout_ms: 2_000,
        ..Curl::get(url)
    }
}

fn answered_curl(outcome: Outcome) -> CurlAnswer {
    match outcome {
        Outcome::Answered(Answer::Curl(answer)) => answer,
        other => panic!("not an answer: {other:?}"),
    }
}

/// Serves connections one after another; `serve` gets the request's head and body.
fn http(serve: impl Fn(&str, TcpStream) + Send + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let mut request = String::new();
            while !request.ends_with("\r\n\r\n") {
                if reader.read_line(&mut request).unwrap() == 0 {
                    break;
                }
            }
            let length: usize = request
                .lines()
                .find_map(|line| line.strip_prefix("Content-Length: "))
                .map_or(0, |length| length.parse().unwrap());
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            request.push_str(&String::from_utf8_lossy(&body));
            serve(&request, stream);
        }
    });
    port
}

/// Answers every request with the same bytes.
fn canned(response: &'static [u8]) -> u16 {
    http(move |_, mut stream| drop(stream.write_all(response)))
}

#[rstest]
#[case::length(
    b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nblue-server and more",
    "blue-server"
)]
#[case::close(b"HTTP/1.0 200 OK\r\n\r\nuntil the end", "until the end")]
#[case::chunked(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nblue\r\n7;x=y\r\n-server\r\n0\r\nTrailer: x\r\n\r\n", "blue-server")]
#[case::continued(
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "ok"
)]
#[case::no_content(b"HTTP/1.1 204 No Content\r\n\r\n", "")]
fn bodies_are_read_to_their_end(#[case] response: &'static [u8], #[case] expected: &str) {
    let port = canned(response);
    let answer =
        answered_curl(Agent::start().ask(Probe::Curl(curl(format!("http://127.0.0.1:{port}/")))));
    assert_eq!(answer.body, Octets::from(expected));
    assert_eq!(answer.bytes, expected.len() as u64);
    assert_eq!(answer.remote.port(), port);
}

#[test]
fn the_request_is_what_was_asked_for() {
    let (sender, requests) = mpsc::channel();
    let port = http(move |request, mut stream| {
        sender.send(request.to_owned()).unwrap();
        drop(stream.write_all(
            b"HTTP/1.1 418 I'm a teapot\r\nX-Tea: Earl Grey\r\nContent-Length: 0\r\n\r\n",
        ));
    });
    let mut probe = curl(format!("127.0.0.1:{port}/brew?milk=no#fragment"));
    probe.method = "POST".to_owned();
    probe.headers.insert("X-Cup".to_owned(), "large".to_owned());
    probe.body = Some(Octets::from("leaves"));
    let answer = answered_curl(Agent::start().ask(Probe::Curl(probe)));
    assert_eq!((answer.status, answer.version.as_str()), (418, "HTTP/1.1"));
    assert_eq!(answer.header("x-tea"), Some("Earl Grey"));

    let request = requests.recv().unwrap();
    assert!(
        request.starts_with("POST /brew?milk=no HTTP/1.1\r\n"),
        "{request}"
    );
    assert!(
        request.contains(&format!("\r\nHost: 127.0.0.1:{port}\r\n")),
        "{request}"
    );
    assert!(request.contains("\r\nX-Cup: large\r\n"), "{request}");
    assert!(request.ends_with("\r\n\r\nleaves"), "{request}");
}

#[test]
fn a_large_body_is_counted_and_cut() {
    let port = http(|_, mut stream| {
        let body = vec![b'x'; 3 << 20];
        drop(write!(
            stream,
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n",
            body.len()
        ));
        drop(stream.write_all(&body));
    });
    let answer =
        answered_curl(Agent::start().ask(Probe::Curl(curl(format!("http://127.0.0.1:{port}/")))));
    assert!(answer.truncated);
    assert_eq!((answer.bytes, answer.body.len()), (3 << 20, 1 << 20));
}

#[test]
fn redirects_are_followed_only_when_asked() {
    let port = http(|request, mut stream| {
        let response: &[u8] = if request.starts_with("GET /there ") {
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nthere"
        } else {
            b"HTTP/1.1 302 Found\r\nLocation: /there\r\nContent-Length: 0\r\n\r\n"
        };
        drop(stream.write_all(response));
    });
    let mut probe = curl(format!("http://127.0.0.1:{port}/here"));
    let mut agent = Agent::start();
    let answer = answered_curl(agent.ask(Probe::Curl(probe.clone())));
    assert_eq!((answer.status, answer.redirected_to), (302, None));
    probe.max_redirects = 1;
    let answer = answered_curl(agent.ask(Probe::Curl(probe)));
    assert_eq!((answer.status, answer.body), (200, Octets::from("there")));
    assert_eq!(
        answer.redirected_to,
        Some(format!("http://127.0.0.1:{port}/there"))
    );
}

#[test]
fn what_breaks_off_is_an_error_not_a_verdict() {
    let mut agent = Agent::start();
    for (response, expected) in [
        (
            &b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfour"[..],
            "after 4 of 10 bytes",
        ),
        (b"", "without a response"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "not an HTTP response"),
    ] {
        let port = canned(response);
        match agent.ask(Probe::Curl(curl(format!("http://127.0.0.1:{port}/")))) {
            Outcome::Error(failure) => {
                assert!(failure.message.contains(expected), "{}", failure.message);
            }
            other => panic!("not an error: {other:?}"),
        }
    }
}

#[test]
fn silence_after_connecting_is_blocked_while_waiting_for_the_response() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut probe = curl(format!("http://127.0.0.1:{port}/"));
    probe.timeout_ms = 200;
    match Agent::start().ask(Probe::Curl(probe)) {
        Outcome::Blocked(blocked) => {
            assert_eq!(blocked.stage, Stage::Response);
            assert!(
                blocked.after_ms >= 200.0 && blocked.after_ms < 1_000.0,
                "{blocked:?}"
            );
        }
        other => panic!("not blocked: {other:?}"),
    }
}

#[test]
fn https_is_verified_unless_told_otherwise() {
    let certificate = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(certificate.signing_key.serialize_der());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.cert.der().clone()], key.unwrap())
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let connection = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = rustls::StreamOwned::new(connection, stream);
            let mut request = [0; 1024];
            // A client that does not trust us hangs up.
            if stream.read(&mut request).is_ok() {
                drop(stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecret"));
                stream.conn.send_close_notify();
                drop(stream.flush());
            }
        }
    });
    let directory = tempfile::tempdir().unwrap();
    let bundle = directory.path().join("ca.pem");
    std::fs::write(&bundle, certificate.cert.pem()).unwrap();
    let url = format!("https://localhost:{port}/");

    let mut insecure = curl(&url);
    insecure.insecure = true;
    insecure.family = Some(trunkline_guest::protocol::Family::Ipv4);
    let mut verified = insecure.clone();
    verified.insecure = false;
    let mut trusting = std::process::Command::new(support::AGENT);
    trusting.env("SSL_CERT_FILE", &bundle);
    let mut trusting = Agent::from(trusting);
    let mut plain = Agent::start();

    let answer = answered_curl(plain.ask(Probe::Curl(insecure)));
    assert_eq!(answer.body, Octets::from("secret"));
    let answer = answered_curl(trusting.ask(Probe::Curl(verified.clone())));
    assert_eq!(answer.body, Octets::from("secret"));
    match plain.ask(Probe::Curl(verified)) {
        Outcome::Error(failure) => {
            assert!(
                failure.message.contains("TLS handshake"),
                "{}",
                failure.message
            );
        }
        other => panic!("a stranger was trusted: {other:?}"),
    }
}

#[test]
fn a_closed_port_refuses_on_both_protocols() {
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let mut agent = Agent::start();
    let tcp = Tcp {
        host: "127.0.0.1".to_owned(),
        port: free,
        timeout_ms: 2_000,
        send: None,
        expect: None,
        family: None,
    };
    match agent.ask(Probe::Tcp(tcp)) {
        Outcome::Refused(refused) => {
            assert_eq!(refused.how, Refusal::Connection);
            assert_eq!(refused.icmp, None);
        }
        other => panic!("not refused: {other:?}"),
    }
    let free = UdpSocket::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    match agent.ask(Probe::Udp(udp(free, "anybody?"))) {
        Outcome::Refused(refused) => {
            assert_eq!(refused.how, Refusal::Port);
            let icmp = refused.icmp.unwrap();
            assert_eq!((icmp.kind, icmp.code), (3, 3));
        }
        other => panic!("not refused: {other:?}"),
    }
    match agent.ask(Probe::Curl(curl(format!("http://127.0.0.1:{free}/")))) {
        Outcome::Refused(_) => {}
        other => panic!("not refused: {other:?}"),
    }
}

fn udp(port: u16, text: &str) -> Udp {
    Udp {
        host: "127.0.0.1".to_owned(),
        port,
        timeout_ms: 2_000,
        send: Octets::from(text),
        expect: None,
        family: None,
    }
}

#[test]
fn datagrams_are_answered_or_missed() {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = server.local_addr().unwrap().port();
    thread::spawn(move || {
        let mut buffer = [0; 100];
        while let Ok((length, client)) = server.recv_from(&mut buffer) {
            if &buffer[..length] != b"silence" {
                server.send_to(&buffer[..length], client).unwrap();
            }
        }
    });
    let mut agent = Agent::start();
    let mut probe = udp(port, "hello");
    probe.expect = Some(Octets::from("ell"));
    match agent.ask(Probe::Udp(probe)) {
        Outcome::Answered(Answer::Udp(answer)) => {
            assert_eq!(answer.received, Octets::from("hello"));
            assert_eq!(answer.matched, Some(true));
        }
        other => panic!("not answered: {other:?}"),
    }
    let mut probe = udp(port, "silence");
    probe.timeout_ms = 100;
    assert!(matches!(agent.ask(Probe::Udp(probe)), Outcome::Blocked(_)));
}

#[test]
fn tcp_talks_and_says_what_it_heard() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            thread::spawn(move || {
                let mut buffer = [0; 4];
                if stream.read_exact(&mut buffer).is_ok() && &buffer == b"ping" {
                    drop(stream.write_all(b"+PONG\r\n"));
                }
                // Holds the connection until the client hangs up.
                drop(stream.read(&mut buffer));
            });
        }
    });
    let mut agent = Agent::start();
    let probe = |send: Option<&str>, expect: Option<&str>| {
        Probe::Tcp(Tcp {
            host: "localhost".to_owned(),
            port,
            timeout_ms: 300,
            send: send.map(Octets::from),
            expect: expect.map(Octets::from),
            family: Some(trunkline_guest::protocol::Family::Ipv4),
        })
    };
    let answer = |outcome| -> TcpAnswer {
        match outcome {
            Outcome::Answered(Answer::Tcp(answer)) => answer,
            other => panic!("not answered: {other:?}"),
        }
    };
    assert_eq!(answer(agent.ask(probe(None, None))).matched, None);
    let heard = answer(agent.ask(probe(Some("ping"), Some("PONG"))));
    assert_eq!(
        (heard.matched, heard.received),
        (Some(true), Octets::from("+PONG\r\n"))
    );
    let heard = answer(agent.ask(probe(Some("ping"), Some("other"))));
    assert_eq!(
        (heard.matched, heard.received),
        (Some(false), Octets::from("+PONG\r\n"))
    );
    match agent.ask(probe(Some("xxxx"), Some("PONG"))) {
        Outcome::Blocked(blocked) => assert_eq!(blocked.stage, Stage::Response),
        other => panic!("not blocked: {other:?}"),
    }
}

#[rstest]
fn pings_come_back(#[values("127.0.0.1", "::1")] host: &str) {
    if host == "::1" && UdpSocket::bind("[::1]:0").is_err() {
        println!("skipped: no IPv6 on loopback");
        return;
    }
    let probe = Ping {
        count: 3,
        interval_ms: 5,
        size: 100,
        packets: true,
        ..Ping::new(host)
    };
    match Agent::start().ask(Probe::Ping(probe)) {
        Outcome::Answered(Answer::Ping(answer)) => {
            assert_eq!((answer.sent, answer.received, answer.duplicates), (3, 3, 0));
            assert!(answer.loss.abs() < f64::EPSILON);
            assert_eq!(answer.ttl, Some(64));
            let rtt = answer.rtt.unwrap();
            assert!(
                rtt.min > 0.0 && rtt.min <= rtt.avg && rtt.avg <= rtt.max,
                "{rtt:?}"
            );
            let sequence: Vec<u16> = answer.packets.iter().map(|packet| packet.seq).collect();
            assert_eq!(sequence, [1, 2, 3]);
        }
        Outcome::Error(failure) if failure.message.contains("no way to send ICMP") => {
            println!("skipped: {}", failure.message);
        }
        other => panic!("not answered: {other:?}"),
    }
}

fn exec(argv: &[&str]) -> Exec {
    Exec {
        argv: argv.iter().map(|&word| word.to_owned()).collect(),
        timeout_ms: 5_000,
        stdin: None,
    }
}

fn executed(agent: &mut Agent, probe: Exec) -> ExecAnswer {
    match agent.ask(Probe::Exec(probe)) {
        Outcome::Answered(Answer::Exec(answer)) => answer,
        other => panic!("not answered: {other:?}"),
    }
}

#[test]
fn programs_run_to_their_end() {
    let mut agent = Agent::start();
    let answer = executed(
        &mut agent,
        exec(&["sh", "-c", "echo out; echo err >&2; exit 3"]),
    );
    assert_eq!(answer.exit, Exit::Code(3));
    assert_eq!(
        (answer.stdout, answer.stderr),
        (Octets::from("out\n"), Octets::from("err\n"))
    );

    let mut cat = exec(&["cat"]);
    cat.stdin = Some(Octets(vec![0xff, 0xfe]));
    assert_eq!(executed(&mut agent, cat).stdout, Octets(vec![0xff, 0xfe]));
    assert_eq!(
        executed(&mut agent, exec(&["sh", "-c", "kill -9 $$"])).exit,
        Exit::Signal(9)
    );
    match agent.ask(Probe::Exec(exec(&["/nonexistent"]))) {
        Outcome::Error(failure) => assert!(failure.message.contains("`/nonexistent`")),
        other => panic!("not an error: {other:?}"),
    }
}

#[test]
fn a_program_that_takes_too_long_is_killed_with_its_children() {
    let mut probe = exec(&["sh", "-c", "echo begun; sleep 60 & sleep 60; echo never"]);
    probe.timeout_ms = 300;
    let started = Instant::now();
    let answer = executed(&mut Agent::start(), probe);
    assert!(started.elapsed().as_secs() < 5);
    assert_eq!(
        (answer.exit, answer.stdout),
        (Exit::TimedOut, Octets::from("begun\n"))
    );
}

#[test]
fn requests_run_side_by_side() {
    let mut agent = Agent::start();
    let started = Instant::now();
    for id in ["a", "b", "c", "d"] {
        agent.send(id, Probe::Exec(exec(&["sleep", "0.4"])));
    }
    agent.send("quick", Probe::Exec(exec(&["true"])));
    assert_eq!(agent.receive().id, "quick");
    let mut others: Vec<String> = (0..4).map(|_| agent.receive().id).collect();
    others.sort();
    assert_eq!(others, ["a", "b", "c", "d"]);
    assert!(
        started.elapsed().as_millis() < 1_200,
        "{:?}",
        started.elapsed()
    );
}

#[test]
fn what_is_no_request_is_answered_and_the_rest_goes_on() {
    let mut agent = Agent::start();
    agent.send_line("not json");
    assert!(matches!(agent.receive().outcome, Outcome::Error(_)));
    agent.send_line(r#"{"id":"7","probe":{"teleport":{}}}"#);
    let response = agent.receive();
    assert_eq!(response.id, "7");
    match response.outcome {
        Outcome::Error(failure) => assert!(failure.message.contains("teleport")),
        other => panic!("not an error: {other:?}"),
    }
    assert_eq!(executed(&mut agent, exec(&["true"])).exit, Exit::Code(0));
    assert!(agent.end());
}

/// Answers each question as its name says.
fn name_server() -> u16 {
    // A port that happens to be free on both.
    let (udp, tcp) = std::iter::repeat_with(|| UdpSocket::bind("127.0.0.1:0").unwrap())
        .take(100)
        .find_map(|udp| {
            let address = udp.local_addr().unwrap();
            Some((udp, TcpListener::bind(address).ok()?))
        })
        .unwrap();
    let port = udp.local_addr().unwrap().port();
    thread::spawn(move || {
        let mut buffer = [0; 512];
        while let Ok((length, client)) = udp.recv_from(&mut buffer) {
            if let Some(reply) = reply(&buffer[..length], false) {
                udp.send_to(&reply, client).unwrap();
            }
        }
    });
    thread::spawn(move || {
        for mut stream in tcp.incoming().flatten() {
            let mut length = [0; 2];
            stream.read_exact(&mut length).unwrap();
            let mut question = vec![0; usize::from(u16::from_be_bytes(length))];
            stream.read_exact(&mut question).unwrap();
            let reply = reply(&question, true).unwrap();
            let length = u16::try_from(reply.len()).unwrap();
            stream.write_all(&length.to_be_bytes()).unwrap();
            stream.write_all(&reply).unwrap();
        }
    });
    port
}

fn reply(question: &[u8], over_tcp: bool) -> Option<Vec<u8>> {
    let question = Packet::parse(question).unwrap();
    let name = question.questions[0].qname.to_string();
    let mut reply = Packet::new_reply(question.id());
    reply.questions.clone_from(&question.questions);
    let record = |rdata| ResourceRecord::new(Name::new_unchecked("x.test"), CLASS::IN, 30, rdata);
    match name.split('.').next().unwrap() {
        "silent" => return None,
        "missing" => *reply.rcode_mut() = RCODE::NameError,
        "broken" => *reply.rcode_mut() = RCODE::ServerFailure,
        "refused" => *reply.rcode_mut() = RCODE::Refused,
        "empty" => {}
        "large" if !over_tcp => reply.set_flags(PacketFlag::TRUNCATION),
        "text" => {
            let text = TXT::new().with_string("key=value").unwrap();
            reply.answers.push(record(RData::TXT(text)));
        }
        "alias" => {
            reply.set_flags(PacketFlag::AUTHORITATIVE_ANSWER);
            let target = Name::new_unchecked("x.test");
            reply.answers.push(record(RData::CNAME(CNAME(target))));
            reply.answers.push(record(RData::A(A {
                address: 0x0a00_0001,
            })));
        }
        _ => reply.answers.push(record(RData::A(A {
            address: 0x0a00_0001,
        }))),
    }
    Some(reply.build_bytes_vec().unwrap())
}

fn dns(port: u16, name: &str, record_type: RecordType) -> Probe {
    Probe::Dns(Dns {
        name: name.to_owned(),
        record_type,
        server: Some(format!("127.0.0.1:{port}")),
        timeout_ms: 400,
    })
}

fn looked_up(outcome: Outcome) -> DnsAnswer {
    match outcome {
        Outcome::Answered(Answer::Dns(answer)) => answer,
        other => panic!("not answered: {other:?}"),
    }
}

#[test]
fn names_are_looked_up() {
    let port = name_server();
    let mut agent = Agent::start();
    let answer = looked_up(agent.ask(dns(port, "alias.test.", RecordType::A)));
    assert!(answer.authoritative);
    let records: Vec<_> = answer
        .records
        .iter()
        .map(|record| (record.record_type.as_str(), record.data.as_str()))
        .collect();
    assert_eq!(records, [("CNAME", "x.test"), ("A", "10.0.0.1")]);
    let answer = looked_up(agent.ask(dns(port, "text.test.", RecordType::Txt)));
    assert_eq!(answer.records[0].data, "\"key=value\"");
    let answer = looked_up(agent.ask(dns(port, "large.test.", RecordType::A)));
    assert_eq!(
        answer.records[0].data, "10.0.0.1",
        "over TCP after a truncated reply"
    );
}

#[rstest]
#[case("missing.test.", Lookup::NoSuchName)]
#[case("empty.test.", Lookup::NoRecord)]
#[case("broken.test.", Lookup::ServerFailure)]
#[case("refused.test.", Lookup::Refused)]
#[case("a..b.", Lookup::InvalidName)]
fn a_name_without_an_address_is_unresolved(#[case] name: &str, #[case] why: Lookup) {
    match Agent::start().ask(dns(name_server(), name, RecordType::A)) {
        Outcome::Unresolved(unresolved) => assert_eq!(unresolved.why, why),
        other => panic!("not unresolved: {other:?}"),
    }
}

#[test]
fn a_name_server_can_be_blocked_or_refuse() {
    let mut agent = Agent::start();
    match agent.ask(dns(name_server(), "silent.test.", RecordType::A)) {
        Outcome::Blocked(blocked) => assert_eq!(blocked.stage, Stage::Resolve),
        other => panic!("not blocked: {other:?}"),
    }
    let free = UdpSocket::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    match agent.ask(dns(free, "x.test.", RecordType::A)) {
        Outcome::Refused(refused) => assert_eq!(refused.how, Refusal::Port),
        other => panic!("not refused: {other:?}"),
    }
}
