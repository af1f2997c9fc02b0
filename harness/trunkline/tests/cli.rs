//! The command line through the front door: its words, its exit codes, and what bad input gets.
//!
//! Expectations lie in `help/` and, beside each bad file, in `bad/`; `SNAPSHOTS=overwrite` writes them anew.

mod common;

use std::{
    io::Write,
    net::TcpListener,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::{Duration, Instant},
};

use common::trunkline;
use rstest::rstest;
use snapbox::Data;

const TESTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests");

/// What a command that starts nothing may take on a busy machine.
const AT_ONCE: Duration = Duration::from_secs(5);

fn run(arguments: &[&str]) -> Output {
    trunkline()
        .args(arguments)
        .env_remove("TRUNKLINE_CACHE")
        .output()
        .expect("trunkline runs")
}

fn code(output: &Output) -> Option<i32> {
    output.status.code()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("UTF-8")
}

fn assert_within(started: Instant, limit: Duration) {
    let took = started.elapsed();
    assert!(took < limit, "it took {took:?}");
}

fn assert_recorded(text: &str, file: &str) {
    let expected = Data::read_from(
        &Path::new(TESTS).join(file),
        Some(snapbox::data::DataFormat::Text),
    )
    .raw();
    snapbox::Assert::new()
        .action_env("SNAPSHOTS")
        .eq(text.to_owned(), expected);
}

#[rstest]
#[case("")]
#[case("run")]
#[case("up")]
#[case("down")]
#[case("list")]
#[case("lint")]
#[case("schema")]
#[case("doctor")]
#[case("rootfs")]
#[case("completion")]
#[case("status")]
#[case("parity")]
#[case("matrix")]
#[case("gc")]
#[case("images")]
fn help(#[case] command: &str) {
    let mut arguments: Vec<&str> = Some(command)
        .filter(|command| !command.is_empty())
        .into_iter()
        .collect();
    arguments.push("--help");
    let output = run(&arguments);
    assert_eq!(code(&output), Some(0));
    let name = if command.is_empty() {
        "trunkline"
    } else {
        command
    };
    assert_recorded(&stdout(&output), &format!("help/{name}.txt"));
}

#[rstest]
#[case::no_command(&[], "Usage: trunkline")]
#[case::unknown_command(&["rnu"], "unrecognized subcommand 'rnu'")]
#[case::unknown_option(&["run", "--jnuit", "x"], "a similar argument exists: '--junit'")]
#[case::no_nodes(&["run", "--nodes", "0"], "0 is not in 1..=16")]
#[case::no_port(&["up", "--port", "70000"], "70000 is not in 0..=65535")]
#[case::bad_name(&["up", "--name", "Not_A_Name"], "\"Not_A_Name\" is no name for a lab; use lower-case letters")]
#[case::not_up(&["down", "--name", "nobody"], "no lab \"nobody\" is up")]
#[case::two_wishes(&["down", "--name", "a", "--all"], "cannot be used with")]
#[case::no_shell(&["completion", "tcsh"], "invalid value 'tcsh'")]
fn a_wrong_command_line(#[case] arguments: &[&str], #[case] told: &str) {
    let output = run(arguments);
    let errors = stderr(&output);
    assert_eq!(code(&output), Some(2), "{errors}");
    assert!(errors.contains(told), "{errors}");
    assert_eq!(stdout(&output), "");
}

#[rstest]
#[case::no_such_file(&["run", "nowhere.yaml"], 3, "nowhere.yaml")]
#[case::nothing_selected(&["run", "--tag", "nothing-has-it"], 5, "no scenario is selected; `trunkline list` shows those there are")]
#[case::no_such_case(&["run", "--case", "nobody"], 5, "no scenario is selected")]
#[case::nothing_to_lint(&["lint", "docs"], 5, "no scenario file in docs")]
#[case::no_such_catalogue(&["run", "--catalogue", "nowhere.yaml"], 7, "cannot read the catalogue nowhere.yaml")]
#[case::a_catalogue_that_is_none(&["run", "--catalogue", "Cargo.toml"], 3, "Cargo.toml")]
#[case::a_report_nowhere(&["run", "--junit", "/proc/nowhere/x.xml"], 4, "/proc/nowhere/x.xml")]
fn a_wrong_argument(#[case] arguments: &[&str], #[case] exit: i32, #[case] told: &str) {
    let output = run(arguments);
    let errors = stderr(&output);
    assert_eq!(code(&output), Some(exit), "{errors}");
    assert!(errors.contains(told), "{errors}");
}

