//! `trunkline matrix`: what to run on which profile, for a CI matrix.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use camino::Utf8Path;
use serde::Serialize;
use trunkline_cluster::{
    component::{self, Profile},
    kind::DEFAULT_WORKERS,
};
use trunkline_engine::{Capabilities, missing};
use trunkline_scenario::Scenario;

use crate::{
    cli::{MOST_WORKERS, Matrix as Args},
    commands::kind::needs_of,
    exit::{Exit, Failure, OrExit},
    out, suite,
};

pub fn run(args: &Args) -> Result<Exit, Failure> {
    let loaded = suite::load(&args.selection);
    suite::sound(&loaded)?;
    let matrix = Matrix::of(&suite::select(&loaded, &args.selection))?;
    for skipped in &matrix.skipped {
        eprintln!("skipped: {}: {}", skipped.case, skipped.reason);
    }
    out::line(serde_json::to_string(&matrix).or_exit(Exit::Broken)?)?;
    Ok(if matrix.include.is_empty() {
        Exit::NothingRan
    } else {
        Exit::Ok
    })
}

/// As GitHub takes it: one job for each entry. A further key would be a dimension of the matrix, so what is skipped is
/// told elsewhere.
#[derive(Debug, Serialize)]
struct Matrix {
    include: Vec<Job>,
    #[serde(skip)]
    skipped: Vec<Skipped>,
}

/// Scenarios of one group on one cluster.
#[derive(Debug, Serialize)]
struct Job {
    profile: &'static str,
    /// The directory that the scenarios lie in.
    group: String,
    /// Of the scenario files, separated by spaces.
    paths: String,
    /// How many of their cases this profile can run.
    cases: usize,
    /// Nodes beside the control plane.
    workers: u8,
    /// Machines want /dev/kvm.
    kvm: bool,
    /// What the cluster takes of the runner's disk.
    disk_mib: u64,
    node_image: String,
    /// What pods run, those of the components and those of the scenarios, separated by spaces: what a directory for
    /// `--images` must hold.
    images: String,
    /// The components' files, as `name=url`, separated by spaces: what it must hold as well.
    sources: String,
}

#[derive(Debug)]
struct Skipped {
    case: String,
    reason: String,
}

impl Matrix {
    fn of(scenarios: &[Arc<Scenario>]) -> Result<Self, Failure> {
        let mut jobs: BTreeMap<(Profile, String), Vec<&Scenario>> = BTreeMap::new();
        let mut skipped = Vec::new();
        for scenario in scenarios {
            match home(scenario) {
                Ok(profile) => jobs
                    .entry((profile, group(scenario)))
                    .or_default()
                    .push(scenario),
                Err(reason) => skipped.push(Skipped {
                    case: scenario.full_name(),
                    reason,
                }),
            }
        }
        let include = jobs
            .into_iter()
            .map(|((profile, group), scenarios)| job(profile, group, &scenarios))
            .collect::<Result<_, _>>()?;
        Ok(Self { include, skipped })
    }
}

/// The smallest profile that has everything the scenario requires, or what every one of them lacks.
fn home(scenario: &Scenario) -> Result<Profile, String> {
    let mut lacking = Vec::new();
    for profile in Profile::ALL {
        // `up kind` makes as many workers as it is asked for.
        let provided = Capabilities {
            workers: MOST_WORKERS.into(),
            ..component::provides(*profile)
        };
        let site = format!("kind with profile {profile}");
        match missing(&scenario.spec.requires, &site, &provided) {
            None => return Ok(*profile),
            Some(reason) => lacking.push(reason),
        }
    }
    Err(lacking.join("; "))
}

/// The name of the directory that the scenario's file lies in.
fn group(scenario: &Scenario) -> String {
    scenario
        .source
        .path()
        .parent()
        .and_then(Utf8Path::file_name)
        .unwrap_or("scenarios")
        .to_owned()
}

fn job(profile: Profile, group: String, scenarios: &[&Scenario]) -> Result<Job, Failure> {
    let needs = needs_of(scenarios.iter().copied());
    let workers = needs.workers.max(DEFAULT_WORKERS.into());
    let workers = u8::try_from(workers).unwrap_or(MOST_WORKERS);
    let plan = component::plan(profile, &needs, workers, None).or_exit(Exit::Broken)?;
    let of_components = plan
        .components
        .iter()
        .flat_map(|component| &component.images);
    let images: BTreeSet<&str> = of_components
        .map(|image| image.reference.as_str())
        .chain(plan.images.iter().map(String::as_str))
        .collect();
    let sources = plan
        .components
        .iter()
        .flat_map(|component| &component.sources);
    let paths = scenarios.iter().map(|one| one.source.path().as_str());
    Ok(Job {
        profile: profile.as_str(),
        group,
        paths: words(paths.collect::<BTreeSet<_>>()),
        cases: scenarios.len(),
        workers,
        kvm: needs.features.contains(&component::Feature::Vms),
        disk_mib: plan.disk_mib(),
        node_image: plan.nodes.image.clone(),
        images: words(images),
        sources: words(sources.map(|source| format!("{}={}", source.name, source.url))),
    })
}

fn words(all: impl IntoIterator<Item: AsRef<str>>) -> String {
    let all: Vec<_> = all.into_iter().collect();
    let all: Vec<&str> = all.iter().map(AsRef::as_ref).collect();
    all.join(" ")
}
