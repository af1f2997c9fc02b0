//! `down`: everything of a cluster goes, and nothing else.

use super::{Home, KindError, create, situation};
use crate::{docker::Docker, outside};

impl Home {
    /// `false` when there was nothing to remove.
    pub async fn down(&self, name: &str) -> Result<bool, KindError> {
        let dir = self.cluster(name)?;
        let docker = Docker::connect().await?;
        let known = dir.record()?.is_some();
        let lock = dir.lock().await?;
        let nodes = docker.nodes(name).await?;
        if let Err(foreign) = situation::foreign(name, &nodes, &dir.owner()) {
            // Whatever we remember of the name is not this cluster.
            dir.forget()?;
            return Err(foreign);
        }
        let hosts = outside::remove_all(&docker, name).await?;
        if !nodes.is_empty() {
            create::delete(&docker, &dir, &lock).await?;
        }
        dir.forget()?;
        Ok(known || hosts > 0 || !nodes.is_empty())
    }
}
