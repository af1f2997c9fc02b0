//! `up kind`, `down kind`, `status kind`: clusters in containers.

use std::fmt::Write as _;

use comfy_table::{Table, presets};
use trunkline_cluster::{
    component::Needs,
    doctor::{Engine, Privileged},
    kind::{self, Cluster, ComponentState, KindError, Progress, Status, UpOptions},
};
use trunkline_scenario::{Scenario, Suite};

use crate::{
    cli::{Global, KindDown, KindStatus, KindUp},
    exit::{Exit, Failure, OrExit},
    host, interrupt, out,
    sites::kind_failure,
    suite,
};

pub async fn up(args: &KindUp, global: &Global) -> Result<Exit, Failure> {
    // A name that is none is told to those without Docker, too.
    kind::find(&args.name).map_err(kind_failure)?;
    let options = UpOptions {
        name: args.name.clone(),
        profile: args.profile.into(),
        workers: args.workers,
        images: args.images.clone().map(Into::into),
        needs: needs(args)?,
        node_image: args.node_image.clone().map(Into::into),
        cache: host::cache(global)?.root().join("downloads"),
    };
    let stop = interrupt::token()?;
    let made = tokio::select! {
        made = kind::up(options, told) => made,
        () = stop.cancelled() => return interrupted(&args.name).await,
    };
    match made {
        Ok(cluster) => announce(&cluster),
        Err(error @ KindError::Create(_)) => Err(unmade(error).await),
        Err(error) => Err(kind_failure(error)),
    }
}

/// Nodes are privileged containers. Where the engine runs none, kind's own words lead nowhere.
async fn unmade(error: KindError) -> Failure {
    match Engine::ask().await {
        Engine::Answers {
            privileged: Privileged::Refused(why),
            ..
        } => {
            let hint = "the container engine runs no privileged containers, and every node of kind is one; \
                        `trunkline doctor kind` says more";
            Failure::new(Exit::Host, anyhow::anyhow!(why).context(hint))
        }
        _ => kind_failure(error),
    }
}

/// What the chosen scenarios need, or all that the profile has.
fn needs(args: &KindUp) -> Result<Needs, Failure> {
    if args.scenarios.is_empty() {
        return Ok(Needs::everything(args.profile.into()));
    }
    let loaded = Suite::load(&args.scenarios);
    suite::sound(&loaded)?;
    if loaded.scenarios.is_empty() {
        let message = anyhow::anyhow!("no scenario file in what --for names");
        return Err(Failure::new(Exit::Usage, message));
    }
    Ok(needs_of(loaded.scenarios.iter().map(AsRef::as_ref)))
}

/// What these scenarios require, and the images of their pods.
pub fn needs_of<'s>(scenarios: impl Iterator<Item = &'s Scenario> + Clone) -> Needs {
    let mut needs = Needs::of(scenarios.clone().map(|one| &one.spec.requires));
    needs.images.extend(scenarios.flat_map(images));
    needs
}

/// What the scenario's own containers run.
fn images(scenario: &Scenario) -> Vec<String> {
    let mut found = Vec::new();
    let objects = scenario
        .manifests
        .iter()
        .flat_map(|(_, manifest)| &manifest.objects);
    for object in objects {
        containers(&object.value, &mut found);
    }
    found
}

/// Pod specs stand at different depths; a list of containers is one wherever it is.
fn containers(value: &serde_json::Value, found: &mut Vec<String>) {
    match value {
        serde_json::Value::Object(fields) => {
            for (name, value) in fields {
                if matches!(name.as_str(), "containers" | "initContainers") {
                    let images = value.as_array().into_iter().flatten();
                    found.extend(images.filter_map(|one| Some(one["image"].as_str()?.to_owned())));
                } else {
                    containers(value, found);
                }
            }
        }
        serde_json::Value::Array(items) => {
            for item in items {
                containers(item, found);
            }
        }
        _ => {}
    }
}

