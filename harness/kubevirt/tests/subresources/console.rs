//! The console, as recorded of a real cluster.

use http::Request;
use http_body_util::BodyExt;
use kube::client::Body;
use serde_json::{Value, json};

use crate::site::{BASE, message, site};
use crate::socket::{ACCEPT, Frame, PLAIN, handshake, open, try_open};

fn path(name: &str) -> String {
    format!("{BASE}/virtualmachineinstances/{name}/console")
}

#[tokio::test]
async fn bytes_go_both_ways_in_binary_frames() {
    let site = site().await;
    let uid = site.running("tiny").await;
    let mut a = open(&site.admin, &path("tiny")).await;
    assert_eq!(a.headers["upgrade"], "websocket");
    assert_eq!(a.headers["connection"], "Upgrade");
    assert_eq!(a.headers["sec-websocket-accept"], ACCEPT);
    assert_eq!(a.headers["sec-websocket-protocol"], PLAIN);
    a.binary(b"\r").await;
    assert_eq!(a.bytes(1).await, b"\r");
    a.binary(b"echo \x00\xff\x1b[6n\r").await;
    assert_eq!(a.bytes(12).await, b"echo \x00\xff\x1b[6n\r");
    assert_eq!(
        site.machines.taken(),
        [format!("console default/tiny {uid}")]
    );
}

#[tokio::test]
async fn a_second_client_ejects_the_first_without_a_word() {
    let site = site().await;
    site.running("tiny").await;
    let mut a = open(&site.admin, &path("tiny")).await;
    a.binary(b"a").await;
    assert_eq!(a.bytes(1).await, b"a");
    let mut b = open(&site.admin, &path("tiny")).await;
    assert_eq!(a.next().await, None, "no close frame, only the end");
    b.binary(b"b").await;
    assert_eq!(b.bytes(1).await, b"b");
    // Another machine's console is another one.
    site.running("other").await;
    let mut other = open(&site.admin, &path("other")).await;
    other.binary(b"o").await;
    assert_eq!(other.bytes(1).await, b"o");
    b.binary(b"still").await;
    assert_eq!(b.bytes(5).await, b"still");
}

#[tokio::test]
async fn closes_are_answered_with_their_code() {
    let site = site().await;
    site.running("tiny").await;
    for (said, answered) in [
        (&b"\x03\xe8bye"[..], &b"\x03\xe8"[..]),
        (b"\x03\xe9", b"\x03\xe9"),
        (b"", b""),
    ] {
        let mut socket = open(&site.admin, &path("tiny")).await;
        socket.binary(b"last").await;
        assert_eq!(socket.bytes(4).await, b"last");
        socket.send(0x88, said).await;
        let frame = Frame {
            first: 0x88,
            payload: answered.to_vec(),
        };
        assert_eq!(socket.next().await, Some(frame));
        assert_eq!(socket.next().await, None);
    }
}

#[tokio::test]
async fn a_client_that_breaks_the_protocol_is_told_so() {
    let site = site().await;
    site.running("tiny").await;
    let mut socket = open(&site.admin, &path("tiny")).await;
    // A continuation of nothing.
    socket.send(0x80, b"x").await;
    let frame = socket.next().await.unwrap();
    assert_eq!(frame.first, 0x88);
    assert_eq!(frame.payload, b"\x03\xeacontinuation after FIN");
    assert_eq!(socket.next().await, None);
}

#[tokio::test]
async fn text_is_passed_over_and_pings_are_answered() {
    let site = site().await;
    site.running("tiny").await;
    let mut socket = open(&site.admin, &path("tiny")).await;
    socket.send(0x81, b"\r").await;
    socket.send(0x89, b"there?").await;
    let pong = Frame {
        first: 0x8a,
        payload: b"there?".to_vec(),
    };
    assert_eq!(socket.next().await, Some(pong), "the text brought no echo");
    // One message in three frames, with a ping in between.
    socket.send(0x02, b"on").await;
    socket.send(0x89, b"").await;
    socket.send(0x00, b"e").await;
    socket.send(0x80, b"!").await;
    let mut echoed = Vec::new();
    let mut pongs = 0;
    while echoed.len() < 4 {
        let frame = socket.next().await.unwrap();
        match frame.first {
            0x82 => echoed.extend(frame.payload),
            0x8a => pongs += 1,
            other => panic!("{other:x}"),
        }
    }
    assert_eq!((&echoed[..], pongs), (&b"one!"[..], 1));
}

#[tokio::test]
async fn any_sub_protocol_or_none_is_served() {
    let site = site().await;
    site.running("tiny").await;
    let offers = [
        (None, None),
        (Some("v4.channel.k8s.io"), None),
        (Some("v4.channel.k8s.io, plain.kubevirt.io"), Some(PLAIN)),
    ];
    for (offered, chosen) in offers {
        let socket = try_open(&site.admin, &path("tiny"), offered).await;
        let mut socket = socket.map_err(|response| response.status()).unwrap();
        let named = socket.headers.get("sec-websocket-protocol");
        assert_eq!(named.map(|name| name.to_str().unwrap()), chosen);
        socket.binary(b"\r").await;
        assert_eq!(socket.bytes(1).await, b"\r");
    }
}

