//! `trunkline images`: what the catalogue knows, and its images as archives.

use std::collections::BTreeSet;

use anyhow::Context;
use camino::{Utf8Path, Utf8PathBuf};
use comfy_table::{Table, presets};
use serde_json::json;
use tokio_util::io::{ReaderStream, SyncIoBridge};
use trunkline_cluster::docker::Docker;
use trunkline_userland::{
    Bundle, Cache, Catalogue, ImageSource, archive, images::Images, images::State, programs, rootfs,
};

use crate::{
    cli::{Global, Images as Command, ImagesBuild, ImagesList},
    exit::{Exit, Failure, OrExit},
    host, out,
};

pub async fn run(command: &Command, global: &Global) -> Result<Exit, Failure> {
    match command {
        Command::Build(args) => build(args, &host::cache(global)?).await,
        Command::List(args) => match &args.images {
            Some(directory) => archives(directory, args.json),
            None => list(args, &host::cache(global)?),
        },
    }
}

fn catalogue(file: Option<&Utf8PathBuf>) -> Result<Catalogue, Failure> {
    match host::catalogue(file.map(Utf8PathBuf::as_path))? {
        Some(file) => Catalogue::parse(&file.name, &file.text).or_exit(Exit::Invalid),
        None => Catalogue::embedded().or_exit(Exit::Invalid),
    }
}

async fn build(args: &ImagesBuild, cache: &Cache) -> Result<Exit, Failure> {
    let images = Images::new(
        cache.clone(),
        catalogue(args.catalogue.as_ref())?,
        args.images.clone(),
    );
    let references = wanted(args, &images)?;
    // Docker is asked first: nobody waits for an image only to hear that there is none.
    let docker = if args.load {
        Some(Docker::connect().await.or_exit(Exit::Host)?)
    } else {
        None
    };
    if let Some(directory) = &args.out {
        std::fs::create_dir_all(directory)
            .with_context(|| format!("cannot create {directory}"))
            .or_exit(Exit::Userland)?;
    }
    let bar = host::Bar::default();
    let roots: BTreeSet<_> = references
        .iter()
        .filter_map(|reference| images.root_of(reference))
        .collect();
    for root in roots {
        rootfs::ensure(cache, root, &|progress| bar.show(&progress))
            .await
            .or_exit(Exit::Userland)?;
    }
    programs::install(cache).or_exit(Exit::Userland)?;
    for reference in &references {
        let bundle = images
            .bundle(reference, &|progress| bar.show(&progress))
            .await
            .or_exit(Exit::Userland)?;
        if let Some(directory) = &args.out {
            let file = directory.join(file_name(&bundle, reference));
            save(bundle.clone(), file.clone()).await?;
            out::line(format_args!("{reference}  {}  {file}", bundle.digest()))?;
        }
        if let Some(docker) = &docker {
            load(docker, bundle, reference).await?;
            let provider = docker.provider().as_str();
            out::line(format_args!("{reference}  loaded into {provider}"))?;
        }
    }
    bar.finish();
    Ok(Exit::Ok)
}

/// The references that were asked for, or everything that the source has.
fn wanted(args: &ImagesBuild, images: &Images) -> Result<Vec<String>, Failure> {
    if !args.references.is_empty() {
        return Ok(args.references.clone());
    }
    match images.source() {
        ImageSource::Build => Ok(images
            .list()
            .into_iter()
            .filter(|image| image.built_from.is_some() && !image.machine)
            .map(|image| image.reference)
            .collect()),
        ImageSource::Pull => Ok(images
            .list()
            .into_iter()
            .map(|image| image.reference)
            .collect()),
        ImageSource::Directory(directory) => {
            let archives = archive::read_dir(directory).or_exit(Exit::Userland)?;
            Ok(archives.names().into_iter().map(str::to_owned).collect())
        }
    }
}

/// From the whole name, so that no two images share a file.
fn file_name(bundle: &Bundle, reference: &str) -> String {
    let name = bundle.names().first().map_or(reference, String::as_str);
    let name = name.trim_start_matches("docker.io/library/");
    format!("{}.tar", name.replace(['/', ':', '@'], "-"))
}

