//! The inner half: a root like the lab's, one cluster, all tests.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use libtest_mimic::{Arguments, Trial};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::unistd::{chdir, pivot_root};

use crate::cluster::Cluster;
use crate::outside::{HTTP_SERVER, LAB_ROOT, WORKLOAD_ROOT};
use crate::tests;

/// A test that takes longer hangs.
const LIMIT: Duration = Duration::from_secs(60);

pub fn run(args: &Arguments) -> ExitCode {
    enter_root();
    // with RUST_LOG set, what the kubelet and the controllers have to say
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let cluster = Arc::new(runtime.block_on(Cluster::start()));
    let trials = tests::all()
        .into_iter()
        .map(|(name, test)| {
            let cluster = Arc::clone(&cluster);
            let handle = runtime.handle().clone();
            Trial::test(name, move || {
                handle.block_on(async {
                    let namespace = cluster.namespace(name).await;
                    let context = tests::Context { cluster, namespace };
                    tokio::time::timeout(LIMIT, test(context))
                        .await
                        .unwrap_or_else(|_| Err(format!("still running after {LIMIT:?}").into()))
                })
            })
        })
        .collect();
    libtest_mimic::run(args, trials).exit_code()
}

fn variable(name: &str) -> PathBuf {
    PathBuf::from(std::env::var_os(name).expect("set by the outer half"))
}

fn bind(source: &Path, target: &Path) {
    mount(
        Some(source),
        target,
        None::<&str>,
        MsFlags::MS_BIND,
        None::<&str>,
    )
    .expect("a bind mount");
}

fn fresh(kind: &str, target: &Path, options: Option<&str>) {
    mount(Some(kind), target, Some(kind), MsFlags::empty(), options)
        .unwrap_or_else(|e| panic!("{kind} on {}: {e}", target.display()));
}

/// An overlay of the lab's root file system with the usual mounts, and the workload's at `/workload`.
fn enter_root() {
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(None::<&str>, "/", None::<&str>, private, None::<&str>).expect("a private mount tree");
    let (lab, workload, server) = (
        variable(LAB_ROOT),
        variable(WORKLOAD_ROOT),
        variable(HTTP_SERVER),
    );
    let base = PathBuf::from("/run");
    fresh("tmpfs", &base, None);
    let [root, upper, work] = ["root", "upper", "work"].map(|d| {
        let dir = base.join(d);
        fs::create_dir(&dir).expect("a directory");
        dir
    });
    // what lay in /run is covered, and nobody keeps root file systems there
    let options = format!(
        "lowerdir={},upperdir={},workdir={}",
        lab.display(),
        upper.display(),
        work.display()
    );
    mount(
        Some("overlay"),
        &root,
        Some("overlay"),
        MsFlags::empty(),
        Some(options.as_str()),
    )
    .expect("the lab's root");
    for dir in ["workload", "old", "run", "tmp", "proc", "sys", "dev"] {
        fs::create_dir_all(root.join(dir)).expect("a directory");
    }
    bind(&workload, &root.join("workload"));
    fs::write(root.join("http-server"), "").expect("a file");
    bind(&server, &root.join("http-server"));
    fresh("proc", &root.join("proc"), None);
    fresh("sysfs", &root.join("sys"), None);
    fresh("tmpfs", &root.join("run"), None);
    fresh("tmpfs", &root.join("tmp"), None);
    fresh("tmpfs", &root.join("dev"), Some("mode=755"));
    for device in ["null", "zero", "full", "random", "urandom", "tty"] {
        let target = root.join("dev").join(device);
        fs::write(&target, "").expect("a file");
        bind(&Path::new("/dev").join(device), &target);
    }
    fs::create_dir(root.join("dev/pts")).expect("a directory");
    fresh(
        "devpts",
        &root.join("dev/pts"),
        Some("newinstance,ptmxmode=0666"),
    );
    std::os::unix::fs::symlink("pts/ptmx", root.join("dev/ptmx")).expect("a link");
    pivot_root(&root, &root.join("old")).expect("a new root");
    chdir("/").expect("the new root");
    umount2("/old", MntFlags::MNT_DETACH).expect("the old root to go");
}
