//! What a cluster that is there already has and lacks, and what we may do on it.

use std::sync::Arc;

use trunkline_engine::rights::sentences;
use trunkline_scenario::model::Scenario;

use super::{Check, CheckId, Status};
use crate::{
    capabilities::{Component, Discovered},
    context::{self, ConnectOptions, ContextError},
    site::ClusterSite,
};

/// What asking the cluster brought.
#[derive(Debug)]
pub struct ContextFacts {
    /// How kubectl is told which cluster is meant: `kubectl --context staging`.
    pub kubectl: String,
    pub answer: Result<ContextAnswer, ContextError>,
}

/// A cluster that answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContextAnswer {
    pub server: String,
    pub discovered: Discovered,
    /// Who we are there, where it says so.
    pub user: Option<String>,
    pub rights: Result<RightsFound, String>,
}

/// The rights that the chosen scenarios need and we lack, in sentences.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RightsFound {
    pub scenarios: usize,
    /// Without these a scenario cannot run.
    pub missing: Vec<String>,
    /// Without these reports have less to tell.
    pub missed: Vec<String>,
}

/// Asks the cluster, and for the rights of each scenario. Nothing is changed there.
pub async fn examine_context(options: ConnectOptions, scenarios: &[Arc<Scenario>]) -> Vec<Check> {
    judge(&gather(options, scenarios).await)
}

async fn gather(options: ConnectOptions, scenarios: &[Arc<Scenario>]) -> ContextFacts {
    let kubectl = kubectl(&options);
    let answer = match ClusterSite::connect(options).await {
        Ok(site) => Ok(ContextAnswer {
            server: site.id().server.clone(),
            discovered: site.discovered().clone(),
            user: context::whoami(&trunkline_engine::Site::client(&site)).await,
            rights: rights(&site, scenarios).await,
        }),
        Err(error) => Err(error),
    };
    ContextFacts { kubectl, answer }
}

async fn rights(site: &ClusterSite, scenarios: &[Arc<Scenario>]) -> Result<RightsFound, String> {
    let (mut missing, mut missed) = (Vec::new(), Vec::new());
    for scenario in scenarios {
        let review = site
            .review(scenario)
            .await
            .map_err(|error| error.to_string())?;
        missing.extend(review.missing);
        missed.extend(review.missed);
    }
    Ok(RightsFound {
        scenarios: scenarios.len(),
        missing: sentences(&missing),
        missed: sentences(&missed),
    })
}

fn kubectl(options: &ConnectOptions) -> String {
    let file = options.kubeconfig.as_ref();
    let words = [
        Some("kubectl".to_owned()),
        file.map(|file| format!("--kubeconfig {}", file.display())),
        options
            .context
            .as_ref()
            .map(|context| format!("--context {context}")),
    ];
    let words: Vec<String> = words.into_iter().flatten().collect();
    words.join(" ")
}

/// The checks, in the order in which they are shown.
pub fn judge(facts: &ContextFacts) -> Vec<Check> {
    let answer = match &facts.answer {
        Ok(answer) => answer,
        Err(error) => return vec![unreachable(&facts.kubectl, error)],
    };
    let discovered = &answer.discovered;
    vec![
        Check::ok(
            CheckId::Server,
            "API server",
            format!("{} at {}", discovered.version.text, answer.server),
        ),
        nodes(&facts.kubectl, discovered),
        network(discovered),
        features(&facts.kubectl, discovered),
        rights_of(answer),
    ]
}

fn unreachable(kubectl: &str, error: &ContextError) -> Check {
    use ContextError as E;
    let fix = match error {
        E::NoKubeconfig | E::Unreadable { .. } | E::NotAKubeconfig { .. } => {
            "export KUBECONFIG=FILE".to_owned()
        }
        E::NoCurrentContext { .. } | E::NoSuchContext { .. } => {
            format!("{kubectl} config get-contexts")
        }
        E::Unauthorized { .. } => format!("{kubectl} auth whoami"),
        E::Unusable { .. } | E::Unreachable { .. } | E::NotKubernetes { .. } | E::Api { .. } => {
            format!("{kubectl} cluster-info")
        }
    };
    Check::ok(CheckId::Server, "API server", error.to_string()).bad(
        Status::Failed,
        "nothing can be run there",
        fix,
    )
}

