//! Streams beyond the console's protocol: much data, ports, devices that are not there, and who may use them.

use http::Method;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::site::{BASE, call, message, site};
use crate::socket::{PLAIN, Socket, open, try_open};

fn instance(name: &str, rest: &str) -> String {
    format!("{BASE}/virtualmachineinstances/{name}/{rest}")
}

async fn refused(client: &kube::Client, path: &str) -> (u16, String) {
    let Err(response) = try_open(client, path, Some(PLAIN)).await else {
        panic!("{path} is served");
    };
    let code = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (code, String::from_utf8(body.to_vec()).unwrap())
}

/// Bytes that look like nothing in particular.
fn noise(count: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    (0..count)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[3]
        })
        .collect()
}

fn frame(payload: &[u8]) -> Vec<u8> {
    let mask = [9, 8, 7, 6];
    let mut bytes = vec![0x82, 0xff];
    bytes.extend((payload.len() as u64).to_be_bytes());
    bytes.extend(mask);
    bytes.extend(
        payload
            .iter()
            .zip(mask.iter().cycle())
            .map(|(byte, mask)| byte ^ mask),
    );
    bytes
}

/// Types these messages and reads as many bytes as they have, at the same time.
async fn echoed(socket: Socket, messages: Vec<Vec<u8>>) -> Vec<u8> {
    let (mut reader, mut writer) = socket.split();
    let count: usize = messages.iter().map(Vec::len).sum();
    let typing = tokio::spawn(async move {
        for message in messages {
            writer.write_all(&frame(&message)).await.unwrap();
            writer.flush().await.unwrap();
        }
        writer
    });
    let mut all = Vec::new();
    while all.len() < count {
        let (first, length) = (
            reader.read_u8().await.unwrap(),
            reader.read_u8().await.unwrap(),
        );
        assert_eq!(first, 0x82);
        let length = match length {
            126 => u64::from(reader.read_u16().await.unwrap()),
            127 => reader.read_u64().await.unwrap(),
            short => u64::from(short),
        };
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        reader.read_exact(&mut payload).await.unwrap();
        all.extend(payload);
    }
    typing.await.unwrap();
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mebibyte_goes_both_ways_byte_for_byte() {
    let site = site().await;
    site.running("tiny").await;
    let noise = noise(1024 * 1024);
    for size in [1024 * 1024, 10_240, 4093] {
        let socket = open(&site.admin, &instance("tiny", "console")).await;
        let messages = noise.chunks(size).map(<[u8]>::to_vec).collect();
        assert!(
            echoed(socket, messages).await == noise,
            "in messages of {size}"
        );
    }
}

#[tokio::test]
async fn ports_are_forwarded_until_they_hang_up() {
    let site = site().await;
    let uid = site.running("tiny").await;
    for path in ["portforward/80", "portforward/80/tcp"] {
        let mut socket = open(&site.admin, &instance("tiny", path)).await;
        socket.binary(b"GET / HTTP/1.0\r\n\r\n").await;
        assert_eq!(socket.bytes(21).await, b"hello from the guest\n");
        assert_eq!(socket.next().await, None, "no close frame, only the end");
        let called = format!("port 80 of default/tiny {uid}");
        assert_eq!(site.machines.taken(), [called]);
    }
    // Whoever is silent is asked every second whether it is still there.
    let mut socket = open(&site.admin, &instance("tiny", "portforward/80")).await;
    let ping = socket.next().await.unwrap();
    assert_eq!((ping.first, &ping.payload[..]), (0x89, &b"keep alive"[..]));
}

#[tokio::test]
async fn ports_that_cannot_be_forwarded_say_why() {
    let site = site().await;
    site.running("tiny").await;
    let dialing = [
        ("81", "dial tcp 10.0.2.2:81: connect: connection refused"),
        ("80/udp", "dial udp: only tcp is forwarded here"),
        ("80/sctp", "dial sctp: unknown network sctp"),
        ("http", "dial tcp: lookup tcp/http: unknown port"),
        ("65536", "dial tcp: address 65536: invalid port"),
    ];
    for (port, why) in dialing {
        let path = instance("tiny", &format!("portforward/{port}"));
        assert_eq!(
            message(&refused(&site.admin, &path).await, 500),
            format!("Internal error occurred: dialing VM: {why}")
        );
    }
    site.instance("new", json!({}), json!({"phase": "Scheduling"}))
        .await;
    assert_eq!(
        message(
            &refused(&site.admin, &instance("new", "portforward/80")).await,
            400
        ),
        "no network interfaces are present"
    );
    let paused = json!({
        "phase": "Running", "interfaces": [{"ipAddress": "10.244.1.9"}],
        "conditions": [{"type": "Paused", "status": "True"}],
    });
    site.instance("paused", json!({}), paused).await;
    assert_eq!(
        message(
            &refused(&site.admin, &instance("paused", "portforward/80")).await,
            409
        ),
        "Operation cannot be fulfilled on virtualmachineinstance.kubevirt.io \"paused\": VMI is paused"
    );
}

#[tokio::test]
async fn ports_of_a_machine_are_those_of_its_instance() {
    let site = site().await;
    let path = format!("{BASE}/virtualmachines/pair/portforward/80");
    assert_eq!(
        message(&refused(&site.admin, &path).await, 404),
        "virtualmachine.kubevirt.io \"pair\" not found"
    );
    let uid = site
        .machine("pair", json!({"running": true}), Value::Null)
        .await;
    assert_eq!(
        message(&refused(&site.admin, &path).await, 409),
        "Operation cannot be fulfilled on virtualmachine.kubevirt.io \"pair\": VMI is not started"
    );
    site.set_status("pair", &json!({"created": true})).await;
    let vmi = json!({
        "apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstance",
        "metadata": {"name": "pair", "ownerReferences": [{
            "apiVersion": "kubevirt.io/v1", "kind": "VirtualMachine", "name": "pair", "uid": uid, "controller": true,
        }]},
        "spec": {"domain": {"devices": {}}},
        "status": {"phase": "Running", "interfaces": [{"ipAddress": "10.244.1.9"}]},
    });
    site.create("virtualmachineinstances", &vmi).await;
    let mut socket = open(&site.admin, &path).await;
    socket.binary(b"GET / HTTP/1.0\r\n\r\n").await;
    assert_eq!(socket.bytes(21).await, b"hello from the guest\n");
}

#[tokio::test]
async fn devices_that_machines_do_not_have_are_refused() {
    let site = site().await;
    site.running("tiny").await;
    let conflict = "Operation cannot be fulfilled on virtualmachineinstance.kubevirt.io \"tiny\": \
                    Not configured with USB Redirection";
    for (rest, code, why) in [
        ("vnc", 400, "No graphics devices are present."),
        (
            "vnc?preserveSession=true",
            400,
            "No graphics devices are present.",
        ),
        ("usbredir", 409, conflict),
        ("vsock?port=22", 400, "VSOCK is not attached."),
    ] {
        let answer = refused(&site.admin, &instance("tiny", rest)).await;
        assert_eq!(message(&answer, code), why, "{rest}");
    }
    let screenshot = site
        .read("virtualmachineinstances/tiny/vnc/screenshot")
        .await;
    assert_eq!(
        screenshot,
        (500, "No graphics devices are present.".to_owned())
    );
}

#[tokio::test]
async fn only_who_may_reaches_into_machines() {
    let site = site().await;
    site.running("tiny").await;
    let rbac = "/apis/rbac.authorization.k8s.io/v1/namespaces/default";
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "console"},
        "rules": [{
            "apiGroups": ["subresources.kubevirt.io"],
            "resources": ["virtualmachineinstances/console", "virtualmachineinstances/portforward"], "verbs": ["get"],
        }],
    });
    let binding = |user: &str, role: Value| {
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": user},
            "roleRef": role, "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": user}],
        })
    };
    let own = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "console"});
    let edit = json!({
        "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "kubevirt.io:edit",
    });
    for (path, object) in [
        ("roles", role),
        ("rolebindings", binding("operator", own)),
        ("rolebindings", binding("editor", edit)),
    ] {
        let path = format!("{rbac}/{path}");
        let (code, answer) = call(&site.admin, Method::POST, &path, &object).await;
        assert_eq!(code, 201, "{answer}");
    }
    let nobody = site.user("nobody", &[]).await;
    let operator = site.user("operator", &[]).await;
    let editor = site.user("editor", &[]).await;

    assert_eq!(
        message(&refused(&nobody, &instance("tiny", "console")).await, 403),
        "virtualmachineinstances.subresources.kubevirt.io \"tiny\" is forbidden: User \"nobody\" cannot get resource \
         \"virtualmachineinstances/console\" in API group \"subresources.kubevirt.io\" in the namespace \"default\""
    );
    assert!(site.machines.taken().is_empty(), "nobody came that far");
    open(&operator, &instance("tiny", "console")).await;
    open(&operator, &instance("tiny", "portforward/80/tcp")).await;
    let pause = instance("tiny", "pause");
    let (code, _) = call(&operator, Method::PUT, &pause, &Value::Null).await;
    assert_eq!(code, 403);
    open(&editor, &instance("tiny", "console")).await;
    let (code, answer) = call(&editor, Method::PUT, &pause, &Value::Null).await;
    assert_eq!(code, 200, "{answer}");
    // Everybody may ask for the version.
    let version = "/apis/subresources.kubevirt.io/v1/version";
    let (code, answer) = call(&nobody, Method::GET, version, &Value::Null).await;
    assert_eq!(code, 200, "{answer}");
}
