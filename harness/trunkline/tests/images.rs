//! Where images come from, through the front door: built, pulled from a registry of our own, out of archives.

mod common;
#[path = "../../userland/tests/support/mod.rs"]
mod support;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Output,
};

use rstest::rstest;
use serde_json::{Value, json};
use support::{Layer, Registry, archives, digest, gzip};
use tempfile::TempDir;
use trunkline_userland::{Cache, programs};

use common::trunkline;

/// A scenario whose only server has the image of the test, and the files around it.
struct Bench {
    dir: TempDir,
    /// What is to be removed from the user's cache: root file systems are too large to have a second one.
    pulled: Vec<String>,
}

const SCENARIO: &str = "
apiVersion: trunkline.dev/v1alpha1
kind: Scenario
metadata: {name: server}
spec:
  title: A server of some image answers
  namespaces: [shop]
  steps:
  - title: The server starts
    apply: pod.yaml
    until: pod/shop/server is Ready
  - title: It says its name
    from: pod/shop/server
    curl: http://127.0.0.1:8080/hostname
    expect: {body: server}
";

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let bench = Self {
            dir,
            pulled: Vec::new(),
        };
        bench.write("scenario.yaml", SCENARIO);
        bench
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.dir.path().join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).expect("a directory");
        }
        fs::write(&path, content).expect("a file");
        path
    }

    fn pod(&self, image: &str, pull_policy: &str) {
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "server", "namespace": "shop"},
            "spec": {"containers": [{
                "name": "server", "image": image, "imagePullPolicy": pull_policy, "args": ["netexec"],
                "readinessProbe": {"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 1},
            }]},
        });
        self.write("pod.yaml", pod.to_string());
    }

    fn run(&self, options: &[&str]) -> Output {
        trunkline()
            .arg("run")
            .arg(self.dir.path().join("scenario.yaml"))
            .args(["--nodes", "1"])
            .args(options)
            .output()
            .expect("trunkline runs")
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        for digest in &self.pulled {
            let name = format!("images/pulled/{}", digest.replace(':', "-"));
            let _ = fs::remove_dir_all(cache().root().join(name));
            let references = fs::read_dir(cache().root().join("images/references"));
            for reference in references.into_iter().flatten().flatten() {
                let text = fs::read_to_string(reference.path()).unwrap_or_default();
                if text.starts_with(digest.as_str()) {
                    let _ = fs::remove_file(reference.path());
                }
            }
        }
    }
}

fn cache() -> Cache {
    Cache::locate().expect("a cache")
}

/// The smallest image that serves: the HTTP server and nothing else.
fn server() -> Vec<u8> {
    let programs = programs::install(&cache()).expect("programs");
    let program = fs::read(programs.http_server).expect("a program");
    Layer::new().program("agnhost", &program).done()
}

fn told(output: &Output) -> String {
    let out = String::from_utf8_lossy(&output.stdout);
    let err = String::from_utf8_lossy(&output.stderr);
    format!("{out}{err}")
}

#[track_caller]
fn passed(output: &Output) {
    assert_eq!(output.status.code(), Some(0), "{}", told(output));
}

/// A registry that lives as long as this.
struct Running {
    registry: Registry,
    runtime: tokio::runtime::Runtime,
}

impl Running {
    fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let registry = runtime.block_on(Registry::start());
        Self { registry, runtime }
    }
}

fn entrypoint() -> Value {
    json!({"Entrypoint": ["/agnhost"]})
}

#[test]
fn an_image_is_pulled_and_stays() {
    needs_lab!();
    let mut bench = Bench::new();
    let running = Running::start();
    let registry = &running.registry;
    // As registries have it: a list of variants, and a token for everything.
    let ours = registry.image("ours", &[server()], &entrypoint(), archives::here());
    let other = registry.image("other", &[server()], &entrypoint(), "s390x");
    registry.list("1", &[(other, "s390x"), (ours.clone(), archives::here())]);
    registry.with(|content| content.token = Some("open"));
    bench.pulled.push(ours);
    // The image has its usual name; the catalogue says where it really is.
    let name = format!("example.test/{}/server", registry.address.port());
    let catalogue = format!(
        "images:\n- name: server\n  references: [{name}]\n  pull: {}\n",
        registry.reference("server")
    );
    let catalogue = bench.write("catalogue.yaml", catalogue);
    let options = ["--images", "pull", "--catalogue", path(&catalogue)];
    let name = format!("{name}:1");

    bench.pod(&name, "Never");
    let before = bench.run(&options);
    assert_eq!(before.status.code(), Some(1), "{}", told(&before));
    let message = format!("Container image \"{name}\" is not present with pull policy of Never");
    assert!(told(&before).contains(&message), "{}", told(&before));

    bench.pod(&name, "IfNotPresent");
    passed(&bench.run(&options));
    assert!(registry.with(|content| content.token_requests) > 0);

    // From now on no registry is needed.
    drop(running.runtime);
    bench.pod(&name, "Never");
    passed(&bench.run(&options));
    bench.pod(&name, "IfNotPresent");
    passed(&bench.run(&options));
}

