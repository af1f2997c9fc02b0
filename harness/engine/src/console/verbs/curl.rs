//! HTTP by curl. What it did is read from its own report (`-v`): its exit code does not tell a refusal from a missing
//! route.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use trunkline_guest::{
    Octets,
    protocol::{Answer, Blocked, Curl, CurlAnswer, Family, Lookup, Outcome, Stage, Unresolved},
};

use super::{GRACE, error, lacks, milliseconds, puzzled, words};
use crate::console::{
    job::{Command, Finished},
    shell::Words,
};

/// Bytes kept of a body, as many as the agent in containers keeps.
const KEPT: usize = 1 << 20;

/// What curl prints after the body, on a line of its own.
const REPORT: &str = "\\n%{http_code} %{size_download} %{remote_ip} %{remote_port} %{local_ip} %{local_port} %{time_total}\\n";

pub(super) fn command(probe: &Curl) -> Command {
    let timeout = Duration::from_millis(probe.timeout_ms);
    let mut words = Words::of([
        "-q",
        "-sS",
        "-v",
        "-g",
        "--path-as-is",
        "--noproxy",
        "*",
        "-H",
        "Expect:",
    ]);
    words
        .push("-m")
        .push(&format!("{:.3}", timeout.as_secs_f64()));
    match probe.method.as_str() {
        "HEAD" => {
            words.push("-I");
        }
        "GET" if probe.body.is_none() => {
            words.push("-i");
        }
        method => {
            words.push("-i").push("-X").push(method);
        }
    }
    for (name, value) in &probe.headers {
        // curl takes `Name:` for a header to leave out.
        let header = if value.is_empty() {
            format!("{name};")
        } else {
            format!("{name}: {value}")
        };
        words.push("-H").push(&header);
    }
    if probe.body.is_some() {
        if !probe
            .headers
            .keys()
            .any(|name| name.eq_ignore_ascii_case("content-type"))
        {
            words.push("-H").push("Content-Type:");
        }
        words.push("--data-binary").push("@-");
    }
    if probe.insecure {
        words.push("-k");
    }
    match probe.family {
        Some(Family::Ipv4) => {
            words.push("-4");
        }
        Some(Family::Ipv6) => {
            words.push("-6");
        }
        None => {}
    }
    if probe.max_redirects > 0 {
        words
            .push("-L")
            .push("--max-redirs")
            .push(&probe.max_redirects.to_string());
    }
    words.push("-w").push(REPORT).push("--").push(&probe.url);
    Command {
        script: format!("x curl\n{}", words.script("LC_ALL=C exec curl")),
        stdin: probe.body.as_ref().map(|body| body.as_ref().to_vec()),
        timeout: timeout + GRACE,
    }
}

pub(super) fn outcome(probe: &Curl, finished: &Finished) -> (Outcome, Duration) {
    let took = finished.took;
    if finished.missing {
        return (lacks("curl"), took);
    }
    let said = String::from_utf8_lossy(&finished.stderr);
    let host = host_of(&probe.url);
    match finished.code {
        _ if finished.timed_out => (silence(probe, &said), took),
        0 => match answer(probe, finished) {
            Some((answer, took)) => (Outcome::Answered(Answer::Curl(answer)), took),
            None => (
                error("the answer of `curl` in the guest cannot be read"),
                took,
            ),
        },
        6 => {
            let why = match words::miss(&said) {
                Some(words::Miss::Unresolved(why)) => why,
                _ => Lookup::NoSuchName,
            };
            (unresolved(host, why), took)
        }
        28 => (silence(probe, &said), took),
        7 => {
            let about = connects(&said);
            let outcome = match words::miss(&about) {
                Some(words::Miss::Silent) => silence(probe, &said),
                Some(miss) => miss
                    .outcome(host, &about)
                    .unwrap_or_else(|| puzzled("curl", finished)),
                None => puzzled("curl", finished),
            };
            (outcome, took)
        }
        _ => (puzzled("curl", finished), took),
    }
}

