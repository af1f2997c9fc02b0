//! The probe agent as an image of nothing else, for ephemeral containers beside those that have no shell.

mod archive;

use futures::future::try_join_all;
use trunkline_engine::HelperImage;
use trunkline_userland::programs;

use crate::{
    docker::{Docker, DockerError, NodeRole, Stdin},
    images::{self, ImageError},
    kind::KindError,
};

/// Where the agent lies in the image.
const PATH: &str = "/trunkline-agent";

const IMPORT: [&str; 5] = ["ctr", "--namespace=k8s.io", "images", "import", "-"];

/// The image as scenarios' pods get it: named by what is in it, so that another version is another image.
pub fn image() -> HelperImage {
    HelperImage {
        reference: archive::reference(programs::agent()),
        agent: Some(PATH.into()),
    }
}

/// Brings the image into every node of a kind cluster that does not have it: no registry has it.
pub async fn ensure(cluster: &str) -> Result<HelperImage, KindError> {
    let docker = Docker::connect().await?;
    Ok(into_nodes(&docker, cluster).await?)
}

async fn into_nodes(docker: &Docker, cluster: &str) -> Result<HelperImage, ImageError> {
    let helper = image();
    let nodes = docker
        .nodes(cluster)
        .await
        .map_err(|source| ImageError::List {
            node: format!("the nodes of {cluster}"),
            source,
        })?;
    let nodes: Vec<_> = nodes
        .into_iter()
        .filter(|node| node.role != NodeRole::LoadBalancer)
        .collect();
    let present = images::present(docker, &nodes).await?;
    let lacking = nodes.iter().filter(|node| {
        let names = present.get(&node.name);
        !names.is_some_and(|names| names.contains_key(&helper.reference))
    });
    let failed = |node: &str, source: DockerError| ImageError::Load {
        reference: helper.reference.clone(),
        node: node.to_owned(),
        source,
    };
    try_join_all(lacking.map(|node| async {
        let stdin = |source| DockerError::Stdin {
            container: node.name.clone(),
            source,
        };
        let tar = archive::docker_archive(programs::agent(), PATH)
            .map_err(|source| failed(&node.name, stdin(source)))?;
        let stdin = Stdin::Reader(Box::new(std::io::Cursor::new(tar)));
        docker
            .must_run(&node.name, &IMPORT, &[], stdin)
            .await
            .map_err(|source| failed(&node.name, source))
    }))
    .await?;
    Ok(helper)
}
