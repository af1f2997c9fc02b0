//! `trunkline down`: ends what `up` keeps.

use std::time::Duration;

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{
    cli::{Down, DownSite, LabDown},
    commands::kind,
    exit::{Exit, Failure, OrExit},
    labs::{self, LabDir, Record},
};

/// How long a supervisor may take to end its lab before it is killed; the lab then ends with it.
const GRACE: Duration = Duration::from_secs(10);

pub async fn down(args: &Down) -> Result<Exit, Failure> {
    match &args.site {
        None => lab(&args.lab).await,
        Some(DownSite::Lab(args)) => lab(args).await,
        Some(DownSite::Kind(args)) => kind::down(args).await,
    }
}

async fn lab(args: &LabDown) -> Result<Exit, Failure> {
    let alive = labs::alive().or_exit(Exit::Broken)?;
    let ending: Vec<Record> = if args.all {
        alive
    } else {
        let names: Vec<_> = alive.iter().map(|lab| lab.name.clone()).collect();
        let Some(lab) = alive.into_iter().find(|lab| lab.name == args.name) else {
            let known = if names.is_empty() {
                "no lab is".to_owned()
            } else {
                format!("up: {}", names.join(", "))
            };
            return Err(Failure::new(
                Exit::Usage,
                anyhow::anyhow!("no lab {:?} is up ({known})", args.name),
            ));
        };
        vec![lab]
    };
    if ending.is_empty() {
        eprintln!("no lab is up");
    }
    for lab in ending {
        end(&lab).await?;
        eprintln!("lab {} is down", lab.name);
    }
    Ok(Exit::Ok)
}

async fn end(lab: &Record) -> Result<(), Failure> {
    let pid = Pid::from_raw(lab.pid);
    let dir = LabDir::new(&lab.name);
    signal(pid, Signal::SIGTERM)?;
    if tokio::time::timeout(GRACE, ended(dir.clone()))
        .await
        .is_ok()
    {
        return Ok(());
    }
    signal(pid, Signal::SIGKILL)?;
    ended(dir).await
}

/// A supervisor that is gone already needs no signal.
fn signal(pid: Pid, signal: Signal) -> Result<(), Failure> {
    match kill(pid, signal) {
        Ok(()) | Err(nix::errno::Errno::ESRCH) => Ok(()),
        Err(errno) => Err(Failure::new(
            Exit::Broken,
            anyhow::anyhow!("cannot signal process {pid}: {errno}"),
        )),
    }
}

/// Waits for the supervisor's lock, which the kernel frees when the process is gone, and removes what it left.
async fn ended(dir: LabDir) -> Result<(), Failure> {
    tokio::task::spawn_blocking(move || dir.await_end())
        .await
        .or_exit(Exit::Broken)?
        .or_exit(Exit::Broken)
}
