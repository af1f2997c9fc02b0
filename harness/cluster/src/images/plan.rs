//! Which image goes where.

use std::collections::{BTreeMap, BTreeSet};

use trunkline_userland::archive::{ArchiveError, Archives};

use super::{Names, whole};
use crate::{
    component::{ImageUse, Nodes},
    docker::{NodeContainer, NodeRole},
};

/// An image and the nodes whose pods run it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wanted {
    pub reference: String,
    /// Names of containers.
    pub nodes: BTreeSet<String>,
}

/// An image and the nodes that still lack it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Load {
    pub reference: String,
    pub nodes: BTreeSet<String>,
}

/// Where these images are needed.
pub fn wanted<'a>(
    images: impl IntoIterator<Item = &'a ImageUse>,
    nodes: &[NodeContainer],
) -> Vec<Wanted> {
    images
        .into_iter()
        .map(|image| Wanted {
            reference: image.reference.clone(),
            nodes: on(image.on, nodes),
        })
        .collect()
}

/// The names of these nodes. A cluster without workers has its control plane do their work.
pub(crate) fn on(which: Nodes, nodes: &[NodeContainer]) -> BTreeSet<String> {
    let of = |role| {
        nodes
            .iter()
            .filter(move |node| node.role == role)
            .map(|node| node.name.clone())
    };
    let control_plane = of(NodeRole::ControlPlane);
    let workers: BTreeSet<String> = of(NodeRole::Worker).collect();
    match which {
        Nodes::All => control_plane.chain(workers).collect(),
        Nodes::Workers if !workers.is_empty() => workers,
        Nodes::ControlPlane | Nodes::Workers => control_plane.collect(),
    }
}

/// What must be loaded: wanted, and not there, or there with another digest than the archive has. Everything missing is
/// looked up before anything is loaded.
pub fn loads(
    wanted: &[Wanted],
    present: &BTreeMap<String, Names>,
    archives: &Archives,
) -> Result<Vec<Load>, ArchiveError> {
    let mut loads = Vec::new();
    for image in wanted {
        let name = whole(&image.reference);
        let ours = archives.find(&image.reference);
        let is_there = |node: &String| {
            let there = present.get(node).and_then(|images| images.get(&name));
            match (there, ours) {
                (Some(there), Some(ours)) => there == ours.digest(),
                // Somebody brought it, and the directory has no other.
                (Some(_), None) => true,
                (None, _) => false,
            }
        };
        let nodes: BTreeSet<String> = image
            .nodes
            .iter()
            .filter(|node| !is_there(node))
            .cloned()
            .collect();
        if !nodes.is_empty() {
            archives.require(&image.reference)?;
            loads.push(Load {
                reference: image.reference.clone(),
                nodes,
            });
        }
    }
    Ok(loads)
}

#[cfg(test)]
mod tests {
    use super::*;

    const AGNHOST: &str = "registry.k8s.io/e2e-test-images/agnhost:2.53";

    fn node(name: &str, role: NodeRole) -> NodeContainer {
        NodeContainer {
            name: name.into(),
            id: name.into(),
            role,
            running: true,
            image: String::new(),
            owner: None,
        }
    }

    fn three() -> Vec<NodeContainer> {
        vec![
            node("cp", NodeRole::ControlPlane),
            node("w1", NodeRole::Worker),
            node("w2", NodeRole::Worker),
        ]
    }

    fn names<'a>(names: impl IntoIterator<Item = &'a str>) -> BTreeSet<String> {
        names.into_iter().map(str::to_owned).collect()
    }

    /// A directory with a docker archive of one image.
    fn archives(directory: &std::path::Path) -> Archives {
        let config = br#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]},"config":{}}"#;
        let manifest = format!(r#"[{{"Config":"c.json","RepoTags":["{AGNHOST}"],"Layers":[]}}]"#);
        let mut tar =
            tar::Builder::new(std::fs::File::create(directory.join("agnhost.tar")).unwrap());
        for (name, content) in [
            ("c.json", &config[..]),
            ("manifest.json", manifest.as_bytes()),
        ] {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            tar.append_data(&mut header, name, content).unwrap();
        }
        tar.finish().unwrap();
        trunkline_userland::archive::read_dir(directory).unwrap()
    }

    #[test]
    fn only_nodes_that_lack_it_get_it() {
        let directory = tempfile::tempdir().unwrap();
        let archives = archives(directory.path());
        let digest = archives.find(AGNHOST).unwrap().digest().to_owned();
        let wanted = wanted(
            &[ImageUse {
                reference: AGNHOST.into(),
                on: Nodes::All,
            }],
            &three(),
        );
        let has = |digest: &str| Names::from([(AGNHOST.to_owned(), digest.to_owned())]);
        let present = BTreeMap::from([
            ("cp".to_owned(), has(&digest)),
            ("w1".to_owned(), has("sha256:old")),
        ]);
        let loads = loads(&wanted, &present, &archives).unwrap();
        assert_eq!(loads[0].nodes, names(["w1", "w2"]));
        let all = three()
            .iter()
            .map(|node| (node.name.clone(), has(&digest)))
            .collect();
        assert_eq!(super::loads(&wanted, &all, &archives).unwrap(), []);
    }

    #[test]
    fn what_the_directory_lacks_is_named_with_what_it_has() {
        let directory = tempfile::tempdir().unwrap();
        let archives = archives(directory.path());
        let wanted = wanted(
            &[ImageUse {
                reference: "quay.io/a:1".into(),
                on: Nodes::Workers,
            }],
            &three(),
        );
        let refusal = loads(&wanted, &BTreeMap::new(), &archives)
            .unwrap_err()
            .to_string();
        assert!(
            refusal.contains("quay.io/a:1") && refusal.contains(AGNHOST),
            "{refusal}"
        );
        // A node that has it needs no archive.
        let there = Names::from([("quay.io/a:1".to_owned(), "sha256:aa".to_owned())]);
        let present = BTreeMap::from([("w1".to_owned(), there.clone()), ("w2".to_owned(), there)]);
        assert_eq!(loads(&wanted, &present, &archives).unwrap(), []);
    }

    #[test]
    fn a_control_plane_alone_does_the_work_of_workers() {
        assert_eq!(on(Nodes::Workers, &three()), names(["w1", "w2"]));
        assert_eq!(on(Nodes::Workers, &three()[..1]), names(["cp"]));
        assert_eq!(on(Nodes::ControlPlane, &three()), names(["cp"]));
    }
}
