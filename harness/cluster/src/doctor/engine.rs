//! The container engine: whether it answers, and whether it can run what a node of kind is.

use std::{io, path::Path};

use bollard::{
    models::{ContainerCreateBody, HostConfig},
    query_parameters::{
        CreateContainerOptions, CreateImageOptionsBuilder, RemoveContainerOptionsBuilder,
        RemoveImageOptions, StartContainerOptions, WaitContainerOptions,
    },
};
use futures::TryStreamExt;

use super::reach::innermost;
use crate::docker::{Docker, DockerError, DockerFacts, Provider};

/// What became of asking for the container engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Engine {
    /// Nobody answers, and no daemon is installed that could.
    Absent,
    /// Installed, but nobody answers.
    Silent(Provider),
    /// It answers, but not to this user; the reason in its words.
    Denied(String),
    /// It answers nonsense, or an error.
    Broken(String),
    Answers {
        says: DockerFacts,
        privileged: Privileged,
    },
}

/// Whether a privileged container runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Privileged {
    Runs,
    /// In the engine's own words.
    Refused(String),
}

/// Exactly what nodes of kind are asked for; the program inside ends at once.
const PROBE_IMAGE: &str = "trunkline-doctor";
const PROBE_TAG: &str = "probe";
const PROGRAM: &str = "trunkline-agent";

impl Engine {
    /// Asks the engine that kind would take.
    pub async fn ask() -> Self {
        let docker = match Docker::connect().await {
            Ok(docker) => docker,
            Err(error) => return Self::of(&error),
        };
        match docker.facts().await {
            Ok(says) => Self::Answers {
                says,
                privileged: match privileged(docker.client()).await {
                    Ok(()) => Privileged::Runs,
                    Err(error) => Privileged::Refused(error.to_string()),
                },
            },
            Err(error) => Self::of(&error),
        }
    }

    fn of(error: &DockerError) -> Self {
        match error {
            DockerError::Absent { .. } => installed().map_or(Self::Absent, Self::Silent),
            DockerError::Denied { why, .. } => Self::Denied(why.clone()),
            other => Self::Broken(format!("{other}: {}", innermost(other))),
        }
    }
}

/// Which of them has its daemon here. The client alone would not do.
fn installed() -> Option<Provider> {
    let programs = [("dockerd", Provider::Docker), ("podman", Provider::Podman)];
    programs
        .into_iter()
        .find(|(name, _)| trunkline_machine::program(name).is_some())
        .map(|(_, provider)| provider)
}

/// Runs a privileged container for a moment, from an image that needs no registry.
async fn privileged(docker: &bollard::Docker) -> Result<(), bollard::errors::Error> {
    let image = format!("{PROBE_IMAGE}:{PROBE_TAG}");
    let import = CreateImageOptionsBuilder::default()
        .from_src("-")
        .repo(PROBE_IMAGE)
        .tag(PROBE_TAG)
        .build();
    let root =
        bollard::body_full(root_with(PROGRAM, trunkline_userland::programs::agent())?.into());
    docker
        .create_image(Some(import), Some(root), None)
        .try_collect::<Vec<_>>()
        .await?;
    let ran = run(docker, &image).await;
    let removed = docker
        .remove_image(&image, None::<RemoveImageOptions>, None)
        .await;
    ran.and(removed.map(|_| ()))
}

async fn run(docker: &bollard::Docker, image: &str) -> Result<(), bollard::errors::Error> {
    let container = ContainerCreateBody {
        image: Some(image.to_owned()),
        cmd: Some(vec![format!("/{PROGRAM}")]),
        host_config: Some(HostConfig {
            privileged: Some(true),
            network_mode: Some("none".to_owned()),
            ..HostConfig::default()
        }),
        ..ContainerCreateBody::default()
    };
    let id = docker
        .create_container(None::<CreateContainerOptions>, container)
        .await?
        .id;
    let started = docker
        .start_container(&id, None::<StartContainerOptions>)
        .await;
    let ended = match started {
        Ok(()) => docker
            .wait_container(&id, None::<WaitContainerOptions>)
            .try_collect::<Vec<_>>()
            .await
            .map(|_| ()),
        Err(error) => Err(error),
    };
    let force = RemoveContainerOptionsBuilder::default().force(true).build();
    let removed = docker.remove_container(&id, Some(force)).await;
    ended.and(removed)
}

/// An archive with one program in it.
fn root_with(name: &str, program: &[u8]) -> io::Result<Vec<u8>> {
    let mut header = tar::Header::new_gnu();
    header.set_size(program.len() as u64);
    header.set_mode(0o755);
    let mut archive = tar::Builder::new(Vec::new());
    archive.append_data(&mut header, Path::new(name), program)?;
    archive.into_inner()
}
