//! `trunkline up`: a lab that stays.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Command, Stdio},
};

use serde::{Deserialize, Serialize};
use tokio::signal::unix::{SignalKind, signal};
use trunkline_lab::{Lab, LabOptions, boot::LogTo};

use crate::{
    cli::{Global, LabUp, Up, UpSite},
    commands::kind,
    exit::{Exit, Failure, OrExit},
    host,
    labs::{LabDir, Record},
    out,
};

/// What the background half says once, on its standard output.
#[derive(Debug, Serialize, Deserialize)]
enum Said {
    Up(Record),
    Failed { exit: u8, message: String },
}

pub async fn up(args: &Up, global: &Global) -> Result<Exit, Failure> {
    match &args.site {
        None => lab(&args.lab, global).await,
        Some(UpSite::Lab(args)) => lab(args, global).await,
        Some(UpSite::Kind(args)) => kind::up(args, global).await,
    }
}

async fn lab(args: &LabUp, global: &Global) -> Result<Exit, Failure> {
    check_name(&args.name)?;
    let spec = host::lab_spec(&args.lab)?;
    // Here, where progress can be seen; the background half then finds everything in place.
    host::prepare(&host::cache(global)?, &spec).await?;
    if args.foreground {
        return keep(args, global, |record| {
            announce(record).map_err(|failure| failure.report)
        })
        .await;
    }
    let dir = LabDir::new(&args.name);
    match tokio::task::spawn_blocking(in_background)
        .await
        .or_exit(Exit::Broken)??
    {
        Said::Up(record) => {
            announce(&record)?;
            Ok(Exit::Ok)
        }
        Said::Failed { exit, message } => {
            let log = dir.log();
            let hint = if log.exists() {
                format!("\nits log: {log}")
            } else {
                String::new()
            };
            Err(Failure::new(
                Exit::from_code(exit),
                anyhow::anyhow!("{message}{hint}"),
            ))
        }
    }
}

/// The background half: keeps the lab until it is told to end.
pub async fn supervise(args: &Up, global: &Global) -> Result<Exit, Failure> {
    let args = match &args.site {
        Some(UpSite::Lab(lab)) => lab,
        Some(UpSite::Kind(_)) | None => &args.lab,
    };
    // A terminal that closes shall not take the lab with it.
    nix::unistd::setsid().or_exit(Exit::Broken)?;
    let outcome = keep(args, global, |record| {
        Ok(writeln!(
            std::io::stdout(),
            "{}",
            serde_json::to_string(&Said::Up(record.clone()))?
        )?)
    })
    .await;
    if let Err(failure) = &outcome {
        let message = format!("{:#}", failure.report);
        if let Ok(line) = serde_json::to_string(&Said::Failed {
            exit: failure.exit as u8,
            message,
        }) {
            // Whoever asked may be gone.
            let _ = writeln!(std::io::stdout(), "{line}");
        }
    }
    outcome
}

/// Starts this program again with the same arguments, as the background half, and hears what became of it.
fn in_background() -> Result<Said, Failure> {
    let mut arguments: Vec<_> = std::env::args_os().skip(1).collect();
    // Only the command: a lab may be called `up`.
    if let Some(command) = arguments.iter_mut().find(|argument| *argument == "up") {
        *command = "__supervise".into();
    }
    let mut child = Command::new("/proc/self/exe")
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .or_exit(Exit::Broken)?;
    let mut line = String::new();
    if let Some(output) = child.stdout.take() {
        BufReader::new(output)
            .read_line(&mut line)
            .or_exit(Exit::Broken)?;
    }
    serde_json::from_str(&line)
        .map_err(|_| anyhow::anyhow!("the lab's supervisor ended without a word"))
        .or_exit(Exit::Broken)
}

