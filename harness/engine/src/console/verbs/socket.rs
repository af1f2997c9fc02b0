//! Plain TCP and UDP: by the sockets of bash, and for TCP by `nc` where there is no bash.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use trunkline_guest::{
    Octets,
    protocol::{
        Answer, Blocked, Lookup, Outcome, Stage, Tcp, TcpAnswer, Udp, UdpAnswer, Unresolved,
    },
};

use super::{error, lacks, milliseconds, puzzled, words};
use crate::console::{
    job::{Command, Finished},
    shell::Words,
};

/// For starting bash; its sockets know no deadline, so the command is ended from outside.
const START: Duration = Duration::from_millis(500);

/// Says that it is connected and how long that took, sends its standard input, and reads until it has seen `$4`.
const TCP: &str = r#"
LC_ALL=C
[ -z "$3" ] || { read -r a z < <(getent ahosts "$1") && echo "address $a"; }
s=${EPOCHREALTIME/./}
exec 3<>"/dev/tcp/$1/$2" || exit 7
e=${EPOCHREALTIME/./}
echo "connected $((e - s))"
cat >&3 || exit 8
[ -n "$4" ] || exit 0
r=
while IFS= read -r -d '' -n 1 c <&3; do
  printf %s "$c"
  r=$r$c
  case $r in *"$4"*) exit 0;; esac
done
"#;

/// Sends its standard input as one datagram and prints the one that comes back.
const UDP: &str = r#"
LC_ALL=C
exec 3<>"/dev/udp/$1/$2" || exit 7
cat >&3
dd bs=65536 count=1 <&3
"#;

pub(super) fn tcp(probe: &Tcp) -> Command {
    let expect = probe
        .expect
        .as_ref()
        .map(Octets::to_text)
        .unwrap_or_default();
    let port = probe.port.to_string();
    let named = if is_address(&probe.host) { "" } else { "n" };
    let bash = Words::of(["-c", TCP, "tcp", &probe.host, &port, named, &expect]);
    let timeout = Duration::from_millis(probe.timeout_ms);
    let wait = format!("{:.0}", timeout.as_secs_f64().ceil().max(1.0));
    let nc = Words::of(["-v", "-w", &wait, &probe.host, &port]);
    Command {
        script: format!(
            "if command -v bash >/dev/null; then\n{}\nfi\nx nc\n{}",
            bash.script("exec bash"),
            nc.script("LC_ALL=C exec nc")
        ),
        stdin: probe.send.as_ref().map(|send| send.as_ref().to_vec()),
        timeout: timeout + START,
    }
}

pub(super) fn tcp_outcome(probe: &Tcp, finished: &Finished) -> Outcome {
    if finished.missing {
        return error("the guest has neither `bash` nor `nc` to connect with");
    }
    let said = String::from_utf8_lossy(&finished.stderr);
    let mut rest: &[u8] = &finished.stdout;
    let address = line(&mut rest, "address ").and_then(|text| text.parse::<IpAddr>().ok());
    let connected = line(&mut rest, "connected ").and_then(|text| text.parse::<f64>().ok());
    let by_nc = ["succeeded", " open", "Connected to"]
        .iter()
        .any(|words| said.contains(words))
        || (finished.code == 0 && connected.is_none());
    if connected.is_none() && !by_nc {
        return missed(
            &probe.host,
            &said,
            finished,
            probe.timeout_ms,
            Stage::Connect,
            "bash",
        );
    }
    let text: Option<&[u8]> = probe.expect.as_ref().map(AsRef::as_ref);
    let matched = text.map(|text| contains(rest, text));
    if matched.is_some() && rest.is_empty() && finished.timed_out {
        return blocked(&probe.host, &said, probe.timeout_ms, Stage::Response);
    }
    if finished.code == 8 || (matched == Some(false) && words::miss(&said).is_some()) {
        return missed(
            &probe.host,
            &said,
            finished,
            probe.timeout_ms,
            Stage::Response,
            "bash",
        );
    }
    let ip = address.unwrap_or_else(|| words::address(&probe.host, &said));
    Outcome::Answered(Answer::Tcp(TcpAnswer {
        remote: SocketAddr::new(ip, probe.port),
        local: nowhere(),
        connect_ms: connected.map_or(milliseconds(finished.took), |micros| micros / 1e3),
        received: Octets(if text.is_some() {
            rest.to_vec()
        } else {
            Vec::new()
        }),
        matched,
    }))
}