#[test]
fn a_reference_of_its_own_needs_no_catalogue() {
    needs_lab!();
    let mut bench = Bench::new();
    let running = Running::start();
    let registry = &running.registry;
    let digest = registry.image("latest", &[server()], &entrypoint(), archives::here());
    bench.pulled.push(digest.clone());
    let reference = format!("{}@{digest}", registry.reference("server"));
    bench.pod(&reference, "Always");
    passed(&bench.run(&["--images", "pull"]));
}

/// What can go wrong with a registry; the run says it and ends at once.
#[rstest]
#[case::unknown(|_: &Registry| (), "server:1 does not exist: 127.0.0.1:")]
#[case::platform(foreign, "has no variant for linux/")]
#[case::credentials(closed, "docker login 127.0.0.1:")]
#[case::digest(corrupted, "is damaged: layer sha256:")]
fn a_pull_that_fails_says_why(#[case] prepare: fn(&Registry), #[case] expected: &str) {
    needs_lab!();
    let bench = Bench::new();
    let running = Running::start();
    prepare(&running.registry);
    let reference = running.registry.reference("server:1");
    bench.pod(&reference, "IfNotPresent");
    let output = bench.run(&["--images", "pull"]);
    let told = told(&output);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(
        told.contains(&reference) && told.contains(expected),
        "{told}"
    );
}

fn foreign(registry: &Registry) {
    let other = registry.image("other", &[server()], &entrypoint(), "s390x");
    registry.list("1", &[(other, "s390x")]);
}

fn closed(registry: &Registry) {
    registry.image("1", &[server()], &entrypoint(), archives::here());
    registry.with(|content| content.token_needed = true);
}

fn corrupted(registry: &Registry) {
    let layer = Layer::new().program("agnhost", b"something").done();
    let mut blob = gzip(&layer);
    let digest = digest(&blob);
    registry.image("1", &[layer], &entrypoint(), archives::here());
    *blob.last_mut().expect("bytes") ^= 1;
    registry.corrupt(&digest, blob);
}

#[test]
fn a_registry_that_is_down_is_named() {
    needs_lab!();
    let bench = Bench::new();
    let running = Running::start();
    let reference = running.registry.reference("server:1");
    drop(running);
    bench.pod(&reference, "IfNotPresent");
    let output = bench.run(&["--images", "pull"]);
    let told = told(&output);
    assert_eq!(output.status.code(), Some(1), "{told}");
    for part in [&reference, "does not answer", "refused"] {
        assert!(told.contains(part), "{told}");
    }
}