/// Holds the name, starts the lab, tells that it is up, waits for a signal.
async fn keep(
    args: &LabUp,
    global: &Global,
    tell: impl FnOnce(&Record) -> anyhow::Result<()>,
) -> Result<Exit, Failure> {
    let mut interrupt = signal(SignalKind::interrupt()).or_exit(Exit::Broken)?;
    let mut terminate = signal(SignalKind::terminate()).or_exit(Exit::Broken)?;
    let dir = LabDir::new(&args.name);
    let Some(_lock) = dir.claim().or_exit(Exit::Broken)? else {
        let message = anyhow::anyhow!(
            "a lab named {:?} is up already; end it with `trunkline down --name {}`, or give another name with --name",
            args.name,
            args.name
        );
        return Err(Failure::new(Exit::Usage, message));
    };
    let started = tokio::select! {
        lab = start(args, global, &dir) => lab,
        _ = interrupt.recv() => Err(Failure::new(Exit::Interrupted, anyhow::anyhow!("interrupted"))),
        _ = terminate.recv() => Err(Failure::new(Exit::Interrupted, anyhow::anyhow!("terminated"))),
    };
    let lab = match started {
        Ok(lab) => lab,
        Err(failure) => {
            dir.forget_unless_logged().or_exit(Exit::Broken)?;
            return Err(failure);
        }
    };
    let record = Record {
        name: args.name.clone(),
        pid: nix::unistd::getpid().as_raw(),
        server: lab.url().to_owned(),
        kubeconfig: dir.kubeconfig(),
        nodes: lab.spec().nodes.into(),
        started: jiff::Timestamp::now(),
    };
    dir.publish(&record, lab.kubeconfig())
        .or_exit(Exit::Broken)?;
    // A lab that nobody was told of would be nobody's to end.
    let told = tell(&record).or_exit(Exit::Broken);
    let outcome = if told.is_err() {
        told.map(|()| Exit::Ok)
    } else {
        tokio::select! {
            _ = interrupt.recv() => Ok(Exit::Ok),
            _ = terminate.recv() => Ok(Exit::Ok),
            error = lab.failure() => Err(Failure::new(Exit::Broken, error)),
        }
    };
    lab.shutdown().await.or_exit(Exit::Broken)?;
    dir.remove().or_exit(Exit::Broken)?;
    outcome
}

async fn start(args: &LabUp, global: &Global, dir: &LabDir) -> Result<Lab, Failure> {
    let cache = host::cache(global)?;
    let spec = host::lab_spec(&args.lab)?;
    let rootfs = host::prepare(&cache, &spec).await?;
    let listener = host::listen(args.port)?;
    let log = LogTo::File(dir.log().into());
    let lab = Lab::start(LabOptions {
        spec,
        rootfs,
        cache,
        listener,
        log,
    })
    .await
    .map_err(anyhow::Error::from)
    .map_err(|error| {
        let exit = if host::is_lacking(&error) {
            Exit::Host
        } else {
            Exit::Broken
        };
        Failure::new(exit, error)
    })?;
    host::ready(&lab).await.or_exit(Exit::Broken)?;
    Ok(lab)
}

/// For the shell on standard output, for the person on standard error.
fn announce(record: &Record) -> Result<(), Failure> {
    out::line(format_args!("export KUBECONFIG={}", record.kubeconfig))?;
    let name = if record.name == "lab" {
        String::new()
    } else {
        format!(" --name {}", record.name)
    };
    eprintln!(
        "lab {} is up: {} nodes, API at {}",
        record.name, record.nodes, record.server
    );
    eprintln!("end it with: trunkline down{name}");
    Ok(())
}

/// It becomes a directory and part of the nodes' names.
fn check_name(name: &str) -> Result<(), Failure> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let fine = name.starts_with(plain)
        && name.ends_with(plain)
        && name.len() <= 40
        && name.chars().all(|c| plain(c) || c == '-');
    if fine {
        return Ok(());
    }
    let message = anyhow::anyhow!(
        "{name:?} is no name for a lab; use lower-case letters, digits and `-`, up to 40"
    );
    Err(Failure::new(Exit::Usage, message))
}
