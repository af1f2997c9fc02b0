//! Services that carry real packets: from pods and nodes, to pods and nodes.

use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{Api, Patch, PatchParams};
use serde_json::{Value, json};
use trunkline_fabric::NetNs;

use crate::record::node;
use crate::rig::{Cluster, create};

const LIMIT: Duration = Duration::from_secs(2);

/// A pod that serves, and says who asked.
struct Server {
    netns: NetNs,
    address: IpAddr,
}

pub async fn run(cluster: &Cluster) {
    cluster.namespace("svc").await;
    let client = pod(cluster, "client", "lab-worker", 30).await.netns;
    let near = pod(cluster, "near", "lab-worker", 31).await;
    let far = pod(cluster, "far", "lab-worker2", 32).await;
    for (server, name) in [(&near, "near"), (&far, "far")] {
        serve_tcp(&server.netns, name).await;
        serve_udp(&server.netns, name).await;
    }
    pods(cluster, &client, &near, &far).await;
    hosts(cluster, &client).await;
    local_only(cluster, &client, &near, &far).await;
    faithful(cluster, &client, &near, &far).await;
    from_outside(cluster, &client, &far).await;
    gone(cluster, &client, &near).await;
}

async fn pods(cluster: &Cluster, client: &NetNs, near: &Server, far: &Server) {
    let vip = service(cluster, "web", json!({})).await;
    let refused = ask_tcp(client, vip, 80).await;
    assert_eq!(refused, Err(io::ErrorKind::ConnectionRefused), "nobody yet");

    endpoints(cluster, "web", &[near.address]).await;
    assert_eq!(answer(client, vip).await.0, "near");
    let host = &cluster.fabric.node(&node("lab-worker")).unwrap().netns;
    assert_eq!(answer(host, vip).await.0, "near", "from the pod's node");

    endpoints(cluster, "web", &[far.address]).await;
    let (who, source) = answer(client, vip).await;
    assert_eq!(who, "far");
    let own = address_of(cluster, "client");
    assert_eq!(source, own, "the pod is seen as itself");
    assert_eq!(answer(host, vip).await.0, "far", "from another node");

    // A pod that reaches itself sees the masquerade address in its own place.
    let (who, source) = answer(&far.netns, vip).await;
    assert_eq!(
        (who.as_str(), source),
        ("far", Ipv4Addr::new(169, 254, 0, 5).into())
    );

    endpoints(cluster, "web", &[near.address, far.address]).await;
    let mut seen = BTreeSet::new();
    for _ in 0..40 {
        seen.insert(answer(client, vip).await.0);
    }
    assert_eq!(seen, ["far", "near"].map(str::to_owned).into());
    assert_eq!(ask_udp(client, vip).await.as_deref(), Some("near"));

    endpoints(cluster, "web", &[]).await;
    let refused = ask_tcp(client, vip, 80).await;
    assert_eq!(
        refused,
        Err(io::ErrorKind::ConnectionRefused),
        "nobody left"
    );
    // The gateway router's refusal has the MAC that node and router share, and does not get out.
    let silent = ask_tcp(host, vip, 80).await;
    assert!(silent.is_err(), "{silent:?}");
}

/// Endpoints on the hosts' network, as the API server is.
async fn hosts(cluster: &Cluster, client: &NetNs) {
    let vip = service(cluster, "api", json!({})).await;
    for name in ["lab-control-plane", "lab-worker"] {
        let host = cluster.fabric.node(&node(name)).unwrap();
        serve_tcp(&host.netns, name).await;
        endpoints(cluster, "api", &[host.ip.addr().into()]).await;
        assert_eq!(answer(client, vip).await.0, name, "from a pod to {name}");
        let other = &cluster.fabric.node(&node("lab-worker2")).unwrap().netns;
        assert_eq!(answer(other, vip).await.0, name, "from a node to {name}");
        assert_eq!(
            answer(&host.netns, vip).await.0,
            name,
            "from {name} to itself"
        );
    }
}

async fn local_only(cluster: &Cluster, client: &NetNs, near: &Server, far: &Server) {
    let local = json!({"internalTrafficPolicy": "Local"});
    let vip = service(cluster, "local", local).await;
    endpoints(cluster, "local", &[near.address, far.address]).await;
    for _ in 0..10 {
        assert_eq!(answer(client, vip).await.0, "near");
        assert_eq!(answer(&far.netns, vip).await.0, "far");
    }
}

