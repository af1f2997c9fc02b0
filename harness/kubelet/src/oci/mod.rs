//! From a pod's container to a runc configuration: pure functions, no file of the machine is touched but the
//! image's `/etc/passwd` and `/etc/group`.

mod capabilities;
mod command;
mod devices;
mod env;
mod mounts;
mod seccomp;
mod spec;
mod user;

use std::path::Path;

use k8s_openapi::api::core::v1::{Container, Pod};
use trunkline_userland::Image;

pub(crate) use capabilities::{Capabilities, available};
pub(crate) use command::{command, termination_message_path, working_dir};
pub(crate) use env::{
    EnvSources, Facts, container_env, expand_strict, field_value, resource_value,
};
pub(crate) use mounts::{Propagation, TTY_GROUP, VolumeMount, file_mount};
pub(crate) use spec::{Linux, Mount, Namespace, ProcessSpec, Root, Spec};
pub(crate) use user::Databases;

use crate::refs::long_name;

/// Why a container cannot be configured: the message of `CreateContainerConfigError`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct ConfigError(pub String);

/// Namespaces that a pod's containers share.
#[derive(Debug, Clone)]
pub(crate) struct SharedNamespaces {
    pub network: std::path::PathBuf,
    pub ipc: std::path::PathBuf,
    pub uts: std::path::PathBuf,
}

/// What goes into a configuration besides the pod's own words.
#[derive(Debug)]
pub(crate) struct Inputs<'a> {
    pub pod: &'a Pod,
    pub container: &'a Container,
    pub image: &'a Image,
    pub env: Vec<(String, String)>,
    pub hostname: &'a str,
    pub namespaces: &'a SharedNamespaces,
    /// Volumes, hosts file and so on, in the order they are to be mounted.
    pub mounts: Vec<Mount>,
    pub databases: &'a Databases,
    /// The bundle's root file system.
    pub rootfs: &'a Path,
    /// Capabilities that this process can give away.
    pub available: &'a Capabilities,
    /// The group of terminals, if it exists in our user namespace.
    pub tty_group: bool,
}

/// The configuration of one container.
pub(crate) fn configure(inputs: Inputs<'_>) -> Result<Spec, ConfigError> {
    let Inputs {
        pod,
        container,
        image,
        env,
        hostname,
        namespaces,
        mut mounts,
        databases,
        rootfs,
        available,
        tty_group,
    } = inputs;
    let security = container.security_context.clone().unwrap_or_default();
    let privileged = security.privileged.unwrap_or(false);
    let user = user::resolve(pod, container, image, databases)?;
    let capabilities = capabilities::wanted(security.capabilities.as_ref(), privileged, available);
    let mut env = env;
    let tty = container.tty.unwrap_or(false);
    command::add_defaults(&mut env, image, &user.home, hostname, tty);
    let vars = env.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    let process = ProcessSpec {
        terminal: tty,
        user: user.ids,
        args: command(container, image, &vars)?,
        cwd: working_dir(container, image),
        env: env.into_iter().map(|(k, v)| format!("{k}={v}")).collect(),
        capabilities: capabilities.into(),
        no_new_privileges: security.allow_privilege_escalation == Some(false),
    };
    let mut all = mounts::base(privileged, tty_group);
    all.append(&mut mounts);
    let mut private = vec![
        Namespace::new("mount"),
        Namespace::new("cgroup"),
        Namespace::joined("network", &namespaces.network),
        Namespace::joined("ipc", &namespaces.ipc),
        Namespace::joined("uts", &namespaces.uts),
    ];
    if pod.spec.as_ref().and_then(|s| s.host_pid) != Some(true) {
        private.push(Namespace::new("pid"));
    }
    let mut linux = Linux::new(private);
    if privileged {
        all.append(&mut devices::privileged());
    } else {
        linux.masked_paths = mounts::MASKED.map(str::to_owned).to_vec();
        linux.readonly_paths = mounts::READ_ONLY.map(str::to_owned).to_vec();
    }
    linux.seccomp = seccomp::profile(pod, container, privileged)?;
    Ok(Spec::new(
        process,
        Root {
            path: rootfs.to_owned(),
            readonly: security.read_only_root_filesystem.unwrap_or(false),
        },
        all,
        linux,
    ))
}

/// `(pod: "name_namespace(uid)", container: c)`, the end of several refusals.
fn whose(pod: &Pod, container: &Container) -> String {
    format!("(pod: {:?}, container: {})", long_name(pod), container.name)
}

#[cfg(test)]
mod tests;
