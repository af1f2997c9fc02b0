//! What the API's subresources ask of a running machine.

use std::net::SocketAddr;

use async_trait::async_trait;
use kubeapi::AsyncReadWrite;
use serde_json::{Map, Value, json};
use tokio::net::TcpSocket;
use trunkline_kubevirt::{Filesystem, GuestUser, MachineError, MachineRef, Machines};
use trunkline_qemu::{AgentError, AgentInfo, GuestAgent, QmpError};

use super::running::first_address;
use super::{Running, VirtHandler};

impl VirtHandler {
    fn running(&self, machine: &MachineRef) -> Result<Running, MachineError> {
        let domains = self.context.domains();
        domains
            .get(&machine.uid)
            .cloned()
            .ok_or(MachineError::NotRunning)
    }

    fn with_agent(&self, machine: &MachineRef) -> Result<Running, MachineError> {
        let running = self.running(machine)?;
        if running.domain.guest().borrow().connected {
            Ok(running)
        } else {
            Err(MachineError::NoAgent)
        }
    }

    async fn command(&self, machine: &MachineRef, command: &str) -> Result<(), MachineError> {
        let running = self.running(machine)?;
        running
            .domain
            .qmp
            .run(command, json!({}))
            .await
            .map_err(qmp)
    }
}

fn qmp(error: QmpError) -> MachineError {
    match error {
        QmpError::Gone | QmpError::Io(_) => MachineError::NotRunning,
        other => MachineError::Failed(other.to_string()),
    }
}

fn agent(error: AgentError) -> MachineError {
    match error {
        AgentError::Silent | AgentError::Gone => MachineError::NoAgent,
        other => MachineError::Failed(other.to_string()),
    }
}

fn failed(error: impl std::fmt::Display) -> MachineError {
    MachineError::Failed(error.to_string())
}

#[async_trait]
impl Machines for VirtHandler {
    async fn console(&self, machine: &MachineRef) -> Result<Box<dyn AsyncReadWrite>, MachineError> {
        let running = self.running(machine)?;
        let line = running.domain.console().await.map_err(failed)?;
        Ok(Box::new(line))
    }

    async fn port_forward(
        &self,
        machine: &MachineRef,
        port: u16,
    ) -> Result<Box<dyn AsyncReadWrite>, MachineError> {
        let running = self.running(machine)?;
        let address = first_address(&running.vmi.borrow())
            .ok_or_else(|| MachineError::Failed("no network interfaces are present".to_owned()))?;
        let socket = running
            .node
            .run(move || {
                if address.is_ipv4() {
                    TcpSocket::new_v4()
                } else {
                    TcpSocket::new_v6()
                }
            })
            .await
            .map_err(failed)?
            .map_err(failed)?;
        let to = SocketAddr::from((address, port));
        let stream = socket.connect(to).await.map_err(|error| {
            let why = match error.kind() {
                std::io::ErrorKind::ConnectionRefused => "connect: connection refused".to_owned(),
                _ => format!("connect: {error}"),
            };
            MachineError::Failed(format!("dial tcp {to}: {why}"))
        })?;
        Ok(Box::new(stream))
    }

    async fn pause(&self, machine: &MachineRef) -> Result<(), MachineError> {
        self.command(machine, "stop").await
    }

    async fn unpause(&self, machine: &MachineRef) -> Result<(), MachineError> {
        self.command(machine, "cont").await
    }

    async fn soft_reboot(&self, machine: &MachineRef) -> Result<(), MachineError> {
        let running = self.running(machine)?;
        running.domain.soft_reboot().await.map_err(failed)
    }

    async fn reset(&self, machine: &MachineRef) -> Result<(), MachineError> {
        self.command(machine, "system_reset").await
    }

    async fn freeze(&self, machine: &MachineRef) -> Result<(), MachineError> {
        let running = self.with_agent(machine)?;
        running.domain.agent.freeze().await.map_err(agent)?;
        running.domain.look();
        Ok(())
    }

