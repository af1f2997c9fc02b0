//! Connections into machines: the serial console, ports, and those that take a device the machines do not have.

use http::Response;
use kubeapi::{AggregatedRequest, AsyncReadWrite, Body, Status};

use super::find::{has_condition, instance_conflict, phase, reference};
use super::machine::reachable;
use super::route::{Owner, Stream};
use super::server::Place;
use super::stream::KeepAlive;
use super::{Backend, answer, upgrade};
use crate::types::{VirtualMachineInstance, VmiPhase};

const NOT_RUNNING: &str = "VMI is not running";
const NO_GRAPHICS: &str = "No graphics devices are present.";

impl Backend {
    pub(super) async fn stream(
        &self,
        stream: Stream,
        place: Place<'_>,
        request: AggregatedRequest,
    ) -> Result<Response<Body>, Status> {
        let vmi = self.instance(place).await?;
        check(stream, &vmi, place.name)?;
        reachable(&vmi)?;
        // As upstream: the machine's side is connected first, so whoever had the console has lost it even when this
        // request turns out to be no WebSocket.
        let console = self.machines.console(&reference(&vmi)).await;
        let console = console.map_err(|error| {
            Status::internal(&format!("Can't connect to websocket (400): {error}"))
        })?;
        Ok(upgrade::connect(request, console, KeepAlive::No))
    }

    pub(super) async fn screenshot(&self, place: Place<'_>) -> Response<Body> {
        match self.instance(place).await {
            Ok(_) => answer::failure(&Status::bad_request(NO_GRAPHICS)),
            Err(status) => answer::failure(&status),
        }
    }

    pub(super) async fn port_forward(
        &self,
        owner: Owner,
        place: Place<'_>,
        port: &str,
        protocol: Option<&str>,
        request: AggregatedRequest,
    ) -> Result<Response<Body>, Status> {
        let vmi = match owner {
            Owner::Machine => self.instance_of_machine(place).await?,
            Owner::Instance => self.instance(place).await?,
        };
        if has_condition(&vmi, "Paused") {
            return Err(instance_conflict(place.name, "VMI is paused"));
        }
        let interfaces = vmi.status.as_ref().map(|status| &status.interfaces);
        if interfaces.is_none_or(Vec::is_empty) {
            return Err(Status::bad_request("no network interfaces are present"));
        }
        let target = self.dial(&vmi, protocol.unwrap_or("tcp"), port).await;
        let target = target.map_err(|why| Status::internal(&format!("dialing VM: {why}")))?;
        Ok(upgrade::connect(request, target, KeepAlive::Ping))
    }

    async fn dial(
        &self,
        vmi: &VirtualMachineInstance,
        protocol: &str,
        port: &str,
    ) -> Result<Box<dyn AsyncReadWrite>, String> {
        match protocol {
            "tcp" => {}
            "udp" => return Err("dial udp: only tcp is forwarded here".to_owned()),
            other => return Err(format!("dial {other}: unknown network {other}")),
        }
        let port = match port.parse::<u16>() {
            Ok(port) => port,
            Err(_) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
                return Err(format!("dial tcp: address {port}: invalid port"));
            }
            Err(_) => return Err(format!("dial tcp: lookup tcp/{port}: unknown port")),
        };
        let connected = self.machines.port_forward(&reference(vmi), port).await;
        connected.map_err(|error| error.to_string())
    }
}

/// Whether an instance has, in its state, what a stream leads to.
fn check(stream: Stream, vmi: &VirtualMachineInstance, name: &str) -> Result<(), Status> {
    let devices = &vmi.spec.domain.devices;
    match stream {
        Stream::Console if devices.autoattach_serial_console == Some(false) => {
            return Err(Status::bad_request("No serial consoles are present."));
        }
        Stream::Console if phase(vmi) == Some(VmiPhase::Failed) => {
            return Err(instance_conflict(name, "VMI is in failed status"));
        }
        Stream::Console => {}
        Stream::Vnc => return Err(Status::bad_request(NO_GRAPHICS)),
        Stream::UsbRedirection => {
            return Err(instance_conflict(
                name,
                "Not configured with USB Redirection",
            ));
        }
        Stream::Vsock => return Err(Status::bad_request("VSOCK is not attached.")),
    }
    if phase(vmi) == Some(VmiPhase::Running) {
        Ok(())
    } else {
        Err(Status::bad_request(NOT_RUNNING))
    }
}