/// Bad scenarios and manifests: found before anything starts, with file, line and column.
#[rstest]
#[case("broken-yaml")]
#[case("unknown-field")]
#[case("unknown-verb")]
#[case("missing-manifest")]
#[case("duplicate-key")]
#[case("disagreeing-name")]
#[case("invalid-subnet")]
#[case("overlapping-subnets")]
#[case("twins")]
fn a_bad_scenario(#[case] name: &str) {
    let dir = Path::new(TESTS).join("bad");
    let input = if dir.join(name).is_dir() {
        name.to_owned()
    } else {
        format!("{name}.yaml")
    };
    let at = |command: &str, option: &str| {
        trunkline()
            .current_dir(&dir)
            .args([command, option, &input])
            .output()
            .expect("trunkline runs")
    };
    let plain = at("lint", "--plain");
    assert_eq!(code(&plain), Some(3), "{}", stderr(&plain));
    assert_recorded(&stderr(&plain), &format!("bad/{name}.txt"));

    let started = Instant::now();
    let run = at("run", "--quiet");
    let told = stderr(&run);
    assert_eq!(code(&run), Some(3), "{told}");
    assert!(told.ends_with("nothing was started\n"), "{told}");
    assert_within(started, AT_ONCE);
    // The same findings as lint's, and each shows its place.
    for line in stderr(&plain).lines() {
        let place = line.split(": ").next().expect("a place");
        assert!(told.contains(place), "{place} is not in:\n{told}");
    }
}

/// What only the API or the lab can find: a failed scenario, soon, in the words of whoever refused.
#[rstest]
#[case("unknown-image", &[
    "pod/blue/stranger is Ready",
    "registry.example/stranger:1.0",
    "add a recipe for it to fixtures/images.yaml (or to the file given with --catalogue)",
    "--images pull",
    "unknown-image.yaml:10:12",
    "bad/unknown-image.yaml:1",
])]
#[case("never-ready", &[
    "pod/blue/nowhere is Running",
    "0/3 nodes are available",
    "didn't match Pod's node affinity/selector",
    "never-ready.yaml:11:5",
    "kubectl -n blue describe pod nowhere",
])]
#[case("refused", &[
    "the API refuses pod/blue/Not_A_Name",
    "a lowercase RFC 1123 subdomain must consist of",
    "spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive",
    "refused.yaml:8:5",
    "bad/refused.yaml:1",
])]
fn a_scenario_that_fails(#[case] name: &str, #[case] told: &[&str]) {
    needs_lab!();
    let started = Instant::now();
    let dir = Path::new(TESTS).join("bad");
    let output = trunkline()
        .current_dir(dir)
        .args(["run", &format!("{name}.yaml")])
        .output()
        .expect("trunkline runs");
    let report = stdout(&output);
    assert_eq!(code(&output), Some(1), "{report}{}", stderr(&output));
    for text in told {
        assert!(report.contains(text), "{text:?} is not in:\n{report}");
    }
    for word in ["expected", "got", "at"] {
        assert!(
            report
                .lines()
                .any(|line| line.trim_start().starts_with(word)),
            "no `{word}` in:\n{report}"
        );
    }
    assert_within(started, Duration::from_secs(30));
}