fn nodes(kubectl: &str, discovered: &Discovered) -> Check {
    let (id, title) = (CheckId::Nodes, "nodes");
    let workers = discovered.capabilities.workers;
    if discovered.is_hidden("nodes") {
        return Check::info(
            id,
            title,
            "we may not list them; scenarios that require workers do not run",
        );
    }
    let check = Check::ok(id, title, format!("{workers} take ordinary pods"));
    if workers > 0 {
        return check;
    }
    check.bad(
        Status::Failed,
        "no pod is ever placed",
        format!("{kubectl} describe nodes"),
    )
}

fn network(discovered: &Discovered) -> Check {
    let (id, title) = (CheckId::Network, "network plugin");
    match &discovered.capabilities.sdn {
        Some(sdn) => Check::ok(id, title, sdn.clone()),
        None => Check::info(
            id,
            title,
            "none that we know: scenarios that require one are skipped, and blocked probes come without evidence",
        ),
    }
}

fn features(kubectl: &str, discovered: &Discovered) -> Check {
    let (id, title) = (CheckId::Features, "installed");
    let described: Vec<String> = discovered
        .components
        .iter()
        .map(|found| match &found.version {
            Some(version) => format!("{} {version}", found.component),
            None => found.component.to_string(),
        })
        .collect();
    let troubles: Vec<String> = discovered
        .components
        .iter()
        .filter_map(|found| Some(format!("{}: {}", found.component, found.trouble.as_ref()?)))
        .collect();
    if !troubles.is_empty() {
        return Check::ok(id, title, format!("half there: {}", troubles.join("; "))).bad(
            Status::Warning,
            "scenarios that build on it are not run",
            format!("{kubectl} get pods --all-namespaces"),
        );
    }
    let absent: Vec<&str> = Component::ALL
        .iter()
        .filter(|component| discovered.found(**component).is_none())
        .map(|component| component.name())
        .collect();
    let present = if described.is_empty() {
        "nothing that scenarios can require".to_owned()
    } else {
        described.join(", ")
    };
    let found = match absent.as_slice() {
        [] => present,
        absent => format!("{present}; not there: {}", absent.join(", ")),
    };
    Check::info(id, title, found)
}

