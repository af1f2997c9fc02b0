//! Which of the API's endpoints a request means.

use http::Method;
use kubeapi::AggregatedRequest;

/// What is asked of a machine's instance over a connection of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    Console,
    Vnc,
    UsbRedirection,
    Vsock,
}

/// What is done to a running instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    Pause,
    Unpause,
    Freeze,
    Unfreeze,
    Reset,
    SoftReboot,
    Backup,
}

/// What is read from a running instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Report {
    GuestOsInfo,
    Users,
    Filesystems,
}

/// What is done to a VirtualMachine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Switch {
    Start,
    Stop,
    Restart,
    Migrate,
}

/// Which of the two kinds is named in the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    Machine,
    Instance,
}

/// What belongs to a feature gate that is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    Volumes,
    ObjectGraph,
    Encryption,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    Stream(Stream),
    Screenshot,
    PortForward {
        owner: Owner,
        port: String,
        protocol: Option<String>,
    },
    Act(Act),
    Report(Report),
    Switch(Switch),
    RedefineCheckpoint,
    CancelEvacuation(Owner),
    Expand,
    ExpandBody,
    Closed(Gate),
    Profiler(&'static str),
    Version,
    Health,
    GuestFs,
}

/// Nothing is there, or not for this method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    Path,
    Method,
}

/// The endpoint of a request.
pub fn endpoint(request: &AggregatedRequest) -> Result<Endpoint, Missing> {
    let (expected, endpoint) = find(request).ok_or(Missing::Path)?;
    if request.method == expected {
        Ok(endpoint)
    } else {
        Err(Missing::Method)
    }
}

fn find(request: &AggregatedRequest) -> Option<(Method, Endpoint)> {
    let (name, subresource) = (request.name.as_deref(), request.subresource.as_deref());
    let namespaced = request.namespace.is_some();
    let get = |endpoint| Some((Method::GET, endpoint));
    match (request.resource.as_str(), name, subresource) {
        ("version", None, None) if !namespaced => get(Endpoint::Version),
        ("healthz", None, None) if !namespaced => get(Endpoint::Health),
        ("guestfs", None, None) if !namespaced => get(Endpoint::GuestFs),
        ("start-cluster-profiler", None, None) if !namespaced => get(Endpoint::Profiler(
            "Unable to start profiler. \"ClusterProfiler\" feature gate must be enabled",
        )),
        ("stop-cluster-profiler", None, None) if !namespaced => get(Endpoint::Profiler(
            "Unable to stop profiler. \"ClusterProfiler\" feature gate must be enabled",
        )),
        ("dump-cluster-profiler", None, None) if !namespaced => get(Endpoint::Profiler(
            "Unable to dump profiler results. \"ClusterProfiler\" feature gate must be enabled",
        )),
        ("expand-vm-spec", None, None) if namespaced => Some((Method::PUT, Endpoint::ExpandBody)),
        ("virtualmachines", Some(_), Some(subresource)) if namespaced => {
            let rest: Vec<&str> = request.rest.iter().map(String::as_str).collect();
            of_machine(subresource, &rest)
        }
        ("virtualmachineinstances", Some(_), Some(subresource)) if namespaced => {
            let rest: Vec<&str> = request.rest.iter().map(String::as_str).collect();
            of_instance(subresource, &rest)
        }
        _ => None,
    }
}

fn port_forward(owner: Owner, rest: &[&str]) -> Option<(Method, Endpoint)> {
    let (port, protocol) = match rest {
        [port] => (port, None),
        [port, protocol] => (port, Some((*protocol).to_owned())),
        _ => return None,
    };
    let port = (*port).to_owned();
    let endpoint = Endpoint::PortForward {
        owner,
        port,
        protocol,
    };
    Some((Method::GET, endpoint))
}

fn of_machine(subresource: &str, rest: &[&str]) -> Option<(Method, Endpoint)> {
    let endpoint = match (subresource, rest) {
        ("portforward", rest) => return port_forward(Owner::Machine, rest),
        ("expand-spec", []) => return Some((Method::GET, Endpoint::Expand)),
        ("objectgraph", []) => return Some((Method::GET, Endpoint::Closed(Gate::ObjectGraph))),
        ("start", []) => Endpoint::Switch(Switch::Start),
        ("stop", []) => Endpoint::Switch(Switch::Stop),
        ("restart", []) => Endpoint::Switch(Switch::Restart),
        ("migrate", []) => Endpoint::Switch(Switch::Migrate),
        ("evacuate", ["cancel"]) => Endpoint::CancelEvacuation(Owner::Machine),
        ("addvolume" | "removevolume" | "memorydump" | "removememorydump", []) => {
            Endpoint::Closed(Gate::Volumes)
        }
        _ => return None,
    };
    Some((Method::PUT, endpoint))
}

fn of_instance(subresource: &str, rest: &[&str]) -> Option<(Method, Endpoint)> {
    let (method, endpoint) = match (subresource, rest) {
        ("portforward", rest) => return port_forward(Owner::Instance, rest),
        ("console", []) => (Method::GET, Endpoint::Stream(Stream::Console)),
        ("vnc", []) => (Method::GET, Endpoint::Stream(Stream::Vnc)),
        ("usbredir", []) => (Method::GET, Endpoint::Stream(Stream::UsbRedirection)),
        ("vsock", []) => (Method::GET, Endpoint::Stream(Stream::Vsock)),
        ("vnc", ["screenshot"]) => (Method::GET, Endpoint::Screenshot),
        ("guestosinfo", []) => (Method::GET, Endpoint::Report(Report::GuestOsInfo)),
        ("userlist", []) => (Method::GET, Endpoint::Report(Report::Users)),
        ("filesystemlist", []) => (Method::GET, Endpoint::Report(Report::Filesystems)),
        ("objectgraph", []) => (Method::GET, Endpoint::Closed(Gate::ObjectGraph)),
        ("sev", ["fetchcertchain" | "querylaunchmeasurement"]) => {
            (Method::GET, Endpoint::Closed(Gate::Encryption))
        }
        ("sev", ["setupsession" | "injectlaunchsecret"]) => {
            (Method::PUT, Endpoint::Closed(Gate::Encryption))
        }
        ("pause", []) => (Method::PUT, Endpoint::Act(Act::Pause)),
        ("unpause", []) => (Method::PUT, Endpoint::Act(Act::Unpause)),
        ("freeze", []) => (Method::PUT, Endpoint::Act(Act::Freeze)),
        ("unfreeze", []) => (Method::PUT, Endpoint::Act(Act::Unfreeze)),
        ("reset", []) => (Method::PUT, Endpoint::Act(Act::Reset)),
        ("softreboot", []) => (Method::PUT, Endpoint::Act(Act::SoftReboot)),
        ("backup", []) => (Method::PUT, Endpoint::Act(Act::Backup)),
        ("redefine-checkpoint", []) => (Method::PUT, Endpoint::RedefineCheckpoint),
        ("evacuate", ["cancel"]) => (Method::PUT, Endpoint::CancelEvacuation(Owner::Instance)),
        ("addvolume" | "removevolume", []) => (Method::PUT, Endpoint::Closed(Gate::Volumes)),
        _ => return None,
    };
    Some((method, endpoint))
}
