//! Clusters that are not there: what is said, and how it ends, without Docker and without a cluster.
//!
//! Where a container engine has to answer, a stand-in does that knows only what it is asked here.

mod common;

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::TcpListener,
    os::unix::net::{UnixListener, UnixStream},
    path::PathBuf,
    process::Output,
    thread,
};

use common::{root, trunkline};
use rstest::rstest;
use serde_json::{Value, json};
use tempfile::TempDir;
use trunkline_lab::doctor::{CheckId, Facts, examine_facts};

/// A machine on which nothing is known of any cluster.
struct Machine(TempDir);

impl Machine {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a directory"))
    }

    fn socket(&self) -> PathBuf {
        self.0.path().join("engine.sock")
    }

    /// A file of this content, and its path.
    fn file(&self, name: &str, text: &str) -> String {
        let path = self.0.path().join(name);
        fs::write(&path, text).expect("it is written");
        path.display().to_string()
    }

    fn run(&self, words: &[&str]) -> Told {
        let mut command = trunkline();
        command
            .args(words)
            .env("HOME", self.0.path())
            .env("XDG_RUNTIME_DIR", self.0.path())
            .env("XDG_STATE_HOME", self.0.path().join("state"))
            .env("TRUNKLINE_STATE", self.0.path().join("state/trunkline"))
            .env("DOCKER_HOST", format!("unix://{}", self.socket().display()))
            .env_remove("KIND_EXPERIMENTAL_PROVIDER")
            .env_remove("KUBECONFIG");
        Told::from(&command.output().expect("trunkline runs"))
    }

    /// From now on an engine answers, and has these containers.
    fn engine(&self, containers: &Value) {
        let listener = UnixListener::bind(self.socket()).expect("a socket");
        let containers = containers.to_string();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // Who hangs up early has asked enough.
                let _ = answer(stream, &containers);
            }
        });
    }
}

