//! Proxies to pods, services and nodes: an HTTP request is sent on to a port of a pod.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{
    CONNECTION, HOST, HeaderMap, HeaderName, HeaderValue, LOCATION, PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use serde_json::Value;

use crate::body::Body;
use crate::object;
use crate::pods::{AsyncReadWrite, PodConnector};
use crate::registry::builtin::{ENDPOINTS, NODES, PODS, SERVICES};
use crate::server::core::Core;
use crate::status::{Reason, Status};
use crate::storage::Key;

/// The port of a kubelet.
const KUBELET: u16 = 10250;
/// Of the connection, not of what is sent through it.
const HOP_BY_HOP: [HeaderName; 7] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
];

/// A request to be sent on.
pub struct Call<'a> {
    /// The resource: `pods`, `services` or `nodes`.
    pub plural: &'a str,
    pub namespace: Option<&'a str>,
    /// `[SCHEME:]NAME[:PORT]`
    pub name: &'a str,
    pub method: &'a Method,
    pub uri: &'a Uri,
    pub headers: &'a HeaderMap,
    pub body: &'a Bytes,
}

/// The pod port that a request goes to.
struct Target {
    namespace: String,
    pod: String,
    port: u16,
    /// How the port is called in errors.
    address: String,
}

fn unavailable(message: impl Into<String>) -> Status {
    Status::new(503, Reason::ServiceUnavailable, message)
}

fn unreachable(error: &dyn std::fmt::Display) -> Status {
    unavailable(format!("error trying to reach service: {error}"))
}

/// Sends a request on and returns the answer.
pub async fn answer(
    core: &Core,
    call: Call<'_>,
    upgrade: Option<OnUpgrade>,
) -> Result<Response<Body>, Status> {
    // Every HTTP/1.1 connection can be upgraded; only some requests ask for it.
    let upgrade = upgrade.filter(|_| call.headers.contains_key(UPGRADE));
    let (base, path) = split(call.uri.path(), call.namespace.is_some());
    let target = target(core, &call)?;
    if path.is_empty() && matches!(*call.method, Method::GET | Method::HEAD) {
        return Ok(redirect(&format!("{base}/"), call.uri.query()));
    }
    let pods = core.pods();
    let connection = connect(&pods, &target).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(connection))
        .await
        .map_err(|e| unreachable(&e))?;
    tokio::spawn(async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "proxied connection ended");
        }
    });
    let request = onward(&call, base, path, upgrade.is_some())?;
    let response = sender
        .send_request(request)
        .await
        .map_err(|e| unreachable(&e))?;
    Ok(backward(response, base, upgrade))
}

async fn connect(
    pods: &Arc<dyn PodConnector>,
    target: &Target,
) -> Result<Box<dyn AsyncReadWrite>, Status> {
    pods.port_forward(&target.namespace, &target.pod, target.port)
        .await
        .map_err(|status| unreachable(&format!("dial tcp {}: {}", target.address, status.message)))
}

/// The path of the proxy itself and what follows it, both as the client wrote them.
fn split(path: &str, namespaced: bool) -> (&str, &str) {
    // "", api, v1, [namespaces, NAMESPACE,] PLURAL, NAME, proxy
    let parts = if namespaced { 8 } else { 6 };
    path.match_indices('/')
        .nth(parts - 1)
        .map_or((path, ""), |(at, _)| path.split_at(at))
}

fn redirect(to: &str, query: Option<&str>) -> Response<Body> {
    let to = query.map_or_else(|| to.to_owned(), |query| format!("{to}?{query}"));
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
    if let Ok(to) = HeaderValue::from_str(&to) {
        response.headers_mut().insert(LOCATION, to);
    }
    response
}