async fn save(bundle: Bundle, file: Utf8PathBuf) -> Result<(), Failure> {
    let written = {
        let file = file.clone();
        tokio::task::spawn_blocking(move || bundle.save(file.as_std_path())).await
    };
    written
        .map_err(anyhow::Error::from)
        .and_then(|written| written.map_err(anyhow::Error::from))
        .with_context(|| format!("cannot write {file}"))
        .or_exit(Exit::Userland)
}

/// As `docker load` does, without a file between.
async fn load(docker: &Docker, bundle: Bundle, reference: &str) -> Result<(), Failure> {
    use futures::TryStreamExt;

    const PIPE: usize = 256 * 1024;
    let (reader, writer) = tokio::io::duplex(PIPE);
    let writing = tokio::task::spawn_blocking(move || {
        let mut writer = SyncIoBridge::new(writer);
        let written = bundle.write(&mut writer);
        written.and(writer.shutdown())
    });
    let options = bollard::query_parameters::ImportImageOptions {
        quiet: true,
        ..Default::default()
    };
    let body = bollard::body_try_stream(ReaderStream::with_capacity(reader, PIPE));
    let loading = docker
        .client()
        .import_image(options, body, None)
        .try_collect::<Vec<_>>();
    let (written, loaded) = tokio::join!(writing, loading);
    let provider = docker.provider().as_str();
    // What the daemon says about a broken stream says less than why it broke.
    let written = written
        .map_err(anyhow::Error::from)
        .and_then(|written| written.map_err(anyhow::Error::from));
    match (loaded, written) {
        (Ok(_), Ok(())) => Ok(()),
        (Err(error), _) => Err(anyhow::Error::from(error)),
        (Ok(_), Err(error)) => Err(error),
    }
    .with_context(|| format!("cannot load image {reference} into {provider}"))
    .or_exit(Exit::Userland)
}

fn list(args: &ImagesList, cache: &Cache) -> Result<Exit, Failure> {
    let images = Images::new(
        cache.clone(),
        catalogue(args.catalogue.as_ref())?,
        ImageSource::Build,
    );
    let listed = images.list();
    if args.json {
        out::line(serde_json::to_string_pretty(&listed).or_exit(Exit::Broken)?)?;
        return Ok(Exit::Ok);
    }
    let mut table = table(["NAME", "REFERENCE", "BUILT FROM", "PULLED FROM", "CACHED"]);
    for image in listed {
        table.add_row([
            image.name,
            image.reference,
            image.built_from.unwrap_or_else(|| "-".to_owned()),
            image.pulled_from,
            match image.state {
                State::Built => "built",
                State::Pulled => "pulled",
                State::Both => "built and pulled",
                State::Absent => "-",
            }
            .to_owned(),
        ]);
    }
    out::line(table)?;
    Ok(Exit::Ok)
}

fn archives(directory: &Utf8Path, as_json: bool) -> Result<Exit, Failure> {
    let archives = archive::read_dir(directory.as_std_path()).or_exit(Exit::Userland)?;
    let images = archives.images().iter();
    if as_json {
        let all: Vec<_> = images
            .map(|image| {
                json!({
                    "references": image.names().collect::<Vec<_>>(),
                    "digest": image.digest(),
                    "file": image.file(),
                    "bytes": image.bundle().size(),
                })
            })
            .collect();
        out::line(serde_json::to_string_pretty(&all).or_exit(Exit::Broken)?)?;
        return Ok(Exit::Ok);
    }
    let mut table = table(["REFERENCE", "MB", "DIGEST", "FILE"]);
    for image in images {
        let names: Vec<_> = image.names().collect();
        table.add_row([
            match names.as_slice() {
                [] => "(no name)".to_owned(),
                names => names.join("\n"),
            },
            image.bundle().size().div_ceil(1_000_000).to_string(),
            image.digest().to_owned(),
            image.file().display().to_string(),
        ]);
    }
    out::line(table)?;
    Ok(Exit::Ok)
}

fn table<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header);
    table
}
