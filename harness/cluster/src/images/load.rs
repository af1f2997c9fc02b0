//! Streams images into containerd of the nodes, all nodes at once.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use futures::{StreamExt, TryStreamExt, future::try_join_all, stream};
use tokio_util::io::SyncIoBridge;
use trunkline_userland::archive::{ArchivedImage, Archives};

use super::{ImageError, Load, whole};
use crate::docker::{Docker, NodeContainer, Stdin};

/// Images read at once: each goes to several nodes already.
const AT_ONCE: usize = 2;
const PIPE: usize = 256 * 1024;
const CTR: &[&str] = &["ctr", "--namespace=k8s.io", "images"];

/// An image that is now in these nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    pub reference: String,
    pub nodes: BTreeSet<String>,
    pub took: Duration,
}

/// Names of images with the digests of what they stand for.
pub type Names = BTreeMap<String, String>;

/// The images in each of these nodes.
pub async fn present(
    docker: &Docker,
    nodes: &[NodeContainer],
) -> Result<BTreeMap<String, Names>, ImageError> {
    try_join_all(nodes.iter().map(|node| async {
        let names = list(docker, &node.name).await?;
        Ok((node.name.clone(), names))
    }))
    .await
    .map(|all| all.into_iter().collect())
}

async fn list(docker: &Docker, node: &str) -> Result<Names, ImageError> {
    let command = [CTR, &["list"]].concat();
    let out = docker
        .must_run(node, &command, &[], Stdin::Nothing)
        .await
        .map_err(|source| ImageError::List {
            node: node.to_owned(),
            source,
        })?;
    Ok(names(&out))
}

/// The first and the third column of `ctr images list`.
fn names(table: &str) -> Names {
    table
        .lines()
        .skip(1)
        .filter_map(|line| {
            let mut columns = line.split_whitespace();
            Some((columns.next()?.to_owned(), columns.nth(1)?.to_owned()))
        })
        .collect()
}

/// Loads these images. Each archive's digests are checked before the first byte goes into a node.
pub async fn load(
    docker: &Docker,
    archives: &Archives,
    loads: Vec<Load>,
    done: &(impl Fn(Loaded) + Sync),
) -> Result<(), ImageError> {
    stream::iter(loads)
        .map(Ok)
        .try_for_each_concurrent(AT_ONCE, |load| async move {
            let start = tokio::time::Instant::now();
            let image = Arc::new(archives.require(&load.reference)?.clone());
            verify(Arc::clone(&image)).await?;
            try_join_all(
                load.nodes
                    .iter()
                    .map(|node| into_node(docker, &image, &load.reference, node)),
            )
            .await?;
            done(Loaded {
                reference: load.reference,
                nodes: load.nodes,
                took: start.elapsed(),
            });
            Ok(())
        })
        .await
}

async fn verify(image: Arc<ArchivedImage>) -> Result<(), ImageError> {
    blocking(move || image.verify()).await.map_err(Into::into)
}

async fn into_node(
    docker: &Docker,
    image: &Arc<ArchivedImage>,
    reference: &str,
    node: &str,
) -> Result<(), ImageError> {
    let failed = |source| ImageError::Load {
        reference: reference.to_owned(),
        node: node.to_owned(),
        source,
    };
    let (reader, writer) = tokio::io::duplex(PIPE);
    let writing = {
        let image = Arc::clone(image);
        let mut writer = SyncIoBridge::new(writer);
        blocking(move || {
            let written = image.bundle().write(&mut writer);
            let closed = writer.shutdown();
            written.and(closed)
        })
    };
    let command = [CTR, &["import", "-"]].concat();
    let importing = docker.must_run(node, &command, &[], Stdin::Reader(Box::new(reader)));
    let (written, imported) = tokio::join!(writing, importing);
    // What containerd says about a broken stream says less than why it broke.
    imported.map_err(failed)?;
    written.map_err(|source| {
        failed(crate::docker::DockerError::Stdin {
            container: node.to_owned(),
            source,
        })
    })?;
    name(docker, image, reference, node).await
}

/// Archives have no digest names, so a reference with a digest gets its name here.
async fn name(
    docker: &Docker,
    image: &ArchivedImage,
    reference: &str,
    node: &str,
) -> Result<(), ImageError> {
    let name = whole(reference);
    if list(docker, node).await?.contains_key(&name) {
        return Ok(());
    }
    let held: Vec<&str> = image.names().collect();
    let (true, Some(first)) = (reference.contains('@'), held.first()) else {
        return Err(ImageError::OtherName {
            reference: reference.to_owned(),
            node: node.to_owned(),
            file: image.file().to_owned(),
            held: held.join(", "),
        });
    };
    let command = [CTR, &["tag", first, &name]].concat();
    docker
        .must_run(node, &command, &[], Stdin::Nothing)
        .await
        .map(drop)
        .map_err(|source| ImageError::Load {
            reference: reference.to_owned(),
            node: node.to_owned(),
            source,
        })
}

/// Off the threads that serve everything else. A panic there is one here.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_table_of_ctr_is_read() {
        let table = "REF TYPE DIGEST SIZE PLATFORMS LABELS \n\
                     docker.io/library/a:1 application/vnd.oci.image.manifest.v1+json sha256:aa 1.2 MiB linux/amd64 - \n\
                     sha256:bb application/x sha256:bb 3.0 KiB - -\n";
        let names = super::names(table);
        assert_eq!(names["docker.io/library/a:1"], "sha256:aa");
        assert_eq!(names.len(), 2);
    }
}