/// The request as the pod gets it.
fn onward(
    call: &Call<'_>,
    base: &str,
    path: &str,
    upgrades: bool,
) -> Result<Request<Full<Bytes>>, Status> {
    let path = if path.is_empty() { "/" } else { path };
    let uri = match call.uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    let mut request = Request::builder()
        .method(call.method)
        .uri(uri)
        .body(Full::new(call.body.clone()))
        .map_err(|e| Status::bad_request(e.to_string()))?;
    let headers = request.headers_mut();
    *headers = call.headers.clone();
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
    if upgrades {
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    } else {
        headers.remove(UPGRADE);
    }
    if !headers.contains_key(HOST) {
        // HTTP/2 has the host elsewhere.
        let host = call.uri.authority().map_or("kubernetes", |a| a.as_str());
        headers.insert(
            HOST,
            HeaderValue::from_str(host).unwrap_or(HeaderValue::from_static("kubernetes")),
        );
    }
    let host = headers.get(HOST).cloned();
    let forwarded = [
        ("x-forwarded-host", host),
        ("x-forwarded-proto", Some(HeaderValue::from_static("https"))),
        (
            "x-forwarded-uri",
            HeaderValue::from_str(&format!("{base}{path}")).ok(),
        ),
    ];
    for (name, value) in forwarded {
        if let Some(value) = value {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
    Ok(request)
}

/// The answer as the client gets it; an upgraded connection is joined to the client's.
fn backward(
    mut response: Response<hyper::body::Incoming>,
    base: &str,
    upgrade: Option<OnUpgrade>,
) -> Response<Body> {
    if response.status() == StatusCode::SWITCHING_PROTOCOLS
        && let Some(client) = upgrade
    {
        let pod = hyper::upgrade::on(&mut response);
        tokio::spawn(async move {
            if let (Ok(client), Ok(pod)) = tokio::join!(client, pod) {
                let (mut client, mut pod) = (TokioIo::new(client), TokioIo::new(pod));
                // Either end may hang up whenever it likes.
                let _ = tokio::io::copy_bidirectional(&mut client, &mut pod).await;
            }
        });
        return response.map(|_| Body::empty());
    }
    let headers = response.headers_mut();
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
    // What the pod calls `/x` is below the proxy for the client.
    if let Some(to) = headers.get(LOCATION).and_then(|v| v.to_str().ok())
        && to.starts_with('/')
        && let Ok(to) = HeaderValue::from_str(&format!("{base}{to}"))
    {
        headers.insert(LOCATION, to);
    }
    response.map(|body| Body::stream(body.into_data_stream()))
}

/// `[SCHEME:]NAME[:PORT]` in its parts.
fn parts(name: &str) -> Option<(&str, &str, &str)> {
    let parts: Vec<&str> = name.split(':').collect();
    match parts.as_slice() {
        [name] => Some(("", *name, "")),
        [name, port] => Some(("", *name, *port)),
        [scheme @ ("" | "http" | "https"), name, port] => Some((*scheme, *name, *port)),
        _ => None,
    }
    .filter(|(_, name, _)| !name.is_empty())
}

fn target(core: &Core, call: &Call<'_>) -> Result<Target, Status> {
    let singular = call.plural.strip_suffix('s').unwrap_or(call.plural);
    let (scheme, name, port) = parts(call.name).ok_or_else(|| {
        Status::bad_request(format!("invalid {singular} request {:?}", call.name))
    })?;
    if scheme == "https" {
        return Err(Status::bad_request(
            "this server proxies to plain http ports only",
        ));
    }
    let namespace = call.namespace.unwrap_or_default();
    let (shelf, key) = match call.plural {
        "pods" => (PODS, Key::new(namespace, name)),
        "services" => (SERVICES, Key::new(namespace, name)),
        _ => (NODES, Key::new("", name)),
    };
    let entry = core
        .store
        .get(shelf, &key)
        .ok_or_else(|| Status::not_found("", call.plural, name))?;
    match call.plural {
        "pods" => pod(&entry.object, port),
        "services" => service(core, &entry.object, call.name, port),
        _ => Err(node(&entry.object, port)),
    }
}

fn number(port: &str) -> Result<u16, Status> {
    port.parse()
        .map_err(|_| unreachable(&format!("dial tcp: lookup tcp/{port}: unknown port")))
}

fn pod(pod: &Value, port: &str) -> Result<Target, Status> {
    let ip = object::text(pod, &["status", "podIP"]);
    if ip.is_empty() {
        return Err(Status::bad_request("address not allowed"));
    }
    let port = if port.is_empty() {
        object::list(pod, &["spec", "containers"])
            .iter()
            .find_map(|c| object::list(c, &["ports"]).first())
            .and_then(|port| object::integer(port, &["containerPort"]))
            .and_then(|port| u16::try_from(port).ok())
            .unwrap_or(80)
    } else {
        number(port)?
    };
    Ok(Target {
        namespace: object::namespace(pod).to_owned(),
        pod: object::name(pod).to_owned(),
        port,
        address: format!("{ip}:{port}"),
    })
}

/// A pod behind a service that is ready, any of them.
fn service(core: &Core, service: &Value, asked: &str, port: &str) -> Result<Target, Status> {
    let name = object::name(service);
    let mut port = port.to_owned();
    if let Ok(number) = port.parse::<i64>() {
        port = object::list(service, &["spec", "ports"])
            .iter()
            .find(|p| object::integer(p, &["port"]) == Some(number))
            .map(|p| object::text(p, &["name"]).to_owned())
            .ok_or_else(|| {
                unavailable(format!(
                    "no service port {number} found for service {name:?}"
                ))
            })?;
    }
    let namespace = object::namespace(service);
    let endpoints = core
        .store
        .get(ENDPOINTS, &Key::new(namespace, name))
        .ok_or_else(|| Status::not_found("", "endpoints", name))?;
    let subsets = object::list(&endpoints.object, &["subsets"]);
    if subsets.is_empty() {
        return Err(unavailable(format!(
            "no endpoints available for service {name:?}"
        )));
    }
    let choices: Vec<(&Value, u16)> = subsets
        .iter()
        .flat_map(|subset| {
            let number = object::list(subset, &["ports"])
                .iter()
                .find(|p| object::text(p, &["name"]) == port)
                .and_then(|p| object::integer(p, &["port"]))
                .and_then(|p| u16::try_from(p).ok());
            let addresses = object::list(subset, &["addresses"]);
            addresses.iter().filter_map(move |a| Some((a, number?)))
        })
        .filter(|(address, _)| object::text(address, &["targetRef", "kind"]) == "Pod")
        .collect();
    if choices.is_empty() {
        return Err(unavailable(format!(
            "no endpoints available for service {asked:?}"
        )));
    }
    let (address, port) = choices[rand::random_range(0..choices.len())];
    Ok(Target {
        namespace: namespace.to_owned(),
        pod: object::text(address, &["targetRef", "name"]).to_owned(),
        port,
        address: format!("{}:{port}", object::text(address, &["ip"])),
    })
}

/// Nothing listens on nodes: their kubelets are no servers.
fn node(node: &Value, port: &str) -> Status {
    let internal = object::list(node, &["status", "addresses"])
        .iter()
        .find(|a| object::text(a, &["type"]) == "InternalIP");
    let Some(address) = internal.map(|a| object::text(a, &["address"])) else {
        return Status::bad_request("address not allowed");
    };
    let port = if port.is_empty() {
        KUBELET.to_string()
    } else {
        port.to_owned()
    };
    unreachable(&format!(
        "dial tcp {address}:{port}: connect: connection refused"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_split_behind_the_proxy() {
        let pod = "/api/v1/namespaces/n/pods/p:80/proxy";
        assert_eq!(split(pod, true), (pod, ""));
        assert_eq!(split(&format!("{pod}/"), true), (pod, "/"));
        assert_eq!(split(&format!("{pod}/a%2Fb/c"), true), (pod, "/a%2Fb/c"));
        let node = "/api/v1/nodes/n/proxy";
        assert_eq!(split(&format!("{node}/pods"), false), (node, "/pods"));
    }

    #[test]
    fn names_have_schemes_and_ports() {
        assert_eq!(parts("a"), Some(("", "a", "")));
        assert_eq!(parts("a:80"), Some(("", "a", "80")));
        assert_eq!(parts("http:a:web"), Some(("http", "a", "web")));
        assert_eq!(parts("https:a:"), Some(("https", "a", "")));
        for wrong in ["", ":80", "ftp:a:80", "a:b:c:d"] {
            assert_eq!(parts(wrong), None, "{wrong}");
        }
    }
}
