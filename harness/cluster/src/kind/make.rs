//! From nothing, or from half, to nodes.

use futures::future::join_all;
use tokio::time::Instant;
use trunkline_userland::archive::Archives;

use super::{
    KindError, Phase, Progress, Record, create,
    state::{ClusterDir, Lock},
};
use crate::{
    component::{Plan, Sources},
    docker::{Demands, Docker, HostFacts, check},
    images::ImageError,
};

pub(super) fn fresh(dir: &ClusterDir, plan: &Plan) -> Record {
    Record {
        name: dir.name().to_owned(),
        profile: plan.profile,
        workers: plan.workers,
        nodes: plan.nodes.clone(),
        components: Vec::new(),
        started: jiff::Timestamp::now(),
        phase: Phase::Creating,
    }
}

/// All that making nodes takes.
pub(super) struct Maker<'a> {
    pub(super) docker: &'a Docker,
    pub(super) dir: &'a ClusterDir,
    pub(super) lock: &'a Lock,
    pub(super) plan: &'a Plan,
    pub(super) archives: Option<&'a Archives>,
    pub(super) sources: &'a Sources,
}

/// Everything that can be known to be missing is said before anything is started; then kind makes the nodes. With `half`
/// it removes first what an earlier attempt left.
pub(super) async fn make(
    maker: &Maker<'_>,
    half: bool,
    progress: &(impl Fn(Progress) + Sync),
) -> Result<Record, KindError> {
    let &Maker {
        docker,
        dir,
        lock,
        plan,
        archives,
        sources,
    } = maker;
    let begun = Instant::now();
    let facts = HostFacts::with(Ok(docker.facts().await?));
    let (fatal, slow): (Vec<_>, Vec<_>) = check(&facts, &Demands::from(plan))
        .into_iter()
        .partition(|finding| finding.fatal);
    let prepared = async {
        if !fatal.is_empty() {
            return Err(KindError::Lacking(fatal));
        }
        if let Some(archives) = archives {
            require_all(plan, archives, sources).await?;
        }
        create::node_image(docker, archives, &plan.nodes.image).await
    };
    let image = match prepared.await {
        Ok(image) => image,
        Err(error) => {
            if !half {
                dir.forget()?;
            }
            return Err(error);
        }
    };
    for finding in slow {
        progress(Progress::Note(finding.to_string()));
    }
    if half {
        let note = "nodes that an earlier `up` left half made are made anew";
        progress(Progress::Note(note.to_owned()));
        create::delete(docker, dir, lock).await?;
    }
    let record = fresh(dir, plan);
    dir.save(&record)?;
    let name = plan
        .components
        .iter()
        .find(|component| component.nodes.is_some())
        .map_or_else(|| "node-image".into(), |component| component.name.clone());
    progress(Progress::Begun {
        component: name.clone(),
    });
    // Downloads take as long as nodes do. What fails here is said by the component that needs it.
    let downloads = join_all(
        plan.components
            .iter()
            .flat_map(|component| &component.sources)
            .map(|source| sources.path(source)),
    );
    let created = create::create(docker, dir, lock, plan, &image, progress);
    let (created, _) = tokio::join!(created, downloads);
    if created.is_err() && docker.nodes(dir.name()).await?.is_empty() {
        // kind has cleaned up behind itself.
        dir.forget()?;
    }
    created?;
    progress(Progress::Done {
        component: name,
        already: false,
        took: begun.elapsed(),
    });
    Ok(record)
}

/// In an air gap every image and file is there, or nothing is begun.
async fn require_all(plan: &Plan, archives: &Archives, sources: &Sources) -> Result<(), KindError> {
    let components = plan
        .components
        .iter()
        .flat_map(|component| component.images.iter().map(|image| &image.reference));
    for reference in components.chain(&plan.images) {
        archives.require(reference).map_err(ImageError::from)?;
    }
    for source in plan
        .components
        .iter()
        .flat_map(|component| &component.sources)
    {
        sources.path(source).await?;
    }
    Ok(())
}
