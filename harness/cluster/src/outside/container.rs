//! The containers of hosts.

use std::collections::HashMap;

use bollard::{
    container::LogOutput,
    models::{ContainerCreateBody, DeviceMapping, HostConfig},
    query_parameters::{
        CreateContainerOptionsBuilder, ListContainersOptionsBuilder, LogsOptionsBuilder,
        RemoveContainerOptionsBuilder, StartContainerOptions, WaitContainerOptions,
    },
};
use futures::{StreamExt, TryStreamExt};

use super::{CLUSTER, HOST, NETWORK, OutsideHost};
use crate::docker::{Docker, DockerError};

const CAPABILITIES: &[&str] = &["NET_ADMIN", "NET_RAW"];

fn labels(cluster: &str, host: &str) -> HashMap<String, String> {
    HashMap::from([
        (CLUSTER.to_owned(), cluster.to_owned()),
        (HOST.to_owned(), host.to_owned()),
    ])
}

pub(super) async fn start_host(
    docker: &Docker,
    cluster: &str,
    host: &OutsideHost,
) -> Result<String, DockerError> {
    let body = ContainerCreateBody {
        image: Some(host.image.clone()),
        hostname: Some(host.name.clone()),
        // As in Kubernetes: a command replaces the entry point and its arguments.
        entrypoint: (!host.command.is_empty()).then(|| host.command.clone()),
        cmd: (!host.command.is_empty()).then(Vec::new),
        labels: Some(labels(cluster, &host.name)),
        host_config: Some(HostConfig {
            network_mode: Some(NETWORK.to_owned()),
            cap_add: Some(vec!["NET_RAW".to_owned()]),
            ..HostConfig::default()
        }),
        ..ContainerCreateBody::default()
    };
    let name = format!("{cluster}-outside-{}", host.name);
    start(docker, &name, body).await
}

/// A container in the network namespace of another.
pub(super) struct Beside<'a> {
    pub(super) cluster: &'a str,
    pub(super) host: &'a str,
    pub(super) container: &'a str,
    pub(super) role: &'a str,
    pub(super) image: &'a str,
    pub(super) script: &'a str,
    pub(super) environment: Vec<String>,
}

impl Beside<'_> {
    pub(super) async fn start(&self, docker: &Docker) -> Result<String, DockerError> {
        let tun = DeviceMapping {
            path_on_host: Some("/dev/net/tun".to_owned()),
            path_in_container: Some("/dev/net/tun".to_owned()),
            cgroup_permissions: Some("rwm".to_owned()),
        };
        let body = ContainerCreateBody {
            image: Some(self.image.to_owned()),
            entrypoint: Some(vec!["bash".into(), "-c".into(), self.script.to_owned()]),
            cmd: Some(Vec::new()),
            env: Some(self.environment.clone()),
            labels: Some(labels(self.cluster, self.host)),
            host_config: Some(HostConfig {
                network_mode: Some(format!("container:{}", self.container)),
                cap_add: Some(CAPABILITIES.iter().map(ToString::to_string).collect()),
                devices: Some(vec![tun]),
                ..HostConfig::default()
            }),
            ..ContainerCreateBody::default()
        };
        let name = format!("{}-outside-{}-{}", self.cluster, self.host, self.role);
        start(docker, &name, body).await
    }
}

async fn start(
    docker: &Docker,
    name: &str,
    body: ContainerCreateBody,
) -> Result<String, DockerError> {
    let options = CreateContainerOptionsBuilder::default().name(name).build();
    let made = docker
        .client()
        .create_container(Some(options), body)
        .await
        .map_err(DockerError::doing(|| {
            format!("create the container {name}")
        }))?;
    let started = docker
        .client()
        .start_container(&made.id, None::<StartContainerOptions>)
        .await;
    if let Err(error) = started {
        remove_one(docker, &made.id).await?;
        return Err(DockerError::doing(|| format!("start the container {name}"))(error));
    }
    Ok(made.id)
}

/// Waits for its end; gives its exit code and what it wrote.
pub(super) async fn ended(docker: &Docker, id: &str) -> Result<(i64, String), DockerError> {
    let waited = docker
        .client()
        .wait_container(id, None::<WaitContainerOptions>)
        .try_collect::<Vec<_>>()
        .await;
    let code = match waited {
        Ok(answers) => answers.first().map_or(0, |answer| answer.status_code),
        // An exit code other than 0 comes as an error.
        Err(bollard::errors::Error::DockerContainerWaitError { code, .. }) => code,
        Err(error) => {
            return Err(DockerError::doing(|| "wait for a container".to_owned())(
                error,
            ));
        }
    };
    let options = LogsOptionsBuilder::default()
        .stdout(true)
        .stderr(true)
        .build();
    let said = docker
        .client()
        .logs(id, Some(options))
        .map_ok(|line| line.to_string())
        .try_collect::<String>()
        .await
        .map_err(DockerError::doing(|| {
            "read a container's output".to_owned()
        }))?;
    Ok((code, said))
}

/// Follows its output until it writes this line; `Err` has what it wrote when it ended without.
pub(super) async fn says(
    docker: &Docker,
    id: &str,
    line: &str,
) -> Result<Result<(), String>, DockerError> {
    let options = LogsOptionsBuilder::default()
        .stdout(true)
        .stderr(true)
        .follow(true)
        .build();
    let mut logs = docker.client().logs(id, Some(options));
    let mut said = String::new();
    while let Some(output) = logs.next().await {
        let output: LogOutput = output.map_err(DockerError::doing(|| {
            "follow a container's output".to_owned()
        }))?;
        said.push_str(&output.to_string());
        if said.lines().any(|one| one.trim() == line) {
            return Ok(Ok(()));
        }
    }
    Ok(Err(said))
}

pub(super) async fn remove_one(docker: &Docker, id: &str) -> Result<(), DockerError> {
    let options = RemoveContainerOptionsBuilder::default()
        .force(true)
        .v(true)
        .build();
    match docker.client().remove_container(id, Some(options)).await {
        Err(error) if !DockerError::is_not_found(&error) => {
            Err(DockerError::doing(|| format!("remove the container {id}"))(
                error,
            ))
        }
        _ => Ok(()),
    }
}

/// Removes the containers of one host, or of all hosts of a cluster.
pub(super) async fn remove(
    docker: &Docker,
    cluster: &str,
    host: Option<&str>,
) -> Result<usize, DockerError> {
    let mut wanted = vec![format!("{CLUSTER}={cluster}")];
    wanted.push(match host {
        Some(host) => format!("{HOST}={host}"),
        None => HOST.to_owned(),
    });
    let filters = HashMap::from([("label", wanted)]);
    let options = ListContainersOptionsBuilder::default()
        .all(true)
        .filters(&filters)
        .build();
    let found = docker
        .client()
        .list_containers(Some(options))
        .await
        .map_err(DockerError::doing(|| {
            format!("list the outside hosts of {cluster}")
        }))?;
    for container in &found {
        if let Some(id) = &container.id {
            remove_one(docker, id).await?;
        }
    }
    Ok(found.len())
}