/// A datagram to send.
pub(super) struct Datagram<'a> {
    pub host: &'a str,
    pub port: u16,
    pub bytes: &'a [u8],
    pub timeout: Duration,
}

pub(super) fn udp(datagram: &Datagram<'_>) -> Command {
    let port = datagram.port.to_string();
    let words = Words::of(["-c", UDP, "udp", datagram.host, &port]);
    Command {
        script: format!("x bash\n{}", words.script("exec bash")),
        stdin: Some(datagram.bytes.to_vec()),
        timeout: datagram.timeout + START,
    }
}

/// The datagram that came back, or what came instead.
pub(super) fn datagram(
    host: &str,
    timeout_ms: u64,
    finished: &Finished,
) -> Result<Vec<u8>, Outcome> {
    if finished.missing {
        return Err(lacks("bash"));
    }
    let said = String::from_utf8_lossy(&finished.stderr);
    let failed = finished.code != 0 || finished.timed_out;
    if failed || words::miss(&said).is_some() {
        return Err(missed(
            host,
            &said,
            finished,
            timeout_ms,
            Stage::Response,
            "bash",
        ));
    }
    Ok(finished.stdout.clone())
}

pub(super) fn udp_outcome(probe: &Udp, finished: &Finished) -> Outcome {
    match datagram(&probe.host, probe.timeout_ms, finished) {
        Ok(received) => Outcome::Answered(Answer::Udp(UdpAnswer {
            remote: SocketAddr::new(words::address(&probe.host, ""), probe.port),
            local: nowhere(),
            rtt_ms: milliseconds(finished.took),
            matched: probe
                .expect
                .as_ref()
                .map(|expect| contains(&received, expect.as_ref())),
            received: Octets(received),
        })),
        Err(outcome) => outcome,
    }
}

/// What the words of a program that did not get through mean; silence when it was ended.
fn missed(
    host: &str,
    said: &str,
    finished: &Finished,
    timeout_ms: u64,
    stage: Stage,
    program: &str,
) -> Outcome {
    // A packet filter of the guest: as silent as one further away.
    let filtered = said.contains("Operation not permitted");
    match words::miss(said) {
        Some(miss) => miss
            .outcome(host, said)
            .unwrap_or_else(|| blocked(host, said, timeout_ms, stage)),
        None if finished.timed_out || filtered => {
            let resolving = !is_address(host) && words::found(host, said).is_none();
            if resolving && stage == Stage::Connect && !finished.stdout.starts_with(b"address ") {
                return Outcome::Unresolved(Unresolved {
                    name: host.to_owned(),
                    why: Lookup::NoAnswer,
                    server: None,
                });
            }
            blocked(host, said, timeout_ms, stage)
        }
        None => puzzled(program, finished),
    }
}

fn blocked(host: &str, said: &str, timeout_ms: u64, stage: Stage) -> Outcome {
    Outcome::Blocked(Blocked {
        after_ms: milliseconds(Duration::from_millis(timeout_ms)),
        stage,
        address: words::found(host, said),
        sent: None,
    })
}

/// Takes the first line off when it begins with `words`.
fn line<'a>(rest: &mut &'a [u8], words: &str) -> Option<&'a str> {
    let end = rest.iter().position(|byte| *byte == b'\n')?;
    let text = std::str::from_utf8(&rest[..end])
        .ok()?
        .strip_prefix(words)?;
    *rest = &rest[end + 1..];
    Some(text)
}

fn is_address(host: &str) -> bool {
    host.parse::<IpAddr>().is_ok()
}

/// Programs do not say which address of the guest they used.
fn nowhere() -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0)
}

fn contains(text: &[u8], wanted: &[u8]) -> bool {
    wanted.is_empty() || text.windows(wanted.len()).any(|window| window == wanted)
}
