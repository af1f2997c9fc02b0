//! `trunkline gc`: removes from a cluster what runs that died have left there.

use trunkline_cluster::{
    ClusterSite, ConnectOptions,
    gc::{self, Cleared, Fate, Mode},
    journal::Journals,
};

use crate::{
    cli::{Gc, Global},
    exit::{Exit, Failure, OrExit},
    out,
    sites::context_failure,
};

pub async fn run(args: &Gc, _global: &Global) -> Result<Exit, Failure> {
    let journals = Journals::locate().or_exit(Exit::Broken)?;
    let options = ConnectOptions {
        kubeconfig: args.kubeconfig.clone().map(Into::into),
        context: args.context.clone(),
        ..ConnectOptions::default()
    };
    let site = ClusterSite::connect(options)
        .await
        .map_err(context_failure)?;
    let mode = if args.dry_run {
        Mode::DryRun
    } else {
        Mode::Remove
    };
    let cleared = gc::gc(
        &trunkline_engine::Site::client(&site),
        site.id(),
        &journals,
        mode,
    )
    .await
    .or_exit(Exit::Broken)?;
    if cleared.is_empty() {
        out::line("no run that died left anything behind")?;
    }
    let mut exit = Exit::Ok;
    for run in &cleared {
        tell(run)?;
        // What is on other clusters is not this command's business; what could not be removed here is.
        let stays = |(_, fate): &(_, Fate)| matches!(fate, Fate::Stays(_));
        if run.objects.iter().any(stays) {
            exit = Exit::Broken;
        }
    }
    Ok(exit)
}

fn tell(run: &Cleared) -> Result<(), Failure> {
    let header = &run.header;
    out::line(format_args!(
        "run {} of {} on {} ({})",
        header.run,
        header.started.strftime("%Y-%m-%d %H:%M:%S UTC"),
        header.cluster.context,
        header.cluster.server
    ))?;
    if run.objects.iter().all(|(_, fate)| *fate == Fate::Elsewhere) {
        return out::line(format_args!(
            "  {} objects on another cluster: give that one with --context, or --kubeconfig",
            run.objects.len()
        ));
    }
    for (object, fate) in &run.objects {
        let what = match fate {
            Fate::Removed => "removed".to_owned(),
            Fate::Removable => "would be removed".to_owned(),
            Fate::Absent => "gone already".to_owned(),
            Fate::Foreign(why) => format!("left alone: {why}"),
            Fate::Stays(why) => format!("still there: {why}"),
            Fate::Elsewhere => "on another cluster".to_owned(),
        };
        out::line(format_args!("  {object} {what}"))?;
    }
    Ok(())
}
