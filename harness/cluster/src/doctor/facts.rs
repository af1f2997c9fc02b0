//! What there is to know about a machine that shall run kind clusters.

use trunkline_machine::{KernelModule, Modules, User, memory_available, program};

use super::{
    engine::Engine,
    reach::{self, Endpoint},
};
use crate::docker::HostFacts;

/// Facts about the machine, the user and the container engine, as far as they can be had.
#[derive(Debug, Clone)]
pub struct Facts {
    pub user: User,
    pub engine: Engine,
    /// What `up` looks at too.
    pub host: HostFacts,
    pub kind: Tool,
    pub helm: Tool,
    /// Bytes.
    pub memory_available: Option<u64>,
    pub modules: ModuleStates,
    pub endpoints: Vec<Endpoint>,
}

/// A program that is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tool {
    Missing,
    /// Its version as it says it; empty when it does not.
    Installed(String),
}

/// Parts of the kernel that secondary networks use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModuleStates {
    pub vlan: KernelModule,
    pub openvswitch: KernelModule,
    pub geneve: KernelModule,
    pub vrf: KernelModule,
}

impl Facts {
    /// Looks at everything; what cannot be read is left out.
    pub async fn gather() -> Self {
        let (engine, endpoints, kind, helm) = tokio::join!(
            Engine::ask(),
            reach::endpoints(),
            tool("kind", &["version", "--quiet"]),
            tool("helm", &["version", "--short"]),
        );
        let modules = Modules::read();
        Self {
            user: User::current(),
            host: HostFacts::with(match &engine {
                Engine::Answers { says, .. } => Ok(says.clone()),
                _ => Err("no container engine answers".to_owned()),
            }),
            engine,
            kind,
            helm,
            memory_available: memory_available(),
            modules: ModuleStates {
                vlan: modules.find("8021q"),
                openvswitch: modules.find("openvswitch"),
                geneve: modules.find("geneve"),
                vrf: modules.find("vrf"),
            },
            endpoints,
        }
    }
}

async fn tool(name: &str, version: &[&str]) -> Tool {
    let Some(path) = program(name) else {
        return Tool::Missing;
    };
    let said = tokio::process::Command::new(path)
        .args(version)
        .output()
        .await
        .map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    Tool::Installed(said.unwrap_or_default())
}
