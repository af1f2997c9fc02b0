//! Whole labs: what they look like inside, how they end, and that nothing is left of them.

#![allow(
    clippy::unwrap_used,
    reason = "a test may; without a harness clippy does not know that it is one"
)]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use trunkline_fabric::{Fabric, FabricSpec, NodeName, NodeSpec};
use trunkline_lab::boot::{self, BootError, Exit, ServerContext, Supervisor};

use support::{Test, Verdict, children, spec, wait_until_childless};

/// What a lab's server does, as its configuration says.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
enum Job {
    /// Answers until it is told to end.
    Serve,
    /// Does not hear that it shall end.
    Deaf,
    Fail,
    Panic,
    /// Starts three nodes and says so.
    Fabric,
    /// The same, and does not hear that it shall end, nor that its supervisor is gone.
    DeafFabric,
}

#[derive(Debug, Serialize, Deserialize)]
enum Ask {
    Echo(String),
    Look,
    /// Leave processes behind that nobody waits for.
    Abandon,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Tell {
    Ready,
    Echo(String),
    View(View),
    Abandoned,
}

/// The lab as its server sees it.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct View {
    mounts: BTreeSet<String>,
    interfaces: BTreeSet<String>,
    hostname: String,
    processes: Vec<u32>,
    stdin: PathBuf,
    /// What worked of what was tried.
    works: BTreeSet<String>,
}

const SUPERVISE: &str = "__supervise";

fn main() -> ExitCode {
    boot::main_if_reexec(server);
    let args: Vec<String> = std::env::args().collect();
    if args.get(1).is_some_and(|arg| arg == SUPERVISE) {
        return supervise_until_killed(Path::new(&args[2]));
    }
    support::main(TESTS)
}

const TESTS: &[(&str, Test)] = &[
    ("a_lab_looks_as_designed", |rootfs| {
        Box::pin(looks_as_designed(rootfs))
    }),
    ("messages_and_connections_go_both_ways", |rootfs| {
        Box::pin(both_ways(rootfs))
    }),
    ("shutdown_takes_abandoned_processes_along", |rootfs| {
        Box::pin(abandoned(rootfs))
    }),
    ("dropping_the_supervisor_ends_the_lab", |rootfs| {
        Box::pin(dropped(rootfs))
    }),
    ("a_deaf_server_is_ended", |rootfs| Box::pin(deaf(rootfs))),
    ("a_failing_server_says_why", |rootfs| {
        Box::pin(failing(rootfs))
    }),
    ("a_panicking_server_ends_the_lab", |rootfs| {
        Box::pin(panicking(rootfs))
    }),
    ("two_labs_do_not_see_each_other", |rootfs| {
        Box::pin(two(rootfs))
    }),
    ("a_missing_root_file_system_is_named", |rootfs| {
        Box::pin(missing_rootfs(rootfs))
    }),
    ("a_killed_supervisor_leaves_nothing", |rootfs| {
        Box::pin(killed(rootfs))
    }),
];

async fn server(mut context: ServerContext<Ask, Tell>) -> Result<(), String> {
    let job: Job = serde_json::from_value(context.config.clone()).unwrap();
    let tell = |tell| context.control.send(&tell).unwrap();
    match job {
        Job::Serve => tell(Tell::Ready),
        Job::Deaf => {
            tell(Tell::Ready);
            return std::future::pending().await;
        }
        Job::Fail => return Err("the database is on fire".to_owned()),
        Job::Panic => panic!("on purpose"),
        Job::Fabric | Job::DeafFabric => {
            let fabric = Fabric::start(three_nodes())
                .await
                .map_err(|e| e.to_string())?;
            let _ = context.control.send(&Tell::Ready);
            if matches!(job, Job::DeafFabric) {
                return std::future::pending().await;
            }
            context.shutdown.cancelled().await;
            drop(fabric);
            return Ok(());
        }
    }
    context.listener.set_nonblocking(true).unwrap();
    let listener = tokio::net::TcpListener::from_std(context.listener).unwrap();
    loop {
        let ask = tokio::select! {
            () = context.shutdown.cancelled() => return Ok(()),
            accepted = listener.accept() => {
                let (socket, _) = accepted.unwrap();
                socket.into_std().unwrap().write_all(b"hello from inside\n").unwrap();
                continue;
            }
            ask = context.control.receive() => ask,
        };
        let answer = match ask {
            Some(Ask::Echo(text)) => Tell::Echo(text),
            Some(Ask::Look) => Tell::View(look()),
            Some(Ask::Abandon) => {
                let shell = "setsid sleep 1000 & setsid sh -c 'sleep 1000 & sleep 1000' &";
                let status = Command::new("sh").args(["-c", shell]).status().unwrap();
                assert!(status.success());
                Tell::Abandoned
            }
            None => return Ok(()),
        };
        context.control.send(&answer).unwrap();
    }
}

