//! Real kind clusters. Needs kind in PATH and Docker, and a node image that is there or can be pulled: the pinned one, or
//! the one that the file in TRUNKLINE_NODE_IMAGE describes. What is missing is said, and the tests are skipped.
//!
//! One test after the other, each on a cluster of its own, so a machine of two cores can do it.

#![allow(clippy::unwrap_used, reason = "helpers of tests, too, may")]

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Mutex,
    time::{Duration, Instant},
};

use trunkline_cluster::{
    component::{Needs, NodeImage, Profile, plan},
    docker::{Demands, Docker, HostFacts, Stdin, check},
    images,
    kind::{Home, KindError, Progress, Status, UpOptions},
    outside::{Outside, OutsideHost, Vlan, Wire, WireImages},
};

const NAME: &str = "trunkline-test";

/// Images of these two are made of nothing but a file.
const AGNHOST: &str = "registry.k8s.io/e2e-test-images/agnhost:2.53";

static ONE_AT_A_TIME: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

struct Rig {
    docker: Docker,
    home: Home,
    state: tempfile::TempDir,
    node_image: Option<PathBuf>,
    _alone: tokio::sync::MutexGuard<'static, ()>,
}

/// `None` when this machine cannot have a cluster; says why.
async fn rig() -> Option<Rig> {
    let alone = ONE_AT_A_TIME.lock().await;
    let node_image = std::env::var_os("TRUNKLINE_NODE_IMAGE").map(PathBuf::from);
    let nodes = node_image
        .as_deref()
        .map(|path| NodeImage::read(path).unwrap());
    let plan = plan(Profile::Plain, &Needs::default(), 2, nodes).unwrap();
    let lacking: Vec<String> = check(&HostFacts::gather().await, &Demands::from(&plan))
        .into_iter()
        .filter(|finding| finding.fatal)
        .map(|finding| finding.to_string())
        .collect();
    if !lacking.is_empty() {
        eprintln!("skipped: {}", lacking.join("\n"));
        return None;
    }
    let docker = Docker::connect().await.unwrap();
    if docker
        .client()
        .inspect_image(&plan.nodes.image)
        .await
        .is_err()
    {
        eprintln!(
            "skipped: the node image {} is not in Docker; pull it, or describe another in a file that TRUNKLINE_NODE_IMAGE names",
            plan.nodes.image
        );
        return None;
    }
    let state = tempfile::tempdir().unwrap();
    let rig = Rig {
        home: Home::at(state.path()),
        docker,
        state,
        node_image,
        _alone: alone,
    };
    assert!(
        rig.docker.nodes(NAME).await.unwrap().is_empty(),
        "a cluster {NAME} is left over; remove it: kind delete cluster --name {NAME}"
    );
    Some(rig)
}

impl Rig {
    fn options(&self) -> UpOptions {
        UpOptions {
            name: NAME.into(),
            profile: Profile::Plain,
            workers: 2,
            images: None,
            needs: Needs::default(),
            node_image: self.node_image.clone(),
            cache: self.state.path().join("cache"),
        }
    }

    async fn up(&self, options: UpOptions) -> (Duration, Vec<Progress>) {
        let start = Instant::now();
        let said = Mutex::new(Vec::new());
        let done = self
            .home
            .up(options, |progress| {
                eprintln!("{:6.1} s  {progress:?}", start.elapsed().as_secs_f64());
                said.lock().unwrap().push(progress);
            })
            .await;
        if let Err(error) = done {
            panic!("up failed: {}", report(&error));
        }
        (start.elapsed(), said.into_inner().unwrap())
    }

    async fn in_node(&self, node: &str, script: &str) -> trunkline_cluster::docker::Ran {
        self.docker
            .run(node, &["bash", "-c", script], &[], Stdin::Nothing)
            .await
            .unwrap()
    }
}

fn report(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        text.push_str("\n  because ");
        text.push_str(&error.to_string());
        next = error.source();
    }
    text
}

fn redone(said: &[Progress]) -> Vec<String> {
    said.iter()
        .filter_map(|progress| match progress {
            Progress::Done {
                component,
                already: false,
                ..
            } => Some(component.to_string()),
            _ => None,
        })
        .collect()
}

fn loaded(said: &[Progress]) -> Vec<(String, BTreeSet<String>)> {
    said.iter()
        .filter_map(|progress| match progress {
            Progress::Image(loaded) => Some((loaded.reference.clone(), loaded.nodes.clone())),
            _ => None,
        })
        .collect()
}

