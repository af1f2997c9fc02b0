//! What every command needs of this machine: the cache, the root file systems, a place for the API.

use std::{net::TcpListener, time::Duration};

use camino::Utf8Path;
use indicatif::{ProgressBar, ProgressStyle};
use trunkline_lab::{CatalogueFile, Lab, LabError, LabSpec, boot::BootError};
use trunkline_userland::{Cache, Catalogue, Images, Progress, RootFs, RootKind, programs, rootfs};

use crate::{
    cli::{Global, LabArgs},
    exit::{Exit, Failure, OrExit},
};

/// The user's cache, or the one that was asked for.
pub fn cache(global: &Global) -> Result<Cache, Failure> {
    match &global.cache {
        Some(dir) => {
            let dir = std::path::absolute(dir).or_exit(Exit::Userland)?;
            std::fs::create_dir_all(&dir)
                .map_err(|error| {
                    anyhow::anyhow!(
                        "cannot create the cache directory {}: {error}",
                        dir.display()
                    )
                })
                .or_exit(Exit::Userland)?;
            Ok(Cache::at(dir))
        }
        None => Cache::locate().or_exit(Exit::Userland),
    }
}

/// A catalogue of images given in place of the built-in one, once it is known to be one.
pub fn catalogue(path: Option<&Utf8Path>) -> Result<Option<CatalogueFile>, Failure> {
    let Some(path) = path else {
        return Ok(None);
    };
    let text = std::fs::read_to_string(path)
        .map_err(|error| anyhow::anyhow!("cannot read the catalogue {path}: {error}"))
        .or_exit(Exit::Userland)?;
    Catalogue::parse(path.as_str(), &text).or_exit(Exit::Invalid)?;
    Ok(Some(CatalogueFile {
        name: path.to_string(),
        text,
    }))
}

/// The lab's shape, from the command line.
pub fn lab_spec(args: &LabArgs) -> Result<LabSpec, Failure> {
    let catalogue = catalogue(args.catalogue.as_deref())?;
    Ok(LabSpec {
        nodes: args.nodes.unwrap_or(3),
        images: args.images.clone(),
        catalogue,
        ..LabSpec::default()
    })
}

/// Everything that must lie in the cache before a lab can start. Building it takes minutes, once.
pub async fn prepare(cache: &Cache, spec: &LabSpec) -> Result<RootFs, Failure> {
    let bar = Bar::default();
    let lab = rootfs::ensure(cache, RootKind::Lab, &|progress| bar.show(&progress))
        .await
        .or_exit(Exit::Userland)?;
    rootfs::ensure(cache, RootKind::Workload, &|progress| bar.show(&progress))
        .await
        .or_exit(Exit::Userland)?;
    programs::install(cache).or_exit(Exit::Userland)?;
    let catalogue = match &spec.catalogue {
        Some(file) => Catalogue::parse(&file.name, &file.text),
        None => Catalogue::embedded(),
    };
    Images::new(
        cache.clone(),
        catalogue.or_exit(Exit::Invalid)?,
        spec.images.clone(),
    )
    .prepare()
    .or_exit(Exit::Userland)?;
    bar.finish();
    Ok(lab)
}

/// A socket for the lab's API on this machine: the port asked for, or any.
pub fn listen(port: Option<u16>) -> Result<TcpListener, Failure> {
    TcpListener::bind(("127.0.0.1", port.unwrap_or(0)))
        .map_err(|error| match port {
            Some(port) if error.kind() == std::io::ErrorKind::AddrInUse => {
                anyhow::anyhow!("port {port} of 127.0.0.1 is taken; give another with --port, or none for any free one")
            }
            Some(port) => anyhow::anyhow!("cannot listen on port {port} of 127.0.0.1: {error}"),
            None => anyhow::anyhow!("cannot listen on 127.0.0.1: {error}"),
        })
        .or_exit(Exit::Broken)
}

/// Whether a lab did not start because of this machine, about which its user can do something.
pub fn is_lacking(error: &anyhow::Error) -> bool {
    matches!(
        error.downcast_ref(),
        Some(LabError::Boot(BootError::Host { .. }))
    )
}

/// Nodes that are not Ready by then never will be.
const READY_LIMIT: Duration = Duration::from_secs(60);

/// Waits for the lab's nodes. Before that, its scheduler would tell pods that there is no place for them.
pub async fn ready(lab: &Lab) -> anyhow::Result<()> {
    match tokio::time::timeout(READY_LIMIT, lab.ready()).await {
        Ok(ready) => Ok(ready?),
        Err(_) => anyhow::bail!("its nodes are not Ready after {READY_LIMIT:?}"),
    }
}

/// Progress of long work; drawn on a terminal only, else a line per phase.
#[derive(Default)]
pub struct Bar(std::sync::Mutex<State>);

#[derive(Default)]
struct State {
    bar: Option<ProgressBar>,
    said: String,
}

impl Bar {
    pub fn show(&self, progress: &Progress) {
        let mut state = self
            .0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let line = format!("{}: {}", progress.what, progress.phase);
        // Without a terminal a phase is told once, not for every package.
        let phase = line.split(" (").next().unwrap_or(&line);
        let phase = phase
            .split_once("downloading")
            .map_or(phase, |(what, _)| what);
        let bar = state.bar.get_or_insert_with(|| {
            let bar = ProgressBar::new(1000);
            if let Ok(style) =
                ProgressStyle::with_template("{spinner} {wide_msg} {percent}% {elapsed}")
            {
                bar.set_style(style);
            }
            bar
        });
        if let Some(fraction) = progress.fraction {
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            bar.set_position((fraction.clamp(0.0, 1.0) * 1000.0) as u64);
        }
        bar.set_message(line.clone());
        if bar.is_hidden() && state.said != phase {
            eprintln!("{line}");
            phase.clone_into(&mut state.said);
        }
    }

    pub fn finish(&self) {
        let mut state = self
            .0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(bar) = state.bar.take() {
            bar.finish_and_clear();
        }
    }
}
