//! `trunkline rootfs`: the lab's root file systems, built ahead of time.

use trunkline_userland::{
    RootKind,
    rootfs::{self as roots, Look},
};

use crate::{
    cli::{Global, Rootfs},
    exit::{Exit, Failure, OrExit},
    host, out,
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
        let found = roots::inspect(cache, kind).or_exit(Exit::Userland)?;
        complete &= matches!(found, Look::Found(_));
        match found {
            Look::Found(root) => out::line(format_args!("{name:9} {}", root.path.display()))?,
            Look::Damaged(damage) => out::line(format_args!(
                "{name:9} damaged ({damage}); run: trunkline rootfs build"
            ))?,
            Look::Absent => out::line(format_args!(
                "{name:9} not built; run: trunkline rootfs build"
            ))?,
        }
    }
    Ok(if complete { Exit::Ok } else { Exit::Userland })
}
