//! From the scenario's probe to the question put to the agent.

use std::{collections::BTreeMap, time::Duration};

use trunkline_guest::{Octets, protocol as ask};
use trunkline_scenario::{
    Code, Diagnostic,
    model::{self, Answer, Body, Call, Expect, Outcome, RecordType, Scope, TextMatch},
};

use crate::site::Protocol;

/// A question, and what a person would type to ask it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Question {
    pub probe: ask::Probe,
    pub description: String,
    pub target: Option<Target>,
}

/// Where a probe goes, for questions about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub protocol: Protocol,
    pub host: String,
    pub port: Option<u16>,
}

/// Fills in what was captured.
pub(crate) fn question(
    call: &Call,
    expect: &Expect,
    timeout: Duration,
    scope: &Scope,
) -> Result<Question, Diagnostic> {
    let timeout_ms = millis(timeout);
    match call {
        Call::Curl(call) => curl(call, timeout_ms, scope),
        Call::Ping(call) => ping(call, timeout_ms, scope),
        Call::Tcp(call) => tcp(call, expect, timeout_ms, scope),
        Call::Udp(call) => udp(call, expect, timeout_ms, scope),
        Call::Dns(call) => dns(call, timeout_ms, scope),
        Call::Exec(call) => exec(call, timeout_ms, scope),
    }
}

fn curl(call: &model::Curl, timeout_ms: u64, scope: &Scope) -> Result<Question, Diagnostic> {
    let url = call.url.fill(scope)?;
    let mut headers = BTreeMap::new();
    for (name, value) in &call.headers {
        headers.insert(name.value.clone(), value.fill(scope)?);
    }
    let body = match &call.body {
        None => None,
        Some(Body::Text(text)) => Some(text.fill(scope)?),
        Some(Body::Json(json)) => {
            let is_type = |name: &String| name.eq_ignore_ascii_case("content-type");
            if !headers.keys().any(is_type) {
                headers.insert("content-type".into(), "application/json".into());
            }
            Some(json.fill(scope)?.to_string())
        }
    };
    let method = match call.method.as_str() {
        "GET" => String::new(),
        method => format!("-X {method} "),
    };
    Ok(Question {
        description: format!("curl {method}{url}"),
        target: target_of_url(&url),
        probe: ask::Probe::Curl(ask::Curl {
            method: call.method.clone(),
            headers,
            body: body.map(Octets::from),
            timeout_ms,
            ..ask::Curl::get(url)
        }),
    })
}

fn ping(call: &model::Ping, timeout_ms: u64, scope: &Scope) -> Result<Question, Diagnostic> {
    let host = call.host.fill(scope)?;
    let interval_ms = millis(call.every);
    // The scenario's timeout counts from the last request, the agent's from the first.
    let sending = interval_ms.saturating_mul(u64::from(call.count.saturating_sub(1)));
    Ok(Question {
        description: format!("ping -c {} {host}", call.count),
        target: Some(Target {
            protocol: Protocol::Icmp,
            host: host.clone(),
            port: None,
        }),
        probe: ask::Probe::Ping(ask::Ping {
            count: call.count,
            interval_ms,
            timeout_ms: timeout_ms.saturating_add(sending),
            size: call.size,
            ..ask::Ping::new(host)
        }),
    })
}

fn tcp(
    call: &model::Tcp,
    expect: &Expect,
    timeout_ms: u64,
    scope: &Scope,
) -> Result<Question, Diagnostic> {
    let host = call.host.fill(scope)?;
    let port = port(&call.port, scope)?;
    let send = call
        .send
        .as_ref()
        .map(|send| send.fill(scope))
        .transpose()?;
    Ok(Question {
        description: format!("nc {host} {port}"),
        target: Some(Target {
            protocol: Protocol::Tcp,
            host: host.clone(),
            port: Some(port),
        }),
        probe: ask::Probe::Tcp(ask::Tcp {
            host,
            port,
            timeout_ms,
            send: send.map(Octets::from),
            expect: awaited(expect, scope)?.map(Octets::from),
            family: None,
        }),
    })
}

fn udp(
    call: &model::Udp,
    expect: &Expect,
    timeout_ms: u64,
    scope: &Scope,
) -> Result<Question, Diagnostic> {
    let host = call.host.fill(scope)?;
    let port = port(&call.port, scope)?;
    let send = call
        .send
        .as_ref()
        .map(|send| send.fill(scope))
        .transpose()?;
    Ok(Question {
        description: format!("nc -u {host} {port}"),
        target: Some(Target {
            protocol: Protocol::Udp,
            host: host.clone(),
            port: Some(port),
        }),
        probe: ask::Probe::Udp(ask::Udp {
            host,
            port,
            timeout_ms,
            send: send.map(Octets::from).unwrap_or_default(),
            expect: awaited(expect, scope)?.map(Octets::from),
            family: None,
        }),
    })
}