#[test]
fn images_come_out_of_a_directory() {
    needs_lab!();
    let mut bench = Bench::new();
    let name = "example.test/server:1";
    let archive = archives::docker(name, &[server()], &entrypoint());
    let file = bench.write("images/server.tar.gz", gzip(&archive.done()));
    let directory = bench.dir.path().join("images");
    let options = ["--images", path(&directory)];
    let listed = trunkline()
        .args(["images", "list", "--json", "--images", path(&directory)])
        .output()
        .expect("trunkline runs");
    passed(&listed);
    let listed: Value = serde_json::from_slice(&listed.stdout).expect("JSON");
    assert_eq!(listed[0]["references"], json!([name]));
    assert_eq!(listed[0]["file"], path(&file));
    bench
        .pulled
        .push(listed[0]["digest"].as_str().expect("a digest").to_owned());

    // As if it had been loaded into the nodes.
    for policy in ["Never", "IfNotPresent", "Always"] {
        bench.pod(name, policy);
        passed(&bench.run(&options));
    }

    bench.pod("example.test/server:2", "IfNotPresent");
    let output = bench.run(&options);
    let told = told(&output);
    assert_eq!(output.status.code(), Some(1), "{told}");
    for part in [
        "example.test/server:2 is not in",
        path(&directory),
        "which has example.test/server:1;",
        "--images pull",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
}

#[test]
fn a_broken_archive_is_told_before_anything_starts() {
    needs_lab!();
    let bench = Bench::new();
    bench.pod("example.test/server:1", "IfNotPresent");
    let mut archive = archives::docker("example.test/server:1", &[server()], &entrypoint());
    archive.remove("layer0/layer.tar");
    let file = bench.write("images/server.tar", archive.done());
    let output = bench.run(&["--images", path(&bench.dir.path().join("images"))]);
    let told = told(&output);
    assert_eq!(output.status.code(), Some(7), "{told}");
    assert!(
        told.contains(path(&file)) && told.contains("is missing"),
        "{told}"
    );
}

#[test]
fn neither_a_word_nor_a_directory() {
    let output = trunkline()
        .args(["run", "--images", "pul"])
        .output()
        .expect("trunkline runs");
    assert_eq!(output.status.code(), Some(2));
    assert!(
        told(&output).contains("`pul` is neither build, pull nor a directory"),
        "{}",
        told(&output)
    );
}

/// The catalogue of a test with an image that is a program alone.
fn small_catalogue(bench: &Bench, name: &str) -> PathBuf {
    let text = format!(
        "
images:
- name: small
  references: [{name}]
  tag: '1'
  build:
    programs: {{/agnhost: http-server}}
    config: {{entrypoint: [/agnhost]}}
"
    );
    bench.write("catalogue.yaml", text)
}

fn build(options: &[&str]) -> Output {
    trunkline()
        .args(["images", "build"])
        .args(options)
        .output()
        .expect("trunkline runs")
}

#[test]
fn an_image_is_built_into_an_archive_and_runs_from_it() {
    needs_lab!();
    let mut bench = Bench::new();
    let catalogue = small_catalogue(&bench, "example.test/small");
    let options = ["--catalogue", path(&catalogue), "--out"];
    let (first, second) = (bench.dir.path().join("one"), bench.dir.path().join("two"));
    passed(&build(&[options.as_slice(), &[path(&first)]].concat()));
    passed(&build(
        &[options.as_slice(), &[path(&second), "example.test/small:1"]].concat(),
    ));
    let file = "example.test-small-1.tar";
    let bytes = |dir: &Path| fs::read(dir.join(file)).expect("an archive");
    assert!(bytes(&first) == bytes(&second));

    let output = trunkline()
        .args(["images", "list", "--images", path(&first)])
        .output()
        .expect("trunkline runs");
    passed(&output);
    let told = told(&output);
    assert!(
        told.contains("example.test/small:1") && told.contains(file),
        "{told}"
    );
    let digest = told
        .split_whitespace()
        .find(|word| word.starts_with("sha256:"));
    bench.pulled.push(digest.expect("a digest").to_owned());

    bench.pod("example.test/small:1", "IfNotPresent");
    passed(&bench.run(&["--images", path(&first)]));
}

#[test]
fn what_the_catalogue_does_not_know_cannot_be_built() {
    let bench = Bench::new();
    let output = build(&[
        "quay.io/somebody/something:1",
        "--out",
        path(bench.dir.path()),
    ]);
    assert_eq!(output.status.code(), Some(7), "{}", told(&output));
    for part in [
        "quay.io/somebody/something:1",
        "fixtures/images.yaml",
        "--images pull",
    ] {
        assert!(told(&output).contains(part), "{}", told(&output));
    }
    let nowhere = build(&["registry.k8s.io/pause:3.10"]);
    assert_eq!(nowhere.status.code(), Some(2), "{}", told(&nowhere));
    assert!(told(&nowhere).contains("--out"), "{}", told(&nowhere));
}

#[test]
fn the_catalogue_is_listed() {
    let bench = Bench::new();
    let catalogue = small_catalogue(&bench, "example.test/small");
    let cache = bench.dir.path().join("cache");
    let list = |extra: &[&str]| {
        let output = trunkline()
            .args([
                "--cache",
                path(&cache),
                "images",
                "list",
                "--catalogue",
                path(&catalogue),
            ])
            .args(extra)
            .output()
            .expect("trunkline runs");
        passed(&output);
        told(&output)
    };
    let listed: Value = serde_json::from_str(&list(&["--json"])).expect("JSON");
    assert_eq!(listed[0]["reference"], "example.test/small:1");
    assert_eq!(listed[0]["built_from"], "http-server");
    assert_eq!(listed[0]["state"], "absent");
    let out = bench.dir.path().join("out");
    let arguments = [
        "--cache",
        path(&cache),
        "--catalogue",
        path(&catalogue),
        "--out",
        path(&out),
    ];
    passed(&build(&arguments));
    let table = list(&[]);
    assert!(
        table.contains("example.test/small:1") && table.contains("built"),
        "{table}"
    );
}

#[test]
fn an_image_is_loaded_into_docker() {
    let docker = |arguments: &[&str]| {
        std::process::Command::new("docker")
            .args(arguments)
            .output()
    };
    match docker(&["info"]) {
        Ok(output) if output.status.success() => {}
        Ok(output) => return eprintln!("skipped: docker does not answer: {}", told(&output)),
        Err(error) => return eprintln!("skipped: docker cannot be started: {error}"),
    }
    let bench = Bench::new();
    let name = format!("example.test/load-{}", std::process::id());
    let catalogue = small_catalogue(&bench, &name);
    passed(&build(&["--catalogue", path(&catalogue), "--load"]));
    let image = format!("{name}:1");
    let ran = docker(&["run", "--rm", "--network=none", &image, "version"]).expect("docker runs");
    let removed = docker(&["image", "rm", &image]).expect("docker runs");
    assert_eq!(
        String::from_utf8_lossy(&ran.stdout),
        "2.53\n",
        "{}",
        told(&ran)
    );
    passed(&removed);
}

fn path(path: &Path) -> &str {
    path.to_str().expect("a path that is text")
}