fn three_nodes() -> FabricSpec {
    let node =
        |(name, ip): (&str, &str)| NodeSpec::new(NodeName::new(name).unwrap(), ip.parse().unwrap());
    let nodes = [
        ("lab-control-plane", "172.18.0.2/16"),
        ("lab-worker", "172.18.0.3/16"),
        ("lab-worker2", "172.18.0.4/16"),
    ];
    FabricSpec::new(nodes.into_iter().map(node).collect())
}

fn look() -> View {
    let field = |line: &str, n: usize| line.split_whitespace().nth(n).unwrap().to_owned();
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let interfaces = fs::read_to_string("/proc/net/dev").unwrap();
    let mut processes: Vec<u32> = fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok())
        .collect();
    processes.sort_unstable();
    View {
        mounts: mounts.lines().map(|line| field(line, 4)).collect(),
        interfaces: interfaces
            .lines()
            .skip(2)
            .map(|line| line.split(':').next().unwrap().trim().to_owned())
            .collect(),
        hostname: fs::read_to_string("/proc/sys/kernel/hostname")
            .unwrap()
            .trim()
            .to_owned(),
        processes,
        stdin: fs::read_link("/proc/self/fd/0").unwrap(),
        works: try_things(),
    }
}

fn try_things() -> BTreeSet<String> {
    let write = |path: &str| fs::write(path, "x").is_ok();
    let open = |path: &str| {
        fs::File::options()
            .read(true)
            .write(true)
            .open(path)
            .is_ok()
    };
    let tried = [
        ("write to the root file system", write("/etc/written")),
        ("write to the cache", write("/cache/written")),
        (
            "read the cache",
            fs::read_dir("/cache/usr/share/ovn").is_ok(),
        ),
        ("use /dev/net/tun", open("/dev/net/tun")),
        ("use a new terminal", open("/dev/ptmx")),
    ];
    let worked = tried.into_iter().filter(|(_, works)| *works);
    worked.map(|(what, _)| what.to_owned()).collect()
}

type Lab = Supervisor<Ask, Tell>;

async fn start(rootfs: &Path, job: Job) -> Result<Lab, String> {
    Lab::start(spec(rootfs, &job))
        .await
        .map_err(|e| e.to_string())
}

async fn ask(lab: &mut Lab, ask: Ask) -> Tell {
    lab.control().send(&ask).unwrap();
    next(lab).await
}

async fn next(lab: &mut Lab) -> Tell {
    match lab.control().receive().await {
        Some(tell) => tell,
        None => panic!("the server is gone: {:?}", lab.wait().await),
    }
}

const GRACE: Duration = Duration::from_secs(20);

