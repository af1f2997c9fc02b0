//! Makes the nodes.

use std::path::Path;

use bollard::query_parameters::ImportImageOptions;
use futures::TryStreamExt;
use tokio_util::io::{ReaderStream, SyncIoBridge};
use trunkline_userland::archive::Archives;

use super::{
    KindError, Progress,
    config::config,
    state::{ClusterDir, Lock},
    tool::Tool,
};
use crate::{
    component::Plan,
    docker::{Docker, DockerError},
};

/// Everything is there that making the nodes takes; nothing was started yet.
pub(super) async fn node_image(
    docker: &Docker,
    archives: Option<&Archives>,
    image: &str,
) -> Result<String, KindError> {
    if has(docker, image).await? {
        return Ok(image.to_owned());
    }
    let Some(archives) = archives else {
        // kind pulls it, and says so when it cannot.
        return Ok(image.to_owned());
    };
    // An archive knows tags and no registry's digest, and kind would pull what it does not find under its name.
    let tagged = image.split_once('@').map_or(image, |(tagged, _)| tagged);
    if !has(docker, tagged).await? {
        import(docker, archives, tagged).await?;
    }
    Ok(tagged.to_owned())
}

async fn has(docker: &Docker, image: &str) -> Result<bool, DockerError> {
    match docker.client().inspect_image(image).await {
        Ok(_) => Ok(true),
        Err(error) if DockerError::is_not_found(&error) => Ok(false),
        Err(error) => Err(DockerError::doing(|| format!("look for the image {image}"))(error)),
    }
}

/// Out of the directory into the daemon, its digests checked.
async fn import(docker: &Docker, archives: &Archives, image: &str) -> Result<(), KindError> {
    let found = archives
        .require(image)
        .map_err(crate::images::ImageError::from)?
        .clone();
    let (reader, writer) = tokio::io::duplex(256 * 1024);
    let mut writer = SyncIoBridge::new(writer);
    let writing = tokio::task::spawn_blocking(move || found.write(&mut writer));
    let importing = docker
        .client()
        .import_image_stream(
            ImportImageOptions::default(),
            ReaderStream::new(reader).map_err(|error| error),
            None,
        )
        .try_for_each(|_| std::future::ready(Ok(())));
    let (written, imported) = tokio::join!(writing, importing);
    match written {
        Ok(written) => written.map_err(crate::images::ImageError::from)?,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
    imported.map_err(DockerError::doing(|| {
        format!(
            "load the node image {image} into {}",
            docker.provider().as_str()
        )
    }))?;
    Ok(())
}

/// Has kind make the nodes. When it fails it removes them itself.
pub(super) async fn create(
    docker: &Docker,
    dir: &ClusterDir,
    lock: &Lock,
    plan: &Plan,
    image: &str,
    progress: &(impl Fn(Progress) + Sync),
) -> Result<(), KindError> {
    let config = config(plan, image, &dir.owner());
    dir.write("kind.yaml", &config.to_string())?;
    Tool::kind(docker.provider())
        .arg("create")
        .arg("cluster")
        .arg("--name")
        .arg(dir.name())
        .arg("--config")
        .path(&dir.path().join("kind.yaml"))
        .arg("--kubeconfig")
        .path(&dir.kubeconfig())
        .run(lock, |line| {
            // Its finished steps; the rest is advice that does not fit.
            if let Some(step) = line.trim().strip_prefix('✓') {
                progress(Progress::Note(format!("kind: {}", plain(step))));
            }
        })
        .await
        .map_err(KindError::Create)
}

/// Has kind remove the nodes. Succeeds when there are none.
pub(super) async fn delete(
    docker: &Docker,
    dir: &ClusterDir,
    lock: &Lock,
) -> Result<(), KindError> {
    Tool::kind(docker.provider())
        .arg("delete")
        .arg("cluster")
        .arg("--name")
        .arg(dir.name())
        .arg("--kubeconfig")
        .path(&dir.kubeconfig())
        .run(lock, |_| {})
        .await
        .map_err(|source| KindError::Remove {
            name: dir.name().to_owned(),
            source,
        })
}

/// Without the pictures.
fn plain(step: &str) -> String {
    step.chars()
        .filter(char::is_ascii)
        .collect::<String>()
        .trim()
        .to_owned()
}

/// A client of the cluster, with the credentials that kind wrote.
pub(super) async fn client(name: &str, kubeconfig: &Path) -> Result<kube::Client, KindError> {
    let unreachable = |source: Box<dyn std::error::Error + Send + Sync>| KindError::Unreachable {
        name: name.to_owned(),
        kubeconfig: kubeconfig.to_owned(),
        source,
    };
    let file = kube::config::Kubeconfig::read_from(kubeconfig)
        .map_err(|error| unreachable(error.into()))?;
    let config =
        kube::Config::from_custom_kubeconfig(file, &kube::config::KubeConfigOptions::default())
            .await
            .map_err(|error| unreachable(error.into()))?;
    kube::Client::try_from(config).map_err(|error| unreachable(error.into()))
}