/// The lines about connecting; what a server says must not be taken for what the network says.
fn connects(said: &str) -> String {
    let about = |line: &&str| {
        let own = line.starts_with("* ") || line.starts_with("curl: ");
        own && line.to_lowercase().contains("connect")
    };
    said.lines().filter(about).collect::<Vec<_>>().join("\n")
}

fn unresolved(host: &str, why: Lookup) -> Outcome {
    Outcome::Unresolved(Unresolved {
        name: host.to_owned(),
        why,
        server: None,
    })
}

/// How far it had come when its time was over.
fn silence(probe: &Curl, said: &str) -> Outcome {
    let own = |words: &str| {
        said.lines()
            .any(|line| line.starts_with("* ") && line.contains(words))
    };
    let connected = own("Connected to") || own("Established connection");
    let tls = own("TLS handshake") || own("Client hello");
    let stage = if connected && tls && !own("SSL connection using") {
        Stage::Tls
    } else if connected {
        Stage::Response
    } else if own("Trying") || host_of(&probe.url).parse::<IpAddr>().is_ok() {
        Stage::Connect
    } else {
        // Where resolving is a means to an end, a server that does not answer leaves the name without an address.
        return unresolved(host_of(&probe.url), Lookup::NoAnswer);
    };
    Outcome::Blocked(Blocked {
        after_ms: milliseconds(Duration::from_millis(probe.timeout_ms)),
        stage,
        address: words::found(host_of(&probe.url), &connects_or_tries(said)),
        sent: None,
    })
}

fn connects_or_tries(said: &str) -> String {
    let about = |line: &&str| line.starts_with("* ") && line.contains("Trying");
    said.lines().filter(about).collect::<Vec<_>>().join("\n")
}

/// Headers, body and curl's own report, apart.
fn answer(probe: &Curl, finished: &Finished) -> Option<(CurlAnswer, Duration)> {
    let printed = finished.stdout.strip_suffix(b"\n")?;
    let cut = printed.iter().rposition(|byte| *byte == b'\n')?;
    let (mut rest, report) = (
        &printed[..cut],
        std::str::from_utf8(&printed[cut + 1..]).ok()?,
    );
    let mut report = report.split(' ');
    let mut field = || report.next();
    let status: u16 = field()?.parse().ok()?;
    let bytes: u64 = field()?.parse().ok()?;
    let mut end = || -> Option<SocketAddr> {
        let (ip, port) = (field()?, field()?);
        let ip = ip.parse().unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        Some(SocketAddr::new(ip, port.parse().unwrap_or_default()))
    };
    let (remote, local) = (end()?, end()?);
    let took = Duration::try_from_secs_f64(field()?.trim().parse().ok()?).ok()?;

    let mut head = Head::default();
    // Interim answers, and those that were followed, come before the one that counts.
    while rest.starts_with(b"HTTP/") {
        let (this, after) = Head::read(rest)?;
        rest = after;
        let interim = (100..200).contains(&this.status);
        let followed = probe.max_redirects > 0 && (300..400).contains(&this.status);
        head = this;
        let counts = !followed || head.status == status;
        if !interim && counts {
            break;
        }
    }
    let body = if probe.method == "HEAD" {
        &[][..]
    } else {
        rest
    };
    Some((
        CurlAnswer {
            status,
            version: head.version,
            headers: head.headers,
            truncated: body.len() > KEPT || finished.truncated,
            body: Octets(body[..body.len().min(KEPT)].to_vec()),
            bytes,
            remote,
            local,
            redirected_to: None,
        },
        took,
    ))
}

#[derive(Default)]
struct Head {
    status: u16,
    version: String,
    headers: Vec<(String, String)>,
}

impl Head {
    fn read(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
        let text = String::from_utf8_lossy(&bytes[..end]);
        let mut lines = text.split("\r\n");
        let mut first = lines.next()?.split(' ');
        let head = Self {
            version: first.next()?.to_owned(),
            status: first.next()?.parse().ok()?,
            headers: lines
                .filter_map(|line| line.split_once(':'))
                .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
                .collect(),
        };
        Some((head, &bytes[end + 4..]))
    }
}