async fn looks_as_designed(rootfs: PathBuf) -> Verdict {
    let mut lab = start(&rootfs, Job::Serve).await?;
    assert_eq!(next(&mut lab).await, Tell::Ready);
    let Tell::View(view) = ask(&mut lab, Ask::Look).await else {
        return Err("no view".into());
    };
    let optional = |path: &String| ["/dev/kvm", "/dev/vhost-net"].contains(&path.as_str());
    let mounts: Vec<&str> = view
        .mounts
        .iter()
        .filter(|m| !optional(m))
        .map(String::as_str)
        .collect();
    let expected = [
        "/",
        "/cache",
        "/dev",
        "/dev/full",
        "/dev/net/tun",
        "/dev/null",
        "/dev/pts",
        "/dev/random",
        "/dev/shm",
        "/dev/tty",
        "/dev/urandom",
        "/dev/zero",
        "/proc",
        "/run",
        "/sys",
        "/tmp",
    ];
    assert_eq!(mounts, expected);
    assert_eq!(view.interfaces, BTreeSet::from(["lo".to_owned()]));
    assert_eq!(view.hostname, "trunkline-lab");
    assert_eq!(view.processes, [1, 2]);
    assert_eq!(view.stdin, Path::new("/dev/null"));
    let works: Vec<&str> = view.works.iter().map(String::as_str).collect();
    let expected = [
        "read the cache",
        "use /dev/net/tun",
        "use a new terminal",
        "write to the root file system",
    ];
    assert_eq!(works, expected);
    assert!(!rootfs.join("etc/written").exists());
    assert_eq!(
        lab.shutdown(GRACE).await.map_err(|e| e.to_string())?,
        Exit::Done
    );
    Ok(())
}

async fn both_ways(rootfs: PathBuf) -> Verdict {
    let spec = spec(&rootfs, &Job::Serve);
    let address = spec.listener.local_addr().unwrap();
    let mut lab = Lab::start(spec).await.map_err(|e| e.to_string())?;
    assert_eq!(next(&mut lab).await, Tell::Ready);
    let long = "line\n\"quoted\" ".repeat(50_000);
    for text in ["", "short", &long] {
        let answer = ask(&mut lab, Ask::Echo(text.to_owned())).await;
        assert_eq!(answer, Tell::Echo(text.to_owned()));
    }
    let line = tokio::task::spawn_blocking(move || {
        let mut line = String::new();
        let socket = TcpStream::connect(address).unwrap();
        BufReader::new(socket).read_line(&mut line).unwrap();
        line
    });
    assert_eq!(line.await.unwrap(), "hello from inside\n");
    assert_eq!(
        lab.shutdown(GRACE).await.map_err(|e| e.to_string())?,
        Exit::Done
    );
    Ok(())
}

async fn abandoned(rootfs: PathBuf) -> Verdict {
    let mut lab = start(&rootfs, Job::Serve).await?;
    assert_eq!(next(&mut lab).await, Tell::Ready);
    assert_eq!(ask(&mut lab, Ask::Abandon).await, Tell::Abandoned);
    assert_eq!(
        lab.shutdown(GRACE).await.map_err(|e| e.to_string())?,
        Exit::Done
    );
    // The promise is that nothing is left when shutdown returns, not soon after.
    no_children()
}

fn no_children() -> Verdict {
    let children = children();
    if children.is_empty() {
        Ok(())
    } else {
        Err(format!("still there: {children:?}"))
    }
}

async fn dropped(rootfs: PathBuf) -> Verdict {
    let mut lab = start(&rootfs, Job::Deaf).await?;
    assert_eq!(next(&mut lab).await, Tell::Ready);
    drop(lab);
    tokio::task::spawn_blocking(wait_until_childless)
        .await
        .unwrap()
}

async fn deaf(rootfs: PathBuf) -> Verdict {
    let mut lab = start(&rootfs, Job::Deaf).await?;
    assert_eq!(next(&mut lab).await, Tell::Ready);
    let started = Instant::now();
    let exit = lab
        .shutdown(Duration::from_millis(100))
        .await
        .map_err(|e| e.to_string())?;
    assert!(started.elapsed() >= Duration::from_millis(100));
    // Ended by its init, on whose lifeline nothing went wrong.
    assert_eq!(exit, Exit::Done);
    no_children()
}

