//! A whole cluster without kubelets: the API server, three real zones, and pods that are nothing
//! but network namespaces. Its Northbound databases are held against the recorded ones.
#![allow(clippy::unwrap_used)]

mod layer3;
mod overlay;
mod parity;
#[path = "../record/mod.rs"]
mod record;
mod refusals;
mod rig;
mod sealed;
mod services;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let skipped = if arguments.list {
        None
    } else {
        sealed::seal().err()
    };
    if let Some(reason) = &skipped {
        eprintln!("skipped: {reason}");
    }
    let trial = Trial::test("cluster", || {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let cluster = rig::Cluster::start().await;
            Box::pin(parity::run(&cluster)).await;
            overlay::run(&cluster).await;
            Box::pin(layer3::run(&cluster)).await;
            services::run(&cluster).await;
            refusals::run(&cluster).await;
        });
        Ok(())
    });
    let trial = trial.with_ignored_flag(skipped.is_some());
    libtest_mimic::run(&arguments, vec![trial]).exit_code()
}