/// One question, one answer.
fn answer(mut stream: UnixStream, containers: &str) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let question = lines.next().transpose()?.unwrap_or_default();
    for line in lines {
        if line?.is_empty() {
            break;
        }
    }
    let body = if question.contains("/containers/json") {
        containers
    } else if question.contains("/version") {
        r#"{"Version": "28.0.0", "ApiVersion": "1.48", "MinAPIVersion": "1.24"}"#
    } else {
        "[]"
    };
    write!(
        stream,
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

struct Told {
    code: Option<i32>,
    out: String,
    err: String,
}

impl From<&Output> for Told {
    fn from(output: &Output) -> Self {
        Self {
            code: output.status.code(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Told {
    /// It ended so, and every one of these words was said to the person.
    #[track_caller]
    fn refused(&self, code: i32, words: &[&str]) {
        let err = &self.err;
        assert_eq!(self.code, Some(code), "{err}");
        for word in words {
            assert!(err.contains(word), "no {word:?} in {err}");
        }
        assert_eq!(self.out, "", "standard output is for the shell");
    }
}

#[rstest]
#[case::run(&["run", "--site", "kind", "scenarios/basics"])]
#[case::up(&["up", "kind"])]
#[case::status(&["status", "kind"])]
#[case::down(&["down", "kind"])]
fn without_a_container_engine_there_is_no_kind_cluster(#[case] words: &[&str]) {
    let told = Machine::new().run(words);
    told.refused(
        6,
        &[
            "no docker answers here",
            "engine.sock",
            "DOCKER_HOST",
            "`trunkline doctor kind`",
        ],
    );
}

/// What `doctor kind` finds out about the container engine.
fn engine(told: &Told) -> Value {
    let checks: Vec<Value> = serde_json::from_str(&told.out).expect("JSON");
    checks
        .into_iter()
        .find(|check| check["title"] == "container engine")
        .expect("it is looked for")
}

#[test]
fn doctor_says_that_no_container_engine_answers() {
    let machine = Machine::new();
    let told = machine.run(&["doctor", "kind", "--json"]);
    assert_eq!(told.code, Some(6), "{}", told.err);
    let absent = engine(&told);
    assert_eq!(absent["status"], "failed", "{absent}");
    assert_eq!(absent["breaks"], "no kind cluster can be made");
    assert!(absent["fix"].is_string(), "{absent}");

    machine.engine(&json!([]));
    let present = engine(&machine.run(&["doctor", "kind", "--json"]));
    assert_ne!(present["found"], absent["found"], "one answers now");
}

#[test]
fn a_kind_cluster_that_is_not_up_is_named() {
    let machine = Machine::new();
    machine.engine(&json!([]));
    machine
        .run(&["run", "--site", "kind", "--name", "nobody"])
        .refused(2, &["\"nobody\"", "`trunkline up kind --name nobody`"]);
    machine
        .run(&["down", "kind", "--name", "nobody"])
        .refused(2, &["no kind cluster \"nobody\" is up"]);
    let status = machine.run(&["status", "kind", "--name", "nobody"]);
    assert_eq!(status.code, Some(4), "{}", status.err);
    assert!(
        status
            .out
            .contains("no cluster nobody; make it: trunkline up kind --name nobody"),
        "{}",
        status.out
    );
}

#[test]
fn a_kind_cluster_of_somebody_else_is_not_ours_to_remove() {
    let machine = Machine::new();
    machine.engine(&json!([{
        "Id": "0123456789ab",
        "Names": ["/theirs-control-plane"],
        "Image": "kindest/node:v1.34.0",
        "State": "running",
        "Labels": {"io.x-k8s.kind.cluster": "theirs", "io.x-k8s.kind.role": "control-plane"},
        "Mounts": [],
    }]));
    machine.run(&["down", "kind", "--name", "theirs"]).refused(
        2,
        &[
            "theirs",
            "trunkline did not make",
            "Nothing of it was touched",
        ],
    );
    let status = machine.run(&["status", "kind", "--name", "theirs"]);
    assert_eq!(status.code, Some(4), "{}", status.err);
    assert!(status.out.contains("did not make"), "{}", status.out);
}

const KUBECONFIG: &str = "apiVersion: v1
kind: Config
current-context: here
clusters: [{name: c, cluster: {server: 'https://SERVER'}}]
users: [{name: u, user: {token: secret-token}}]
contexts: [{name: here, context: {cluster: c, user: u}}]
";

#[test]
fn without_a_kubeconfig_there_is_no_context() {
    let machine = Machine::new();
    let words = ["run", "--site", "context", "scenarios/basics"];
    machine
        .run(&words)
        .refused(2, &["there is no kubeconfig", "KUBECONFIG", "--kubeconfig"]);
}

#[rstest]
#[case::missing(None, &[], &["cannot read the kubeconfig", "No such file"])]
#[case::not_yaml(Some("hello: ["), &[], &["is not one", "YAML"])]
#[case::not_a_kubeconfig(Some("just words"), &[], &["is not one"])]
#[case::no_current_context(
    Some("current-context: here\n"),
    &[],
    &["has no current context", "--context: here"]
)]
#[case::no_such_context(Some(""), &["--context", "staging"], &["no context \"staging\"", "it has here"])]
fn a_kubeconfig_that_names_no_cluster_is_a_wrong_command_line(
    #[case] difference: Option<&str>,
    #[case] options: &[&str],
    #[case] essential: &[&str],
) {
    let machine = Machine::new();
    let path = match difference {
        None => machine.0.path().join("config").display().to_string(),
        // What it lacks, or all that it is.
        Some(lacks) if KUBECONFIG.contains(lacks) => {
            machine.file("config", &KUBECONFIG.replacen(lacks, "", 1))
        }
        Some(all) => machine.file("config", all),
    };
    for command in [
        &["run", "--site", "context", "scenarios/basics"][..],
        &["gc"][..],
    ] {
        let mut words = command.to_vec();
        words.extend(["--kubeconfig", &path]);
        words.extend(options);
        let told = machine.run(&words);
        told.refused(2, essential);
        assert!(told.err.contains(&path), "{}", told.err);
    }
}

/// A port on which nobody listens any more.
fn closed_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

#[test]
fn a_server_that_does_not_answer_is_an_environment_that_broke() {
    let machine = Machine::new();
    let server = format!("127.0.0.1:{}", closed_port());
    let path = machine.file("config", &KUBECONFIG.replace("SERVER", &server));
    for words in [
        &["run", "--site", "context", "scenarios/basics"][..],
        &["gc"],
        &["gc", "--dry-run"],
    ] {
        let mut words = words.to_vec();
        words.extend(["--kubeconfig", &path]);
        let told = machine.run(&words);
        told.refused(4, &["context here cannot be reached", &server, "refused"]);
        assert!(!told.err.contains("secret-token"), "{}", told.err);
    }
    let doctor = machine.run(&["doctor", "context", "--kubeconfig", &path, "--json"]);
    assert_eq!(doctor.code, Some(4), "{}", doctor.err);
    let checks: Vec<Value> = serde_json::from_str(&doctor.out).expect("JSON");
    assert_eq!(checks[0]["status"], "failed", "{}", doctor.out);
    let found = checks[0]["found"].as_str().expect("a text");
    assert!(found.contains(&server), "{found}");
}

#[rstest]
#[case(&["run", "--kubeconfig", "x"], "--kubeconfig is for the site context, and this is lab")]
#[case(&["run", "--site", "kind", "--context", "x"], "--context is for the site context, and this is kind")]
#[case(&["run", "--site", "context", "--name", "x"], "--name is for the site kind, and this is context")]
#[case(&["run", "--site", "kind", "--nodes", "2"], "--nodes is for the site lab, and this is kind")]
#[case(&["run", "--site", "kind", "--images", "pull"], "--images is for the site lab, and this is kind")]
#[case(&["run", "--site", "context", "--catalogue", "x"], "--catalogue is for the site lab, and this is context")]
#[case(&["doctor", "--name", "x"], "--name is for the site kind, and this is lab")]
#[case(&["doctor", "kind", "--kubeconfig", "x"], "--kubeconfig is for the site context, and this is kind")]
#[case(&["up", "kind", "--nodes", "2"], "--nodes")]
#[case(&["up", "lab", "--workers", "2"], "--workers")]
#[case(&["up", "--name", "x", "kind"], "cannot be used with '--name <NAME>'")]
#[case(&["run", "--site", "moon"], "possible values: lab, kind, context")]
#[case(&["up", "kind", "--profile", "fancy"], "possible values: plain, ovn-kubernetes")]
#[case(&["up", "kind", "--workers", "99"], "99 is not in 0..=15")]
#[case(&["parity", "--sites", "kind"], "two sites or more")]
fn what_is_for_another_site_is_a_wrong_command_line(#[case] words: &[&str], #[case] says: &str) {
    Machine::new().run(words).refused(2, &[says]);
}

#[rstest]
#[case(&["up", "kind"])]
#[case(&["down", "kind"])]
#[case(&["status", "kind"])]
#[case(&["run", "--site", "kind"])]
fn a_name_that_is_none_is_told_to_those_without_docker_too(#[case] words: &[&str]) {
    let words = [words, &["--name", "No_Name"]].concat();
    let told = Machine::new().run(&words);
    told.refused(2, &["`No_Name` cannot be a cluster's name", "lower-case"]);
}

/// What the doctor tells a user to do about AppArmor's restriction of user namespaces.
fn apparmor_fix(restricts: u64) -> Option<String> {
    let mut facts = Facts::gather(root());
    facts.uid = 1000;
    facts.administers = false;
    facts.user_namespaces.apparmor_restricts = Some(restricts);
    examine_facts(&facts)
        .into_iter()
        .find(|check| check.id == CheckId::AppArmor)?
        .fix
}

/// The lines that set this, in the workflows, what they share, and the guide.
fn lines_about(setting: &str) -> Vec<String> {
    [
        ".github/actions/prepare/action.yml",
        ".github/workflows/kind.yaml",
        ".github/workflows/lab.yaml",
        "docs/guide/sites.md",
    ]
    .iter()
    .flat_map(|file| {
        let text = fs::read_to_string(root().join(file)).expect("it can be read");
        text.lines()
            .filter(|line| line.contains(setting))
            .map(|line| line.trim().to_owned())
            .collect::<Vec<_>>()
    })
    .collect()
}

#[test]
fn the_workflows_mend_apparmor_as_the_doctor_says() {
    let fix = apparmor_fix(1).expect("a command");
    assert_eq!(
        lines_about("apparmor_restrict"),
        [format!("run: {fix}"), format!("$ {fix}")]
    );
    assert_eq!(apparmor_fix(0), None, "where nothing is restricted");
}