async fn failing(rootfs: PathBuf) -> Verdict {
    let mut lab = start(&rootfs, Job::Fail).await?;
    let exit = lab.wait().await.map_err(|e| e.to_string())?;
    assert_eq!(exit, Exit::Failed("the database is on fire".to_owned()));
    assert_eq!(lab.wait().await.map_err(|e| e.to_string())?, exit);
    Ok(())
}

async fn panicking(rootfs: PathBuf) -> Verdict {
    let mut lab = start(&rootfs, Job::Panic).await?;
    match lab.wait().await.map_err(|e| e.to_string())? {
        Exit::Died(status) if status.code() == Some(101) => Ok(()),
        other => Err(format!("{other:?}")),
    }
}

async fn two(rootfs: PathBuf) -> Verdict {
    let (one, two) = tokio::join!(start(&rootfs, Job::Fabric), start(&rootfs, Job::Fabric));
    let (mut one, mut two) = (one?, two?);
    assert_eq!(
        tokio::join!(next(&mut one), next(&mut two)),
        (Tell::Ready, Tell::Ready)
    );
    assert_eq!(
        one.shutdown(GRACE).await.map_err(|e| e.to_string())?,
        Exit::Done
    );
    // The other does not notice.
    assert!(
        two.pid()
            .is_some_and(|pid| Path::new(&format!("/proc/{pid}")).exists())
    );
    assert_eq!(
        two.shutdown(GRACE).await.map_err(|e| e.to_string())?,
        Exit::Done
    );
    no_children()
}

async fn missing_rootfs(_: PathBuf) -> Verdict {
    let missing = Path::new("/nonexistent/rootfs");
    match Lab::start(spec(missing, &Job::Serve)).await {
        Err(error @ BootError::RootFs { .. }) => {
            assert!(error.to_string().contains("/nonexistent/rootfs"), "{error}");
            Ok(())
        }
        other => Err(format!("{other:?}")),
    }
}

/// Times a supervisor is killed, in turn while the namespaces are made and while the daemons start.
const KILLS: u32 = 20;
const LATEST_KILLS: [Duration; 2] = [Duration::from_millis(30), Duration::from_millis(400)];

async fn killed(rootfs: PathBuf) -> Verdict {
    tokio::task::spawn_blocking(move || {
        let mut random = Random::new();
        for (round, latest) in (0..KILLS).zip(LATEST_KILLS.into_iter().cycle()) {
            let moment = random.below(latest);
            kill_one(&rootfs, moment)
                .map_err(|e| format!("round {round}, after {moment:?}: {e}"))?;
        }
        Ok(())
    })
    .await
    .unwrap()
}

fn kill_one(rootfs: &Path, moment: Duration) -> Verdict {
    let mut supervisor = Command::new("/proc/self/exe")
        .arg(SUPERVISE)
        .arg(rootfs)
        .stdout(Stdio::null())
        .spawn()
        .map_err(|e| e.to_string())?;
    // The passing of time is what is tested here.
    std::thread::sleep(moment);
    supervisor.kill().map_err(|e| e.to_string())?;
    let status = supervisor.wait().map_err(|e| e.to_string())?;
    if status.signal() != Some(9) {
        return Err(format!("the supervisor ended by itself: {status}"));
    }
    wait_until_childless()
}

fn supervise_until_killed(rootfs: &Path) -> ExitCode {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let mut lab = start(rootfs, Job::DeafFabric).await.unwrap();
        let exit = lab.wait().await;
        eprintln!("{exit:?}");
    });
    ExitCode::FAILURE
}

/// Differs from run to run, which is all that is asked of it.
struct Random(u64);

impl Random {
    fn new() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        Self(u64::from(now.subsec_nanos()) | 1)
    }

    fn below(&mut self, limit: Duration) -> Duration {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        let limit = u64::try_from(limit.as_micros()).unwrap();
        Duration::from_micros(self.0 % limit)
    }
}
