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
        Rootfs::Build { kinds } if kinds.is_empty() => {
            host::prepare(&cache, &trunkline_lab::LabSpec::default()).await?;
            status(&cache)
        }
        Rootfs::Build { kinds } => {
            let bar = host::Bar::default();
            for kind in kinds {
                roots::ensure(&cache, *kind, &|progress| bar.show(&progress))
                    .await
                    .or_exit(Exit::Userland)?;
            }
            bar.finish();
            status(&cache)
        }
        Rootfs::Status => status(&cache),
    }
}

fn status(cache: &trunkline_userland::Cache) -> Result<Exit, Failure> {
    let mut complete = true;
    for kind in RootKind::ALL {
        let name = kind.name();
        let found = roots::inspect(cache, kind).or_exit(Exit::Userland)?;
        // The others are built when the first virtual machine needs them.
        let needed = matches!(kind, RootKind::Lab | RootKind::Workload);
        complete &= matches!(found, Look::Found(_)) || !needed;
        match found {
            Look::Found(root) => out::line(format_args!("{name:9} {}", root.path.display()))?,
            Look::Damaged(damage) => out::line(format_args!(
                "{name:9} damaged ({damage}); run: trunkline rootfs build {name}"
            ))?,
            Look::Absent if needed => out::line(format_args!(
                "{name:9} not built; run: trunkline rootfs build {name}"
            ))?,
            Look::Absent => out::line(format_args!(
                "{name:9} not built; the first virtual machine builds it, or: trunkline rootfs build {name}"
            ))?,
        }
    }
    Ok(if complete { Exit::Ok } else { Exit::Userland })
}
