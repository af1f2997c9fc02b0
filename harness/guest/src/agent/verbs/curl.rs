//! HTTP and HTTPS.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;

use trunkline_guest::Octets;
use trunkline_guest::protocol::{Answer, Curl, CurlAnswer, Outcome, Stage};

use crate::deadline::Deadline;
use crate::dial::{self, Timed};
use crate::http::{self, KEPT, Response, Scheme, Url};
use crate::resolve::Resolver;
use crate::{tls, verdict};

pub fn run(probe: &Curl, resolver: &Resolver, deadline: Deadline) -> Outcome {
    match follow(probe, resolver, deadline) {
        Ok(answer) => Outcome::Answered(Answer::Curl(answer)),
        Err(outcome) => outcome,
    }
}

/// The request as it changes over redirects.
struct Turn<'a> {
    url: Url,
    method: &'a str,
    headers: BTreeMap<String, String>,
    body: Option<&'a [u8]>,
}

fn follow(probe: &Curl, resolver: &Resolver, deadline: Deadline) -> Result<CurlAnswer, Outcome> {
    let mut turn = Turn {
        url: Url::parse(&probe.url).map_err(wrong)?,
        method: &probe.method,
        headers: probe.headers.clone(),
        body: probe.body.as_ref().map(AsRef::as_ref),
    };
    let mut redirects = 0;
    loop {
        let (response, local, remote) = once(probe, &turn, resolver, deadline)?;
        let location = match response.status {
            301 | 302 | 303 | 307 | 308 => response.header("location"),
            _ => None,
        };
        if let Some(location) = location
            && redirects < probe.max_redirects
        {
            redirects += 1;
            turn.redirect(response.status, location)?;
            continue;
        }
        return Ok(CurlAnswer {
            status: response.status,
            version: response.version,
            headers: response.headers,
            truncated: response.bytes > KEPT as u64,
            bytes: response.bytes,
            body: Octets(response.body),
            remote,
            local,
            redirected_to: (redirects > 0).then(|| turn.url.to_string()),
        });
    }
}

impl Turn<'_> {
    fn redirect(&mut self, status: u16, location: &str) -> Result<(), Outcome> {
        let next = self.url.join(location).map_err(wrong)?;
        // As browsers and curl do (RFC 9110 §15.4).
        let becomes_get = status == 303 || (status < 303 && self.method == "POST");
        if becomes_get && self.method != "HEAD" {
            self.method = "GET";
            self.body = None;
        }
        if next.host != self.url.host || next.port != self.url.port {
            self.headers
                .retain(|name, _| !name.eq_ignore_ascii_case("authorization"));
        }
        self.url = next;
        Ok(())
    }
}

fn once(
    probe: &Curl,
    turn: &Turn<'_>,
    resolver: &Resolver,
    deadline: Deadline,
) -> Result<(Response, SocketAddr, SocketAddr), Outcome> {
    let url = &turn.url;
    let addresses = resolver.addresses(&url.host, probe.family, deadline)?;
    let stream = dial::connect(&addresses, url.port, deadline)?;
    let ends = stream
        .local_addr()
        .and_then(|local| Ok((local, stream.peer_addr()?)));
    let (local, remote) = ends.map_err(|error| wrong(error.to_string()))?;
    let broken =
        |stage| move |error: io::Error| verdict::of(&error, None, deadline, stage, remote.ip());
    let stream = Timed::new(stream, deadline);
    let exchange = (url, turn.method, &turn.headers, turn.body);
    let response = match url.scheme {
        Scheme::Http => http::exchange(stream, exchange.0, exchange.1, exchange.2, exchange.3),
        Scheme::Https => {
            let stream =
                tls::connect(stream, &url.host, probe.insecure).map_err(broken(Stage::Tls))?;
            http::exchange(stream, exchange.0, exchange.1, exchange.2, exchange.3)
        }
    };
    Ok((response.map_err(broken(Stage::Response))?, local, remote))
}

fn wrong(message: String) -> Outcome {
    verdict::error(message)
}