#[test]
fn a_busy_port() {
    needs_lab!();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port().to_string();
    let runtime = tempfile::tempdir().expect("a temporary directory");
    let mut up = trunkline();
    let output = up
        .env("XDG_RUNTIME_DIR", runtime.path())
        .args(["up", "--port", &port])
        .output()
        .expect("trunkline runs");
    let told = stderr(&output);
    assert_eq!(code(&output), Some(4), "{told}");
    assert!(
        told.contains(&format!(
            "port {port} of 127.0.0.1 is taken; give another with --port"
        )),
        "{told}"
    );
    assert_eq!(
        stdout(&output),
        "",
        "a shell must not be pointed at nothing"
    );
    let left: Vec<_> = std::fs::read_dir(runtime.path().join("trunkline"))
        .into_iter()
        .flatten()
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

/// Where the root file systems of this version are, if somebody has built them.
fn built() -> Option<Vec<PathBuf>> {
    let output = trunkline()
        .args(["rootfs", "status"])
        .output()
        .expect("trunkline runs");
    let paths = stdout(&output)
        .lines()
        .filter_map(|line| line.split_whitespace().nth(1).map(PathBuf::from))
        .collect();
    output.status.success().then_some(paths)
}

fn rootfs(cache: &Path, mirror: &str, command: &str) -> Output {
    trunkline()
        .arg("--cache")
        .arg(cache)
        .args(["rootfs", command])
        .env("TRUNKLINE_DEBIAN_MIRROR", mirror)
        .output()
        .expect("trunkline runs")
}

/// Nobody listens there: it belongs to a socket that does not accept.
fn closed_port() -> (socket2::Socket, String) {
    let socket =
        socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    socket
        .bind(
            &"127.0.0.1:0"
                .parse::<std::net::SocketAddr>()
                .expect("an address")
                .into(),
        )
        .expect("a port");
    let port = socket
        .local_addr()
        .expect("an address")
        .as_socket()
        .expect("of IPv4")
        .port();
    (socket, format!("http://127.0.0.1:{port}/debian"))
}

#[test]
fn an_empty_cache() {
    let cache = tempfile::tempdir().expect("a temporary directory");
    let output = rootfs(cache.path(), "", "status");
    assert_eq!(code(&output), Some(7));
    let told = stdout(&output);
    assert_eq!(
        told.matches("not built; run: trunkline rootfs build")
            .count(),
        2,
        "{told}"
    );
}

#[test]
fn a_half_built_root_file_system() {
    let Some(paths) = built() else {
        eprintln!("skipped: the root file systems are not built");
        return;
    };
    let cache = tempfile::tempdir().expect("a temporary directory");
    for path in &paths {
        // rootfs/lab-<key>/root, with a mark of completion that breaks off in the middle
        let original = path
            .parent()
            .expect("the directory of one root file system");
        let copy = cache
            .path()
            .join("rootfs")
            .join(original.file_name().expect("its name"));
        std::fs::create_dir_all(copy.join("root")).expect("a directory");
        let mark = std::fs::read(original.join("manifest.json")).expect("the original's mark");
        std::fs::write(copy.join("manifest.json"), &mark[..mark.len() / 2]).expect("a file");
    }
    let output = rootfs(cache.path(), "", "status");
    let told = stdout(&output);
    assert_eq!(code(&output), Some(7), "{told}");
    assert_eq!(
        told.matches("damaged (its manifest cannot be read: ")
            .count(),
        paths.len(),
        "{told}"
    );
    assert!(told.contains("run: trunkline rootfs build"), "{told}");

    // With the whole mark it is still missing everything the mark tells of.
    for path in &paths {
        let original = path
            .parent()
            .expect("the directory of one root file system");
        let copy = cache
            .path()
            .join("rootfs")
            .join(original.file_name().expect("its name"));
        std::fs::copy(original.join("manifest.json"), copy.join("manifest.json")).expect("a copy");
    }
    let output = rootfs(cache.path(), "", "status");
    assert_eq!(code(&output), Some(7));
    assert_eq!(
        stdout(&output).matches(" damaged (").count(),
        paths.len(),
        "{}",
        stdout(&output)
    );

    // Whoever needs it is told, and it is built again: here as far as the mirror lets it.
    let (_held, mirror) = closed_port();
    let output = rootfs(cache.path(), &mirror, "build");
    let told = stderr(&output);
    assert_eq!(code(&output), Some(7), "{told}");
    assert!(
        told.contains("the one in the cache is damaged (") && told.contains("building it again"),
        "{told}"
    );
}

#[test]
fn a_package_source_that_is_not_there() {
    let (_held, mirror) = closed_port();
    let cache = tempfile::tempdir().expect("a temporary directory");
    let started = Instant::now();
    let output = rootfs(cache.path(), &mirror, "build");
    let told = stderr(&output);
    assert_eq!(code(&output), Some(7), "{told}");
    let host = mirror
        .trim_start_matches("http://")
        .trim_end_matches("/debian");
    assert!(
        told.contains(&format!("the package source {host} does not answer")),
        "{told}"
    );
    assert!(
        told.contains("Connection refused") && told.contains("TRUNKLINE_DEBIAN_MIRROR"),
        "{told}"
    );
    assert_within(started, Duration::from_secs(60));
}

#[test]
fn a_package_source_that_is_silent() {
    // The kernel accepts connections; nobody ever answers.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let host = silent.local_addr().expect("an address").to_string();
    let cache = tempfile::tempdir().expect("a temporary directory");
    let started = Instant::now();
    let output = trunkline()
        .arg("--cache")
        .arg(cache.path())
        .args(["rootfs", "build"])
        .env("TRUNKLINE_DEBIAN_MIRROR", format!("http://{host}/debian"))
        .env("TRUNKLINE_DEBIAN_TIMEOUT", "2")
        .output()
        .expect("trunkline runs");
    let told = stderr(&output);
    assert_eq!(code(&output), Some(7), "{told}");
    assert!(
        told.contains(&format!("the package source {host} does not answer")),
        "{told}"
    );
    assert!(told.contains("TRUNKLINE_DEBIAN_TIMEOUT"), "{told}");
    // Asked once, not three times: apt takes twice the timeout for it.
    assert_within(started, Duration::from_secs(10));
}

#[test]
fn a_timeout_that_is_no_number() {
    let cache = tempfile::tempdir().expect("a temporary directory");
    let output = trunkline()
        .arg("--cache")
        .arg(cache.path())
        .args(["rootfs", "build"])
        .env("TRUNKLINE_DEBIAN_TIMEOUT", "soon")
        .output()
        .expect("trunkline runs");
    let told = stderr(&output);
    assert_eq!(code(&output), Some(7), "{told}");
    assert!(
        told.contains("TRUNKLINE_DEBIAN_TIMEOUT is `soon`"),
        "{told}"
    );
}

#[test]
fn a_mirror_that_is_no_address() {
    let cache = tempfile::tempdir().expect("a temporary directory");
    let output = rootfs(cache.path(), "ftp.example.org", "build");
    let told = stderr(&output);
    assert_eq!(code(&output), Some(7), "{told}");
    assert!(
        told.contains("TRUNKLINE_DEBIAN_MIRROR is `ftp.example.org`"),
        "{told}"
    );
}

#[test]
fn a_full_disk() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: only root may mount the small disk of this test");
        return;
    }
    let dir = tempfile::tempdir().expect("a temporary directory");
    // Nobody else sees the mount, and it goes with the last process of the namespace.
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-ec"])
        .arg("mount -t tmpfs -o size=1m small \"$1\"; exec \"$2\" --cache \"$1\" run scenarios/overlay/ipam-pods.yaml")
        .arg("sh")
        .arg(dir.path())
        .arg(env!("CARGO_BIN_EXE_trunkline"))
        .current_dir(common::root())
        .output()
        .expect("unshare runs");
    let told = stderr(&output);
    assert_eq!(code(&output), Some(7), "{told}");
    assert!(
        told.contains(&format!("MB at {}", dir.path().display())) && told.contains("1 MB are free"),
        "{told}"
    );
    assert!(told.contains("set TRUNKLINE_CACHE"), "{told}");
}