fn rights_of(answer: &ContextAnswer) -> Check {
    let (id, title) = (CheckId::Rights, "rights");
    let who = answer.user.as_deref().unwrap_or("this identity");
    let grant = "ask the cluster's administrator for a Role with exactly these verbs";
    match &answer.rights {
        Err(why) => Check::ok(id, title, why.clone()).bad(
            Status::Warning,
            "a run may be refused half way",
            None,
        ),
        Ok(RightsFound { scenarios: 0, .. }) => Check::info(
            id,
            title,
            format!("{who}; name scenarios with --for to see whether they may run"),
        ),
        Ok(found) if !found.missing.is_empty() => Check::ok(
            id,
            title,
            format!("{who} cannot {}", found.missing.join("; ")),
        )
        .bad(
            Status::Failed,
            "scenarios that need them do not run",
            grant.to_owned(),
        ),
        Ok(found) if !found.missed.is_empty() => Check::ok(
            id,
            title,
            format!("{who} cannot {}", found.missed.join("; ")),
        )
        .bad(
            Status::Warning,
            "failures come with fewer explanations",
            grant.to_owned(),
        ),
        Ok(found) => Check::ok(
            id,
            title,
            format!("{who} may do all that {} cases need", found.scenarios),
        ),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use rstest::rstest;
    use trunkline_engine::Capabilities;

    use super::*;
    use crate::capabilities::{Found, Hidden, ServerVersion};

    fn good() -> ContextAnswer {
        ContextAnswer {
            server: "https://cluster.example:6443".to_owned(),
            discovered: Discovered {
                capabilities: Capabilities {
                    sdn: Some("ovn-kubernetes".to_owned()),
                    workers: 2,
                    ..Capabilities::default()
                },
                version: ServerVersion {
                    text: "v1.34.4".to_owned(),
                    major: 1,
                    minor: 34,
                },
                components: vec![Found {
                    component: Component::Multus,
                    version: Some("v4.2.3".to_owned()),
                    trouble: None,
                }],
                hidden: Vec::new(),
            },
            user: Some("system:serviceaccount:ci:runner".to_owned()),
            rights: Ok(RightsFound {
                scenarios: 2,
                ..RightsFound::default()
            }),
        }
    }

    fn checks(answer: ContextAnswer) -> Vec<Check> {
        judge(&ContextFacts {
            kubectl: "kubectl --context staging".to_owned(),
            answer: Ok(answer),
        })
    }

    fn find(checks: &[Check], id: CheckId) -> &Check {
        checks.iter().find(|check| check.id == id).unwrap()
    }

    #[test]
    fn a_good_cluster_says_what_it_has() {
        let checks = checks(good());
        assert!(
            checks
                .iter()
                .all(|check| matches!(check.status, Status::Ok | Status::Info)),
            "{checks:#?}"
        );
        let found = |id| find(&checks, id).found.as_str();
        assert_eq!(
            found(CheckId::Server),
            "v1.34.4 at https://cluster.example:6443"
        );
        assert_eq!(found(CheckId::Network), "ovn-kubernetes");
        assert!(found(CheckId::Features).starts_with("Multus v4.2.3; not there: "));
        assert_eq!(
            found(CheckId::Rights),
            "system:serviceaccount:ci:runner may do all that 2 cases need"
        );
    }

    #[rstest]
    #[case::no_workers(
        |answer: &mut ContextAnswer| answer.discovered.capabilities.workers = 0,
        CheckId::Nodes, Status::Failed, "0 take ordinary pods"
    )]
    #[case::hidden_nodes(
        |answer: &mut ContextAnswer| answer.discovered.hidden.push(Hidden {
            group: "", resource: "nodes", why: "forbidden".to_owned(),
        }),
        CheckId::Nodes, Status::Info, "we may not list them"
    )]
    #[case::unknown_network(
        |answer: &mut ContextAnswer| answer.discovered.capabilities.sdn = None,
        CheckId::Network, Status::Info, "none that we know"
    )]
    #[case::half_installed(
        |answer: &mut ContextAnswer| answer.discovered.components[0].trouble = Some("no DaemonSet".to_owned()),
        CheckId::Features, Status::Warning, "half there: Multus: no DaemonSet"
    )]
    #[case::a_missing_right(
        |answer: &mut ContextAnswer| answer.rights = Ok(RightsFound {
            scenarios: 1, missing: vec!["create namespaces".to_owned()], missed: Vec::new(),
        }),
        CheckId::Rights, Status::Failed, "system:serviceaccount:ci:runner cannot create namespaces"
    )]
    #[case::a_helpful_right(
        |answer: &mut ContextAnswer| answer.rights = Ok(RightsFound {
            scenarios: 1, missing: Vec::new(), missed: vec!["list events in namespace blue".to_owned()],
        }),
        CheckId::Rights, Status::Warning, "cannot list events in namespace blue"
    )]
    #[case::no_review(
        |answer: &mut ContextAnswer| answer.rights = Err("the API does not answer".to_owned()),
        CheckId::Rights, Status::Warning, "the API does not answer"
    )]
    fn what_is_wrong_is_named(
        #[case] spoil: fn(&mut ContextAnswer),
        #[case] id: CheckId,
        #[case] status: Status,
        #[case] found: &str,
    ) {
        let mut answer = good();
        spoil(&mut answer);
        let checks = checks(answer);
        let check = find(&checks, id);
        assert_eq!(check.status, status, "{check:?}");
        assert!(check.found.contains(found), "{check:?}");
        if matches!(status, Status::Failed | Status::Warning) {
            assert!(!check.breaks.is_empty(), "{check:?}");
        }
    }

    #[test]
    fn without_an_answer_there_is_one_finding_with_a_command() {
        let facts = ContextFacts {
            kubectl: "kubectl --context staging".to_owned(),
            answer: Err(ContextError::Unreachable {
                context: "staging".to_owned(),
                server: "https://127.0.0.1:1".to_owned(),
                why: "connection refused".to_owned(),
            }),
        };
        let checks = judge(&facts);
        assert_eq!(checks.len(), 1);
        assert_eq!(checks[0].status, Status::Failed);
        assert_eq!(
            checks[0].fix.as_deref(),
            Some("kubectl --context staging cluster-info")
        );
    }
}