/// A client with affinity stays with its endpoint.
async fn faithful(cluster: &Cluster, client: &NetNs, near: &Server, far: &Server) {
    for (name, seconds) in [("sticky", 100), ("married", 86_400)] {
        let config = json!({"clientIP": {"timeoutSeconds": seconds}});
        let more = json!({"sessionAffinity": "ClientIP", "sessionAffinityConfig": config});
        let vip = service(cluster, name, more).await;
        endpoints(cluster, name, &[near.address, far.address]).await;
        let first = answer(client, vip).await.0;
        for _ in 0..20 {
            assert_eq!(answer(client, vip).await.0, first, "{name}");
        }
    }
}

/// Node ports, from everywhere to every node, and an address that is not the cluster's.
async fn from_outside(cluster: &Cluster, client: &NetNs, far: &Server) {
    let outside = cluster.fabric.outside();
    let more = json!({"type": "NodePort", "externalIPs": ["192.0.2.7"]});
    service(cluster, "open", more).await;
    endpoints(cluster, "open", &[far.address]).await;
    let port = node_port(cluster, "open").await;
    let address = |name: &str| IpAddr::V4(cluster.fabric.node(&node(name)).unwrap().ip.addr());
    for name in ["lab-worker", "lab-worker2"] {
        for (who, from) in [("outside", outside), ("a pod", client)] {
            let said = ask_tcp(from, address(name), port).await;
            assert!(
                said.is_ok_and(|said| said.starts_with("far ")),
                "{who} to {name}"
            );
        }
    }
    let said = ask_tcp(client, "192.0.2.7".parse().unwrap(), 80).await;
    assert!(said.is_ok_and(|said| said.starts_with("far ")));

    // Only where it stays on its node is the sender seen.
    let seen =
        |said: Result<String, io::ErrorKind>| said.unwrap().split_once(' ').unwrap().1.to_owned();
    let disguised = seen(ask_tcp(outside, address("lab-worker2"), port).await);
    assert_ne!(disguised, "172.18.0.1");
    let api: Api<Service> = Api::namespaced(cluster.client.clone(), "svc");
    let local = json!({"spec": {"externalTrafficPolicy": "Local"}});
    api.patch("open", &PatchParams::default(), &Patch::Merge(local))
        .await
        .unwrap();
    in_force(cluster).await;
    assert_eq!(
        seen(ask_tcp(outside, address("lab-worker2"), port).await),
        "172.18.0.1"
    );
    let elsewhere = ask_tcp(outside, address("lab-worker"), port).await;
    assert!(elsewhere.is_err(), "{elsewhere:?}");

    let hidden = json!({"spec": {"type": "ClusterIP", "externalIPs": null, "externalTrafficPolicy": null, "ports": [
        {"name": "tcp", "port": 80, "targetPort": 8080, "protocol": "TCP"},
    ]}});
    api.patch("open", &PatchParams::default(), &Patch::Merge(hidden))
        .await
        .unwrap();
    in_force(cluster).await;
    let closed = ask_tcp(outside, address("lab-worker2"), port).await;
    assert_eq!(
        closed,
        Err(io::ErrorKind::ConnectionRefused),
        "the node itself"
    );
}

async fn node_port(cluster: &Cluster, service: &str) -> u16 {
    let api: Api<Service> = Api::namespaced(cluster.client.clone(), "svc");
    let spec = api.get(service).await.unwrap().spec.unwrap();
    u16::try_from(spec.ports.unwrap()[0].node_port.unwrap()).unwrap()
}

/// Without its service an address leads nowhere.
async fn gone(cluster: &Cluster, client: &NetNs, near: &Server) {
    let vip = service(cluster, "brief", json!({})).await;
    endpoints(cluster, "brief", &[near.address]).await;
    assert_eq!(answer(client, vip).await.0, "near");
    let api: Api<Service> = Api::namespaced(cluster.client.clone(), "svc");
    api.delete("brief", &kube::api::DeleteParams::default())
        .await
        .unwrap();
    in_force(cluster).await;
    let silent = ask_tcp(client, vip, 80).await;
    assert!(silent.is_err(), "{silent:?}");
}

async fn pod(cluster: &Cluster, name: &str, node: &str, number: u8) -> Server {
    let pod = cluster.pod("svc", name, node, "").await;
    let (netns, added) = cluster.connect(&pod, number).await.unwrap();
    Server {
        netns,
        address: added.pod_ips[0],
    }
}

fn address_of(cluster: &Cluster, pod: &str) -> IpAddr {
    let key = trunkline_ovnk::Key::new("svc", pod);
    cluster.ovnk.world().pods[&key].networks["default"].addresses[0].addr()
}