#[test]
fn a_cache_that_cannot_be_made() {
    let output = run(&["--cache", "/proc/nowhere", "rootfs", "status"]);
    assert_eq!(code(&output), Some(7));
    assert!(
        stderr(&output).contains("cannot create the cache directory /proc/nowhere"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn the_schema_is_the_one_in_docs() {
    let output = run(&["schema"]);
    assert_eq!(code(&output), Some(0));
    let kept = std::fs::read_to_string(common::root().join("docs/scenario.schema.json"))
        .expect("the schema");
    snapbox::assert_data_eq!(stdout(&output), Data::text(kept).raw());
}

#[test]
fn scenarios_are_listed_for_people_and_programs() {
    let people = stdout(&run(&["list"]));
    assert!(
        people
            .lines()
            .any(|line| line.contains("overlay-ipam") && line.contains("overlay,ipam,pods")),
        "{people}"
    );
    let programs: serde_json::Value =
        serde_json::from_str(&stdout(&run(&["list", "--json"]))).expect("JSON");
    let first = programs
        .as_array()
        .and_then(|all| all.iter().find(|one| one["name"] == "overlay-ipam"));
    let first = first.expect("it is listed");
    assert_eq!(first["file"], "scenarios/overlay/ipam-pods.yaml");
    assert_eq!(first["tags"][0], "overlay");
}

#[test]
fn our_own_scenarios_have_no_findings() {
    let output = run(&["lint", "--deny-warnings"]);
    assert_eq!(code(&output), Some(0), "{}", stderr(&output));
    assert!(
        stderr(&output).ends_with("0 errors, 0 warnings\n"),
        "{}",
        stderr(&output)
    );
}

#[rstest]
#[case("bash", &["bash", "-n"])]
#[case("zsh", &["zsh", "-n"])]
#[case("fish", &["fish", "--no-execute"])]
fn completion(#[case] shell: &str, #[case] check: &[&str]) {
    let script = stdout(&run(&["completion", shell]));
    assert!(script.contains("doctor"), "{script}");
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(script.as_bytes()).expect("it is written");
    match Command::new(check[0])
        .args(&check[1..])
        .arg(file.path())
        .output()
    {
        Ok(output) => assert!(output.status.success(), "{}", stderr(&output)),
        Err(_) => eprintln!("skipped: there is no {shell} to check the script with"),
    }
}

/// Output that nobody reads any more is no reason to fall over.
#[test]
fn a_closed_pipe() {
    let (reader, writer) = UnixStream::pair().expect("a pair of sockets");
    drop(reader);
    let output = trunkline()
        .arg("schema")
        .stdout(std::os::fd::OwnedFd::from(writer))
        .output()
        .expect("trunkline runs");
    assert!(!stderr(&output).contains("panicked"), "{}", stderr(&output));
}

#[test]
fn colour_is_for_terminals_and_for_those_who_ask() {
    let bad = "harness/trunkline/tests/bad/unknown-field.yaml";
    assert!(!stderr(&run(&["lint", bad])).contains('\u{1b}'));
    assert!(stderr(&run(&["--color", "always", "lint", bad])).contains('\u{1b}'));
}