/// A docker archive of one image that holds one file.
fn archive(directory: &Path, reference: &str, content: &str) {
    let layer = {
        let mut tar = tar::Builder::new(Vec::new());
        append(&mut tar, "file", content.as_bytes());
        tar.into_inner().unwrap()
    };
    let diff_id = hex::encode(<sha2::Sha256 as sha2::Digest>::digest(&layer));
    let config = format!(
        r#"{{"architecture":"amd64","os":"linux","rootfs":{{"type":"layers","diff_ids":["sha256:{diff_id}"]}},"config":{{"Cmd":["/file"]}}}}"#
    );
    let manifest = format!(
        r#"[{{"Config":"config.json","RepoTags":["{reference}"],"Layers":["layer.tar"]}}]"#
    );
    let mut tar = tar::Builder::new(std::fs::File::create(directory.join("image.tar")).unwrap());
    append(&mut tar, "config.json", config.as_bytes());
    append(&mut tar, "layer.tar", &layer);
    append(&mut tar, "manifest.json", manifest.as_bytes());
    tar.finish().unwrap();
}

fn append(tar: &mut tar::Builder<impl std::io::Write>, name: &str, content: &[u8]) {
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    tar.append_data(&mut header, name, content).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_comes_up_is_kept_right_and_goes() {
    let Some(rig) = rig().await else { return };
    let users_own = std::env::home_dir().unwrap().join(".kube/config");
    let before = std::fs::read(&users_own).ok();

    let (first, said) = rig.up(rig.options()).await;
    eprintln!("first up: {first:?}");
    assert!(redone(&said).contains(&"node-image".to_owned()));
    let status = rig.home.status(NAME).await.unwrap();
    assert!(
        status.is_complete() && status.unfinished().is_none(),
        "{status:?}"
    );
    assert_eq!(
        std::fs::read(&users_own).ok(),
        before,
        "the user's own kubeconfig is none of ours"
    );

    let (second, said) = rig.up(rig.options()).await;
    eprintln!("second up: {second:?}");
    assert_eq!(redone(&said), Vec::<String>::new());
    assert!(second < Duration::from_secs(10), "{second:?}");

    // Another state directory is another user of trunkline.
    let other = tempfile::tempdir().unwrap();
    let refusal = Home::at(other.path())
        .up(rig.options(), |_| {})
        .await
        .unwrap_err();
    assert!(matches!(refusal, KindError::NameTaken { .. }), "{refusal}");
    let refusal = Home::at(other.path()).down(NAME).await.unwrap_err();
    assert!(matches!(refusal, KindError::NameTaken { .. }), "{refusal}");
    let more = UpOptions {
        workers: 3,
        ..rig.options()
    };
    let refusal = rig.home.up(more, |_| {}).await.unwrap_err();
    assert!(
        matches!(refusal, KindError::TooFewWorkers { .. }),
        "{refusal}"
    );

    broken_nodes_are_mended(&rig).await;
    what_crashes_tells_its_log(&rig).await;
    images_go_where_they_are_needed(&rig).await;
    a_host_outside_is_reached_from_a_node(&rig).await;

    assert!(rig.home.down(NAME).await.unwrap());
    assert!(rig.docker.nodes(NAME).await.unwrap().is_empty());
    assert!(!rig.state.path().join("clusters").join(NAME).exists());
    assert!(
        !rig.home.down(NAME).await.unwrap(),
        "there is nothing left to remove"
    );
}

/// Only a node image without a network of its own has a component that scripts the nodes.
async fn broken_nodes_are_mended(rig: &Rig) {
    if rig.node_image.is_none() {
        return;
    }
    let worker = format!("{NAME}-worker");
    rig.in_node(
        &worker,
        "systemctl stop kube-proxy; ip route flush proto boot 10.244.0.0/16 || true",
    )
    .await;
    assert_ne!(
        rig.in_node(&worker, "systemctl is-active kube-proxy")
            .await
            .code,
        0
    );
    let (_, said) = rig.up(rig.options()).await;
    assert_eq!(redone(&said), ["bridge-network"]);
    assert_eq!(
        rig.in_node(&worker, "systemctl is-active kube-proxy")
            .await
            .code,
        0
    );
    // A node that was stopped is started again.
    let stop = bollard::query_parameters::StopContainerOptionsBuilder::default()
        .t(2)
        .build();
    rig.docker
        .client()
        .stop_container(&worker, Some(stop))
        .await
        .unwrap();
    assert!(!rig.home.status(NAME).await.unwrap().is_complete());
    let (took, said) = rig.up(rig.options()).await;
    eprintln!("up after a node was stopped: {took:?}");
    assert!(
        said.contains(&Progress::Note(format!(
            "{worker} was stopped; it is started"
        ))),
        "{said:?}"
    );
    assert!(rig.home.status(NAME).await.unwrap().is_complete());
}

/// The image is one that the rig's nodes bring.
const CRASHING: &str = "\
apiVersion: v1
kind: Namespace
metadata: {name: crashing}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: crashing, namespace: crashing}
spec:
  selector: {matchLabels: {app: crashing}}
  template:
    metadata: {labels: {app: crashing}}
    spec:
      containers:
      - {name: c, image: \"lab.local/k8s/busybox:1\", imagePullPolicy: Never, command: [sh, -c, echo no database here; exit 3]}
";

async fn what_crashes_tells_its_log(rig: &Rig) {
    let Some(node_image) = &rig.node_image else {
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("crashing.yaml"), CRASHING).unwrap();
    let options = UpOptions {
        images: Some(directory.path().to_owned()),
        ..rig.options()
    };
    let nodes = NodeImage::read(node_image).unwrap();
    let mut plan = plan(Profile::Plain, &Needs::default(), 2, Some(nodes)).unwrap();
    let component = serde_json::json!({
        "name": "crashing", "title": "a program that gives up", "version": "1", "profiles": ["plain"],
        "requires": ["bridge-network"],
        "sources": [{
            "name": "crashing.yaml", "url": "https://example.org/crashing.yaml",
            "checksum": {"sha256": hex::encode(<sha2::Sha256 as sha2::Digest>::digest(CRASHING))},
        }],
        "install": [{"apply": {"source": "crashing.yaml"}}],
        "ready": [{"kind": "Deployment", "namespace": "crashing", "name": "crashing"}],
        "deadline-seconds": 12,
    });
    plan.components
        .push(serde_json::from_value(component).unwrap());
    let failed = rig
        .home
        .up_as_planned(&plan, &options, |_| {})
        .await
        .unwrap_err();
    let text = failed.to_string();
    eprintln!("{text}");
    for part in [
        "crashing (a program that gives up): deployment/crashing/crashing did not become ready in time: 0 of 1 pods",
        "c| no database here",
        "event pod/crashing-",
        "goes on from here",
    ] {
        assert!(text.contains(part), "{part}");
    }
    let unfinished = rig.home.status(NAME).await.unwrap().unfinished().unwrap();
    assert!(unfinished.contains("goes on from here"), "{unfinished}");
}

async fn images_go_where_they_are_needed(rig: &Rig) {
    let directory = tempfile::tempdir().unwrap();
    archive(directory.path(), AGNHOST, "one");
    let options = UpOptions {
        images: Some(directory.path().to_owned()),
        ..rig.options()
    };
    let workers = BTreeSet::from([format!("{NAME}-worker"), format!("{NAME}-worker2")]);
    let (took, said) = rig.up(options.clone()).await;
    eprintln!("up with an image to load: {took:?}");
    assert_eq!(loaded(&said), [(AGNHOST.to_owned(), workers.clone())]);
    let nodes = rig.docker.nodes(NAME).await.unwrap();
    let present = images::present(&rig.docker, &nodes).await.unwrap();
    for node in &nodes {
        assert_eq!(
            present[&node.name].contains_key(AGNHOST),
            workers.contains(&node.name),
            "{}",
            node.name
        );
    }
    let (_, said) = rig.up(options.clone()).await;
    assert_eq!(loaded(&said), [], "it is there already");
    // The same name, another image.
    archive(directory.path(), AGNHOST, "two");
    let (_, said) = rig.up(options.clone()).await;
    assert_eq!(loaded(&said), [(AGNHOST.to_owned(), workers)]);

    let mut missing = options;
    missing
        .needs
        .images
        .insert("example.org/not/there:1".into());
    let refusal = rig.home.up(missing, |_| {}).await.unwrap_err().to_string();
    assert!(
        refusal.contains("example.org/not/there:1") && refusal.contains("agnhost:2.53"),
        "{refusal}"
    );
}

async fn a_host_outside_is_reached_from_a_node(rig: &Rig) {
    let image = rig.docker.nodes(NAME).await.unwrap()[0].image.clone();
    let host = OutsideHost {
        name: "elsewhere".into(),
        image: image.clone(),
        command: Vec::new(),
        address: Some("172.18.200.1/16".parse().unwrap()),
        vlan: None,
    };
    let tools = WireImages {
        tools: image,
        open_vswitch: None,
    };
    // A node image's own command wants to be a node.
    let host = OutsideHost {
        command: vec!["sleep".into(), "infinity".into()],
        ..host
    };
    let outside = match Outside::start(&rig.docker, NAME, &host, &tools).await {
        Ok(outside) => outside,
        Err(error) => panic!("{}", report(&error)),
    };
    assert_eq!(outside.wire, Wire::Untagged);
    let worker = format!("{NAME}-worker");
    assert_eq!(
        rig.in_node(&worker, "ping -c 1 -W 2 172.18.200.1")
            .await
            .code,
        0
    );
    assert_ne!(
        rig.in_node(&worker, "ping -c 1 -W 1 172.18.200.9")
            .await
            .code,
        0
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_up_that_was_stopped_says_what_is_half_there() {
    let Some(rig) = rig().await else { return };
    let status = async |home: &Home| home.status(NAME).await.unwrap();
    assert!(matches!(status(&rig.home).await, Status::Absent));
    {
        let up = rig.home.up(rig.options(), |_| {});
        let first_node = async {
            // No event tells of a container that kind is about to make.
            while rig.docker.nodes(NAME).await.unwrap().is_empty() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::select! {
            done = up => panic!("it came up before it was stopped: {done:?}"),
            () = first_node => {}
        }
    }
    let half = status(&rig.home).await;
    let text = half.unfinished().unwrap();
    eprintln!("{text}");
    assert!(
        text.contains("half made") && text.contains(&format!("trunkline down kind --name {NAME}")),
        "{text}"
    );

    // The next one makes the nodes anew; it, too, is stopped, and the one that removes finds everything.
    assert!(rig.home.down(NAME).await.unwrap());
    assert!(rig.docker.nodes(NAME).await.unwrap().is_empty());
    assert!(matches!(status(&rig.home).await, Status::Absent));
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_on_a_vlan_reach_each_other_and_no_other_vlan() {
    let Some(rig) = rig().await else { return };
    let Some(open_vswitch) = std::env::var("TRUNKLINE_OVS_IMAGE").ok() else {
        eprintln!(
            "skipped: TRUNKLINE_OVS_IMAGE names no image with bash, iproute2 and Open vSwitch"
        );
        return;
    };
    let images = WireImages {
        tools: open_vswitch.clone(),
        open_vswitch: Some(open_vswitch.clone()),
    };
    let host = |name: &str, address: &str, vlan: u16| OutsideHost {
        name: name.into(),
        image: open_vswitch.clone(),
        command: vec!["sleep".into(), "infinity".into()],
        address: Some(address.parse().unwrap()),
        vlan: Vlan::new(vlan),
    };
    let start = async |name: &str, address: &str, vlan: u16| match Outside::start(
        &rig.docker,
        NAME,
        &host(name, address, vlan),
        &images,
    )
    .await
    {
        Ok(outside) => outside,
        Err(error) => panic!("{name}: {}", report(&error)),
    };
    let one = start("one", "192.168.200.1/24", 123).await;
    let two = start("two", "192.168.200.2/24", 123).await;
    let other = start("other", "192.168.200.3/24", 124).await;
    eprintln!("wired by {:?}", one.wire);
    let ping = async |from: &Outside, to: &str| {
        from.exec(&["ping", "-c", "2", "-W", "2", to], Stdin::Nothing)
            .await
            .unwrap()
    };
    let reached = ping(&two, "192.168.200.1").await;
    assert_eq!(reached.code, 0, "{reached:?}");
    assert_ne!(
        ping(&other, "192.168.200.1").await.code,
        0,
        "VLAN 124 is another network"
    );
    assert_ne!(ping(&two, "192.168.200.3").await.code, 0);
    // Its own address on the network still works, and TCP has checksums that hold.
    let address = one.network_address().await.unwrap();
    assert_eq!(ping(&two, &address).await.code, 0);
    let listen = one.exec(
        &[
            "bash",
            "-c",
            "(printf hello | timeout 20 busybox nc -l -p 7000) >/dev/null 2>&1 & sleep 0.2",
        ],
        Stdin::Nothing,
    );
    listen.await.unwrap();
    let said = two
        .exec(
            &[
                "bash",
                "-c",
                "timeout 5 bash -c 'cat </dev/tcp/192.168.200.1/7000'",
            ],
            Stdin::Nothing,
        )
        .await
        .unwrap();
    assert_eq!(said.stdout, "hello", "{said:?}");
    let without = WireImages {
        tools: images.tools.clone(),
        open_vswitch: None,
    };
    if one.wire == Wire::OpenVSwitch {
        let refusal = Outside::start(
            &rig.docker,
            NAME,
            &host("three", "192.168.200.4/24", 5),
            &without,
        )
        .await
        .unwrap_err();
        assert!(refusal.to_string().contains("modprobe 8021q"), "{refusal}");
    }
    let removed = trunkline_cluster::outside::remove_all(&rig.docker, NAME)
        .await
        .unwrap();
    assert!(removed >= 3, "{removed}");
    assert_eq!(
        trunkline_cluster::outside::remove_all(&rig.docker, NAME)
            .await
            .unwrap(),
        0
    );
}