    async fn unfreeze(&self, machine: &MachineRef) -> Result<(), MachineError> {
        let running = self.with_agent(machine)?;
        running.domain.agent.thaw().await.map_err(agent)?;
        running.domain.look();
        Ok(())
    }

    async fn guest_os_info(&self, machine: &MachineRef) -> Result<Value, MachineError> {
        let running = self.with_agent(machine)?;
        let guest = &running.domain.agent;
        let info = guest.info().await.map_err(agent)?;
        let os = guest.os().await.map_err(agent)?;
        let hostname = guest.hostname().await.map_err(agent)?;
        let zone = guest.timezone().await.map_err(agent)?;
        let frozen = guest.freeze_status().await.map_err(agent)?;
        let disks = disks(guest).await?;
        let mut told = json!({
            "guestAgentVersion": info.version,
            "supportedCommands": commands(&info),
            "hostname": hostname,
            "os": super::status::os_info(&os),
            "timezone": format!("{}, {}", zone.zone.unwrap_or_default(), zone.offset),
            "fsFreezeStatus": frozen,
            "fsInfo": {"disks": if disks.is_empty() { Value::Null } else { json!(disks) }},
        });
        let users = guest.users().await.map_err(agent)?;
        if !users.is_empty() {
            let users: Vec<_> = users
                .into_iter()
                .map(|user| match user.domain {
                    Some(domain) => {
                        json!({"userName": user.user, "domain": domain, "loginTime": user.login_time})
                    }
                    None => json!({"userName": user.user, "loginTime": user.login_time}),
                })
                .collect();
            told["userList"] = json!(users);
        }
        Ok(told)
    }

    async fn users(&self, machine: &MachineRef) -> Result<Vec<GuestUser>, MachineError> {
        let running = self.with_agent(machine)?;
        let users = running.domain.agent.users().await.map_err(agent)?;
        Ok(users
            .into_iter()
            .map(|user| GuestUser {
                name: user.user,
                domain: user.domain,
                login_time: user.login_time,
            })
            .collect())
    }

    async fn filesystems(&self, machine: &MachineRef) -> Result<Vec<Filesystem>, MachineError> {
        let running = self.with_agent(machine)?;
        let filesystems = running.domain.agent.filesystems().await.map_err(agent)?;
        Ok(filesystems
            .into_iter()
            .map(|filesystem| Filesystem {
                disk_name: filesystem.name,
                mount_point: filesystem.mountpoint,
                kind: filesystem.kind,
                used_bytes: filesystem.used_bytes.unwrap_or_default(),
                total_bytes: filesystem.total_bytes.unwrap_or_default(),
                disks: filesystem.disk.into_iter().map(disk_address).collect(),
            })
            .collect())
    }
}

fn disk_address(disk: trunkline_qemu::DiskAddress) -> Value {
    let mut address = Map::new();
    if let Some(serial) = disk.serial {
        address.insert("serial".to_owned(), json!(serial));
    }
    address.insert("busType".to_owned(), json!(disk.bus_type));
    Value::Object(address)
}

async fn disks(guest: &GuestAgent) -> Result<Vec<Value>, MachineError> {
    let filesystems = guest.filesystems().await.map_err(agent)?;
    Ok(filesystems
        .into_iter()
        .map(|filesystem| {
            json!({
                "diskName": filesystem.name,
                "mountPoint": filesystem.mountpoint,
                "fileSystemType": filesystem.kind,
                "usedBytes": filesystem.used_bytes.unwrap_or_default(),
                "totalBytes": filesystem.total_bytes.unwrap_or_default(),
                "disk": filesystem.disk.into_iter().map(disk_address).collect::<Vec<_>>(),
            })
        })
        .collect())
}

/// As Go writes them: `enabled` only when it is.
fn commands(info: &AgentInfo) -> Vec<Value> {
    info.supported_commands
        .iter()
        .map(|command| {
            if command.enabled {
                json!({"enabled": true, "name": command.name})
            } else {
                json!({"name": command.name})
            }
        })
        .collect()
}