fn host_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    let authority = authority.rsplit('@').next().unwrap_or(authority);
    match authority
        .strip_prefix('[')
        .and_then(|rest| rest.split_once(']'))
    {
        Some((host, _)) => host,
        None => authority.split(':').next().unwrap_or(authority),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finished(code: i32, stdout: &str, stderr: &str) -> Finished {
        Finished {
            code,
            timed_out: false,
            missing: false,
            stdout: stdout.into(),
            stderr: stderr.into(),
            truncated: false,
            took: Duration::from_millis(9),
        }
    }

    fn came(code: i32, stderr: &str) -> String {
        let (outcome, _) = outcome(&Curl::get("http://db:9000/x"), &finished(code, "", stderr));
        crate::verdict::came(&outcome)
    }

    #[test]
    fn an_answer_is_taken_apart() {
        let printed = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 404 Not Found\r\nServer: nginx/1.2\r\nX: a: b\r\n\r\nbody\nof lines\n404 13 10.0.0.1 9000 10.0.0.2 4711 0.004500\n";
        let (answer, took) = answer(
            &Curl::get("http://10.0.0.1:9000/"),
            &finished(0, printed, ""),
        )
        .unwrap();
        assert_eq!((answer.status, answer.bytes), (404, 13));
        assert_eq!(answer.header("server"), Some("nginx/1.2"));
        assert_eq!(answer.header("x"), Some("a: b"));
        assert_eq!(answer.body.to_text(), "body\nof lines");
        assert_eq!(answer.remote.to_string(), "10.0.0.1:9000");
        assert_eq!(took, Duration::from_micros(4500));
    }

    #[rstest::rstest]
    #[case(
        7,
        "*   Trying 10.0.0.1:9000...\n* connect to 10.0.0.1 port 9000 from 10.0.0.2 port 5 failed: Connection refused\n* Failed to connect to db port 9000 after 1 ms: Could not connect to server\ncurl: (7) Failed to connect to db port 9000 after 1 ms: Could not connect to server",
        "refused: connection refused by 10.0.0.1"
    )]
    #[case(
        7,
        "*   Trying 10.0.0.1:9000...\n* connect to 10.0.0.1 port 9000 from 10.0.0.2 port 5 failed: No route to host\ncurl: (7) Failed",
        "unreachable: no route to host (10.0.0.1)"
    )]
    #[case(
        7,
        "* Immediate connect fail for 10.0.0.1: Network is unreachable\ncurl: (7) Couldn't connect to server",
        "unreachable: network is unreachable (10.0.0.1)"
    )]
    #[case(
        6,
        "* Could not resolve host: db\ncurl: (6) Could not resolve host: db",
        "unresolved: db, no such name"
    )]
    #[case(
        28,
        "*   Trying 10.0.0.1:9000...\n* Connection timed out after 5001 milliseconds\ncurl: (28) Connection timed out",
        "blocked: no answer to the first packet within 5000ms"
    )]
    #[case(
        28,
        "*   Trying 10.0.0.1:9000...\n* Connected to db (10.0.0.1) port 9000\n> GET /x HTTP/1.1\ncurl: (28) Operation timed out",
        "blocked: silence after the request was sent within 5000ms"
    )]
    #[case(
        28,
        "* Resolving timed out after 5000 milliseconds\ncurl: (28) Resolving timed out",
        "unresolved: db, server does not answer"
    )]
    #[case(
        52,
        "* Empty reply from server\ncurl: (52) Empty reply from server",
        "the probe could not be carried out: `curl` in the guest ended with exit code 52: curl: (52) Empty reply from server"
    )]
    fn the_four_ways_are_kept_apart(#[case] code: i32, #[case] said: &str, #[case] words: &str) {
        assert_eq!(came(code, said), words);
    }

    #[test]
    fn a_request_is_one_line_of_shell() {
        let probe = Curl {
            method: "POST".into(),
            headers: [("content-type".to_owned(), "application/json".to_owned())].into(),
            body: Some(Octets::from("{}".to_owned())),
            ..Curl::get("http://10.0.0.1/it's")
        };
        insta::assert_snapshot!(command(&probe).script);
    }
}