#[tokio::test]
async fn the_end_of_the_machine_is_the_end_of_the_connection() {
    let site = site().await;
    let uid = site.running("tiny").await;
    let mut socket = open(&site.admin, &path("tiny")).await;
    socket.binary(b"x").await;
    assert_eq!(socket.bytes(1).await, b"x");
    site.machines.power_off(&uid);
    assert_eq!(socket.next().await, None, "no close frame, only the end");
}

#[tokio::test]
async fn clients_in_the_same_process_have_consoles_too() {
    let site = site().await;
    site.running("tiny").await;
    let mut a = open(&site.inside, &path("tiny")).await;
    a.binary(b"a").await;
    assert_eq!(a.bytes(1).await, b"a");
    let mut b = open(&site.admin, &path("tiny")).await;
    assert_eq!(a.next().await, None);
    b.binary(b"b").await;
    assert_eq!(b.bytes(1).await, b"b");
}

#[tokio::test]
async fn no_such_instance_is_refused_as_recorded() {
    let site = site().await;
    let response = try_open(&site.admin, &path("nope"), Some(PLAIN)).await;
    let response = response.err().unwrap();
    assert_eq!(response.status(), 404);
    assert_eq!(response.headers()["content-type"], "application/json");
    assert_eq!(response.headers()["content-length"], "284");
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let recorded = r#"{
 "kind": "Status",
 "apiVersion": "v1",
 "metadata": {},
 "status": "Failure",
 "message": "virtualmachineinstance.kubevirt.io \"nope\" not found",
 "reason": "NotFound",
 "details": {
  "name": "nope",
  "group": "kubevirt.io",
  "kind": "virtualmachineinstance"
 },
 "code": 404
}"#;
    assert_eq!(std::str::from_utf8(&body).unwrap(), recorded);
}

#[tokio::test]
async fn what_is_no_handshake_is_refused_as_recorded() {
    let site = site().await;
    site.running("tiny").await;
    let plain = Request::get(path("tiny")).body(Body::empty()).unwrap();
    let response = site.admin.send(plain).await.unwrap();
    assert_eq!(response.status(), 400);
    assert_eq!(response.headers()["content-length"], "255");
    assert_eq!(
        response.headers()["content-type"],
        "text/plain; charset=utf-8"
    );
    assert_eq!(response.headers()["sec-websocket-version"], "13");
    assert_eq!(response.headers()["x-content-type-options"], "nosniff");
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let body = std::str::from_utf8(&body).unwrap();
    let status = body.strip_prefix("Bad Request\n").unwrap();
    let status: Value = serde_json::from_str(status).unwrap();
    assert_eq!(
        status["message"],
        "websocket: the client is not using the websocket protocol: 'upgrade' token not found in 'Connection' header"
    );
    assert_eq!(status["reason"], "BadRequest");

    let mut old = handshake(&path("tiny"), None);
    old.headers_mut()
        .insert("sec-websocket-version", "8".parse().unwrap());
    let response = site.admin.send(old).await.unwrap();
    assert_eq!(response.status(), 400);
    let mut short = handshake(&path("tiny"), None);
    short
        .headers_mut()
        .insert("sec-websocket-key", "c2hvcnQ=".parse().unwrap());
    let response = site.admin.send(short).await.unwrap();
    assert_eq!(response.status(), 400);
}

#[tokio::test]
async fn states_without_a_console_are_refused() {
    let site = site().await;
    let refused = |name: &'static str, code: u16| {
        let (client, path) = (site.admin.clone(), path(name));
        async move {
            let response = try_open(&client, &path, Some(PLAIN)).await.err().unwrap();
            let code_given = response.status().as_u16();
            let body = response.into_body().collect().await.unwrap().to_bytes();
            let answer = (code_given, String::from_utf8(body.to_vec()).unwrap());
            message(&answer, code)
        }
    };
    for phase in ["", "Pending", "Scheduling", "Scheduled", "Succeeded"] {
        let name: &'static str = match phase {
            "" => "unset",
            "Pending" => "pending",
            "Scheduling" => "scheduling",
            "Scheduled" => "scheduled",
            _ => "succeeded",
        };
        let status = if phase.is_empty() {
            json!({})
        } else {
            json!({"phase": phase})
        };
        site.instance(name, json!({}), status).await;
        assert_eq!(refused(name, 400).await, "VMI is not running");
    }
    site.instance("failed", json!({}), json!({"phase": "Failed"}))
        .await;
    assert_eq!(
        refused("failed", 409).await,
        "Operation cannot be fulfilled on virtualmachineinstance.kubevirt.io \"failed\": VMI is in failed status"
    );
    let silent = json!({"domain": {"devices": {"autoattachSerialConsole": false}}});
    site.instance("silent", silent, json!({"phase": "Running"}))
        .await;
    assert_eq!(
        refused("silent", 400).await,
        "No serial consoles are present."
    );
    site.running("gone").await;
    assert_eq!(
        refused("gone", 500).await,
        "Internal error occurred: Can't connect to websocket (400): the machine is not running"
    );
}