/// Creates a service on TCP 80 and UDP 53; returns its address.
async fn service(cluster: &Cluster, name: &str, more: Value) -> IpAddr {
    let mut spec = json!({"ports": [
        {"name": "tcp", "port": 80, "targetPort": 8080},
        {"name": "udp", "port": 53, "targetPort": 5353, "protocol": "UDP"},
    ]});
    let fields = spec.as_object_mut().unwrap();
    fields.extend(more.as_object().unwrap().clone());
    let api: Api<Service> = Api::namespaced(cluster.client.clone(), "svc");
    let service = create(&api, json!({"metadata": {"name": name}, "spec": spec})).await;
    in_force(cluster).await;
    service.spec.unwrap().cluster_ip.unwrap().parse().unwrap()
}

/// What the endpoint slice controller does.
async fn endpoints(cluster: &Cluster, service: &str, addresses: &[IpAddr]) {
    let world = cluster.ovnk.world();
    let endpoints: Vec<_> = addresses
        .iter()
        .map(|address| {
            let pod = world.pods.values().find(|pod| {
                let networks = pod.networks.values();
                networks
                    .flat_map(|attachment| &attachment.addresses)
                    .any(|net| net.addr() == *address)
            });
            let node = pod
                .and_then(|pod| pod.node.as_ref())
                .map(ToString::to_string);
            json!({"addresses": [address], "nodeName": node, "conditions": {"ready": true}})
        })
        .collect();
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {
            "name": format!("{service}-1"), "labels": {"kubernetes.io/service-name": service},
        },
        "addressType": "IPv4", "endpoints": endpoints,
        "ports": [
            {"name": "tcp", "port": 8080, "protocol": "TCP"},
            {"name": "udp", "port": 5353, "protocol": "UDP"},
        ],
    });
    let api: Api<EndpointSlice> = Api::namespaced(cluster.client.clone(), "svc");
    let params = PatchParams::apply("test").force();
    let name = format!("{service}-1");
    api.patch(&name, &params, &Patch::Apply(slice))
        .await
        .unwrap();
    in_force(cluster).await;
}

async fn in_force(cluster: &Cluster) {
    cluster.ovnk.settled().await.unwrap();
    cluster.fabric.barrier().await.unwrap();
}

/// Says its name and who asked, to everybody, until the process ends.
async fn serve_tcp(netns: &NetNs, name: &'static str) {
    let listener = netns
        .run(|| TcpListener::bind("0.0.0.0:8080").unwrap())
        .await
        .unwrap();
    std::thread::spawn(move || {
        while let Ok((mut stream, from)) = listener.accept() {
            // Whoever has gone meanwhile wants no answer.
            let _ = write!(stream, "{name} {}", from.ip());
        }
    });
}

async fn serve_udp(netns: &NetNs, name: &'static str) {
    let socket = netns
        .run(|| UdpSocket::bind("0.0.0.0:5353").unwrap())
        .await
        .unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 64];
        while let Ok((_, from)) = socket.recv_from(&mut buffer) {
            let _ = socket.send_to(name.as_bytes(), from);
        }
    });
}

async fn ask_tcp(from: &NetNs, address: IpAddr, port: u16) -> Result<String, io::ErrorKind> {
    let target = SocketAddr::new(address, port);
    from.run(move || {
        let mut stream = TcpStream::connect_timeout(&target, LIMIT)?;
        stream.set_read_timeout(Some(LIMIT))?;
        let mut said = String::new();
        stream.read_to_string(&mut said)?;
        Ok(said)
    })
    .await
    .unwrap()
    .map_err(|error: io::Error| error.kind())
}

/// Who answers, and whom it saw asking.
async fn answer(from: &NetNs, address: IpAddr) -> (String, IpAddr) {
    let said = ask_tcp(from, address, 80).await;
    let said = said.unwrap_or_else(|error| panic!("{address} does not answer: {error}"));
    let (who, source) = said.split_once(' ').unwrap();
    (who.to_owned(), source.parse().unwrap())
}

/// Until `near` has answered or nobody does: either endpoint may get a packet.
async fn ask_udp(from: &NetNs, address: IpAddr) -> Option<String> {
    from.run(move || {
        let mut last = None;
        for _ in 0..20 {
            // Another socket is another connection, with an endpoint of its own.
            let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
            socket.set_read_timeout(Some(LIMIT)).ok()?;
            socket.connect(SocketAddr::new(address, 53)).ok()?;
            socket.send(b"who").ok()?;
            let mut buffer = [0; 64];
            let length = socket.recv(&mut buffer).ok()?;
            last = String::from_utf8(buffer[..length].to_vec()).ok();
            if last.as_deref() == Some("near") {
                break;
            }
        }
        last
    })
    .await
    .unwrap()
}