fn port(template: &model::Template, scope: &Scope) -> Result<u16, Diagnostic> {
    let text = template.fill(scope)?;
    text.parse().map_err(|_| {
        let message = format!("`{text}` is not a port");
        Diagnostic::error(Code::BadValue, template.at(), message)
            .help("a port is a number from 1 to 65535")
    })
}

fn dns(call: &model::Dns, timeout_ms: u64, scope: &Scope) -> Result<Question, Diagnostic> {
    let name = call.name.fill(scope)?;
    let server = call
        .server
        .as_ref()
        .map(|server| server.fill(scope))
        .transpose()?;
    let at = server
        .as_ref()
        .map(|server| format!(" @{server}"))
        .unwrap_or_default();
    Ok(Question {
        description: format!("dig {name} {}{at}", call.record),
        target: server.clone().map(|host| Target {
            protocol: Protocol::Udp,
            host,
            port: Some(53),
        }),
        probe: ask::Probe::Dns(ask::Dns {
            name,
            record_type: record_type(call.record),
            server,
            timeout_ms,
        }),
    })
}

fn exec(call: &model::Exec, timeout_ms: u64, scope: &Scope) -> Result<Question, Diagnostic> {
    let words = call.argv.iter().map(|word| word.fill(scope));
    let argv = words.collect::<Result<Vec<_>, _>>()?;
    let stdin = call
        .stdin
        .as_ref()
        .map(|stdin| stdin.fill(scope))
        .transpose()?;
    let typed: Vec<_> = argv.iter().map(|word| shell_word(word)).collect();
    Ok(Question {
        description: typed.join(" "),
        target: None,
        probe: ask::Probe::Exec(ask::Exec {
            argv,
            timeout_ms,
            stdin: stdin.map(Octets::from),
        }),
    })
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// What the agent reads for before it calls a TCP probe done: the text that is expected, as far as it is one text.
fn awaited(expect: &Expect, scope: &Scope) -> Result<Option<String>, Diagnostic> {
    let Outcome::Answered(Answer::Tcp(tcp) | Answer::Udp(tcp)) = &expect.outcome else {
        return Ok(None);
    };
    let Some(TextMatch {
        is,
        contains,
        matches,
        ..
    }) = &tcp.received
    else {
        return Ok(None);
    };
    match is.as_ref().or(contains.first()) {
        Some(text) => text.fill(scope).map(Some),
        // A pattern can only be held against whole lines.
        None => Ok(matches.as_ref().map(|_| "\n".to_owned())),
    }
}

fn record_type(record: RecordType) -> ask::RecordType {
    match record {
        RecordType::A => ask::RecordType::A,
        RecordType::Aaaa => ask::RecordType::Aaaa,
        RecordType::Cname => ask::RecordType::Cname,
        RecordType::Mx => ask::RecordType::Mx,
        RecordType::Ptr => ask::RecordType::Ptr,
        RecordType::Srv => ask::RecordType::Srv,
        RecordType::Txt => ask::RecordType::Txt,
    }
}

/// Host and port of a URL, the port by its scheme when it has none.
fn target_of_url(url: &str) -> Option<Target> {
    let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
    let authority = rest.split(['/', '?', '#']).next()?;
    let authority = authority.rsplit('@').next()?;
    let (host, port) = match authority
        .strip_prefix('[')
        .and_then(|rest| rest.split_once(']'))
    {
        Some((host, rest)) => (host, rest.strip_prefix(':')),
        None => authority
            .split_once(':')
            .map_or((authority, None), |(host, port)| (host, Some(port))),
    };
    let default = if scheme == "https" { 443 } else { 80 };
    let port = port.map_or(Some(default), |port| port.parse().ok())?;
    Some(Target {
        protocol: Protocol::Tcp,
        host: host.to_owned(),
        port: Some(port),
    })
}

/// Quoted only where a shell would need it.
fn shell_word(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rstest::rstest]
    #[case("http://192.168.200.4:9000/hostname", "192.168.200.4", 9000)]
    #[case("https://example.org/a:b", "example.org", 443)]
    #[case("http://[fd00::1]:81/", "fd00::1", 81)]
    #[case("http://user:secret@h/", "h", 80)]
    fn urls_tell_where_they_go(#[case] url: &str, #[case] host: &str, #[case] port: u16) {
        let target = target_of_url(url).unwrap();
        assert_eq!((target.host.as_str(), target.port), (host, Some(port)));
    }

    #[test]
    fn commands_can_be_typed() {
        assert_eq!(shell_word("-c"), "-c");
        assert_eq!(shell_word("it's"), r"'it'\''s'");
        assert_eq!(shell_word(""), "''");
    }
}
