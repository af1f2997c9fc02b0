//! `trunkline rootfs`: the lab's root file systems, built ahead of time.

use trunkline_userland::{RootKind, rootfs as roots};

use crate::{
    cli::{Global, Rootfs},
    exit::{Exit, Failure, OrExit},
    host,
};

pub async fn rootfs(command: &Rootfs, global: &Global) -> Result<Exit, Failure> {
    let cache = host::cache(global)?;
    match command {
        Rootfs::Build => {
            host::prepare(&cache, &trunkline_lab::LabSpec::default()).await?;
            status(&cache)
        }
        Rootfs::Status => status(&cache),
    }
}

fn status(cache: &trunkline_userland::Cache) -> Result<Exit, Failure> {
    let mut complete = true;
    for (name, kind) in [("lab", RootKind::Lab), ("workload", RootKind::Workload)] {
        match roots::find(cache, kind).or_exit(Exit::Userland)? {
            Some(root) => println!("{name:9} {}", root.path.display()),
            None => {
                complete = false;
                println!("{name:9} not built; run: trunkline rootfs build");
            }
        }
    }
    Ok(if complete { Exit::Ok } else { Exit::Userland })
}
