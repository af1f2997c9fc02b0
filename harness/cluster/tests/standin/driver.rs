//! The child: does one job in an environment of its own, since PATH and DOCKER_HOST belong to a process.

use std::{collections::BTreeMap, path::PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use trunkline_cluster::{
    component::{Component, Needs, Plan, Profile, plan},
    kind::{Home, KindError, UpOptions},
};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Job {
    pub verb: String,
    pub state: PathBuf,
    pub cache: PathBuf,
    pub profile: Profile,
    pub everything: bool,
    pub images: Option<PathBuf>,
    pub deadline_seconds: u64,
    /// Checksums of stand-ins for what components are installed from.
    pub pinned: BTreeMap<String, String>,
}

/// Prints progress in lines, and the outcome in the last one.
pub fn main(job: &str) {
    let job: Job = serde_json::from_str(job).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let answer: Result<String, String> =
        runtime.block_on(work(&job)).map_err(|error| report(&error));
    println!("{}", serde_json::to_string(&answer).unwrap());
}

async fn work(job: &Job) -> Result<String, KindError> {
    let home = Home::at(&job.state);
    match job.verb.as_str() {
        "up" => {
            let options = options(job);
            let plan = with_stand_ins(job, plan(job.profile, &options.needs, 2, None)?);
            let cluster = home
                .up_as_planned(&plan, &options, |progress| println!("{progress:?}"))
                .await?;
            Ok(cluster.kubeconfig.display().to_string())
        }
        "down" => Ok(home.down("c").await?.to_string()),
        "status" => {
            let status = home.status("c").await?;
            Ok(status.unfinished().unwrap_or_else(|| format!("{status:?}")))
        }
        other => panic!("no job is called {other}"),
    }
}

fn options(job: &Job) -> UpOptions {
    UpOptions {
        name: "c".into(),
        profile: job.profile,
        workers: 2,
        images: job.images.clone(),
        needs: if job.everything {
            Needs::everything(job.profile)
        } else {
            Needs::default()
        },
        node_image: None,
        cache: job.cache.clone(),
    }
}

/// The components as they are, but for the checksums of what stands in, a deadline that tests can wait for, and limits of
/// this machine, which are no part of the stand-in.
fn with_stand_ins(job: &Job, mut plan: Plan) -> Plan {
    for component in &mut plan.components {
        let mut value = serde_json::to_value(&*component).unwrap();
        value["deadline-seconds"] = json!(job.deadline_seconds);
        value["inotify"] = json!({"instances": 0, "watches": 0});
        for source in value["sources"].as_array_mut().unwrap() {
            if let Some(sum) = source["name"]
                .as_str()
                .and_then(|name| job.pinned.get(name))
            {
                source["checksum"] = json!({"sha256": sum});
            }
        }
        let changed: Result<Component, _> =
            serde_json::from_value::<Component>(Value::clone(&value));
        *component = changed.unwrap();
    }
    plan
}

fn report(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        text.push_str("\nbecause ");
        text.push_str(&error.to_string());
        next = error.source();
    }
    text
}