/// A line for every step, on standard error.
fn told(progress: Progress) {
    match progress {
        Progress::Note(note) => eprintln!("{note}"),
        Progress::Begun { component } => eprintln!("{component} …"),
        Progress::Done {
            component,
            already: true,
            ..
        } => eprintln!("{component} is there"),
        Progress::Done {
            component, took, ..
        } => eprintln!("{component} is ready after {:.1}s", took.as_secs_f64()),
        Progress::Image(loaded) => eprintln!(
            "image {} is on {} after {:.1}s",
            loaded.reference,
            loaded
                .nodes
                .iter()
                .map(String::as_str)
                .collect::<Vec<_>>()
                .join(", "),
            loaded.took.as_secs_f64()
        ),
        Progress::Images(images) => {
            eprintln!(
                "images for the scenarios' pods: {}",
                images.into_iter().collect::<Vec<_>>().join(", ")
            );
        }
    }
}

/// Whoever stops half way shall know what is there.
async fn interrupted(name: &str) -> Result<Exit, Failure> {
    match kind::unfinished(name).await {
        Ok(Some(unfinished)) => eprintln!("{unfinished}"),
        Ok(None) => eprintln!("nothing of the cluster {name} is half there"),
        Err(error) => eprintln!(
            "cannot see what is there of the cluster {name} ({error}); remove it: trunkline down kind --name {name}"
        ),
    }
    Ok(Exit::Interrupted)
}

/// For the shell on standard output, for the person on standard error.
fn announce(cluster: &Cluster) -> Result<Exit, Failure> {
    out::line(format_args!(
        "export KUBECONFIG={}",
        cluster.kubeconfig.display()
    ))?;
    let name = &cluster.name;
    eprintln!(
        "cluster {name} is up: profile {}, a control plane and {} workers",
        cluster.profile, cluster.workers
    );
    eprintln!("run scenarios on it:  trunkline run --site kind --name {name}");
    eprintln!("remove it:            trunkline down kind --name {name}");
    Ok(Exit::Ok)
}

pub async fn down(args: &KindDown) -> Result<Exit, Failure> {
    let name = &args.name;
    if kind::down(name).await.map_err(kind_failure)? {
        eprintln!("cluster {name} is down");
        return Ok(Exit::Ok);
    }
    let message = anyhow::anyhow!("no kind cluster {name:?} is up");
    Err(Failure::new(Exit::Usage, message))
}

pub async fn status(args: &KindStatus) -> Result<Exit, Failure> {
    let status = kind::status(&args.name).await.map_err(kind_failure)?;
    if args.json {
        out::line(serde_json::to_string_pretty(&status).or_exit(Exit::Broken)?)?;
    } else {
        out::line(render(&args.name, &status))?;
    }
    Ok(if status.is_complete() {
        Exit::Ok
    } else {
        Exit::Broken
    })
}

fn render(name: &str, status: &Status) -> String {
    let Status::Made {
        profile,
        nodes,
        unreachable,
        components,
        ..
    } = status
    else {
        return match status {
            Status::Absent => {
                format!("no cluster {name}; make it: trunkline up kind --name {name}")
            }
            Status::Foreign { by } => format!("{name} is a kind cluster that {by}"),
            other => other.unfinished().unwrap_or_default(),
        };
    };
    let mut text = format!("cluster {name}, profile {profile}\n");
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    for node in nodes {
        let state = if node.running { "running" } else { "stopped" };
        table.add_row(["node", node.name.as_str(), "", state]);
    }
    for component in components {
        let state = match &component.state {
            ComponentState::Ready => "ready".to_owned(),
            ComponentState::NotReady(why) => format!("not ready: {why}"),
            ComponentState::Outdated => "another version is wanted; `up kind` renews it".to_owned(),
            ComponentState::Missing => "missing; `up kind` installs it".to_owned(),
            ComponentState::NotChosen => "not chosen".to_owned(),
        };
        table.add_row([
            "component",
            component.name.as_str(),
            component.version.as_str(),
            state.as_str(),
        ]);
    }
    text.push_str(&table.to_string());
    // Writing to a String cannot fail.
    if let Some(why) = unreachable {
        let _ = write!(text, "\nits API does not answer: {why}");
    }
    if let Some(unfinished) = status.unfinished() {
        let _ = write!(text, "\n{unfinished}");
    }
    text
}
