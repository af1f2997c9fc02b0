//! A server with KubeVirt's kinds, stand-in machines, and clients of it.

use std::collections::HashMap;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use http::{Method, Request, Response};
use http_body_util::BodyExt;
use kube::client::Body;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kubeapi::{ApiServer, AsyncReadWrite, Pki};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::{AbortHandle, JoinHandle};
use trunkline_kubevirt::subresources::{Late, cluster_roles};
use trunkline_kubevirt::{Filesystem, GuestUser, MachineError, MachineRef, Machines, crds};

pub const BASE: &str = "/apis/subresources.kubevirt.io/v1/namespaces/default";

/// Machines that remember what was done to them. Their console echoes what is typed; port 80 greets and hangs up. One that
/// is called `broken` can do nothing.
#[derive(Default)]
pub struct StandIn {
    pub calls: Mutex<Vec<String>>,
    consoles: Mutex<HashMap<String, AbortHandle>>,
}

impl StandIn {
    fn note(&self, what: &str, machine: &MachineRef) -> Result<(), MachineError> {
        let call = format!(
            "{what} {}/{} {}",
            machine.namespace, machine.name, machine.uid
        );
        self.calls.lock().unwrap().push(call);
        match machine.name.as_str() {
            "broken" => Err(MachineError::Failed(
                "the monitor does not answer".to_owned(),
            )),
            "gone" => Err(MachineError::NotRunning),
            _ => Ok(()),
        }
    }

    /// What was done since the last time.
    pub fn taken(&self) -> Vec<String> {
        std::mem::take(&mut self.calls.lock().unwrap())
    }

    /// The machine's end of a console goes away.
    pub fn power_off(&self, uid: &str) {
        self.consoles.lock().unwrap().remove(uid).unwrap().abort();
    }
}

#[async_trait]
impl Machines for StandIn {
    async fn console(&self, machine: &MachineRef) -> Result<Box<dyn AsyncReadWrite>, MachineError> {
        self.note("console", machine)?;
        let (ours, theirs) = tokio::io::duplex(4096);
        let (mut typed, mut shown) = tokio::io::split(theirs);
        let echo = tokio::spawn(async move {
            tokio::io::copy(&mut typed, &mut shown).await.unwrap();
        });
        let mut consoles = self.consoles.lock().unwrap();
        if let Some(last) = consoles.insert(machine.uid.clone(), echo.abort_handle()) {
            last.abort();
        }
        Ok(Box::new(ours))
    }

    async fn port_forward(
        &self,
        machine: &MachineRef,
        port: u16,
    ) -> Result<Box<dyn AsyncReadWrite>, MachineError> {
        self.note(&format!("port {port} of"), machine)?;
        if port != 80 {
            let why = format!("dial tcp 10.0.2.2:{port}: connect: connection refused");
            return Err(MachineError::Failed(why));
        }
        let (ours, mut theirs) = tokio::io::duplex(4096);
        tokio::spawn(async move {
            let mut asked = [0; 18];
            theirs.read_exact(&mut asked).await.unwrap();
            assert_eq!(&asked, b"GET / HTTP/1.0\r\n\r\n");
            theirs.write_all(b"hello from the guest\n").await.unwrap();
        });
        Ok(Box::new(ours))
    }

    async fn pause(&self, machine: &MachineRef) -> Result<(), MachineError> {
        self.note("pause", machine)
    }
    async fn unpause(&self, machine: &MachineRef) -> Result<(), MachineError> {
        self.note("unpause", machine)
    }
    async fn soft_reboot(&self, machine: &MachineRef) -> Result<(), MachineError> {
        self.note("softreboot", machine)
    }
    async fn reset(&self, machine: &MachineRef) -> Result<(), MachineError> {
        self.note("reset", machine)
    }
    async fn freeze(&self, machine: &MachineRef) -> Result<(), MachineError> {
        self.note("freeze", machine)
    }
    async fn unfreeze(&self, machine: &MachineRef) -> Result<(), MachineError> {
        self.note("unfreeze", machine)
    }

    async fn guest_os_info(&self, machine: &MachineRef) -> Result<Value, MachineError> {
        self.note("guestosinfo", machine)?;
        Ok(json!({
            "hostname": "tiny", "guestAgentVersion": "7.2.22", "os": {"name": "Tiny <Guest>", "id": "tinyguest"},
            "supportedCommands": [{"name": "guest-ping", "enabled": true}, {"name": "guest-get-devices"}],
            "timezone": "UTC, 0", "fsInfo": {"disks": null}, "fsFreezeStatus": "thawed",
        }))
    }
    async fn users(&self, machine: &MachineRef) -> Result<Vec<GuestUser>, MachineError> {
        self.note("userlist", machine)?;
        Ok(vec![GuestUser {
            name: "fedora".to_owned(),
            domain: None,
            login_time: 1_795_000_000.25,
        }])
    }
    async fn filesystems(&self, machine: &MachineRef) -> Result<Vec<Filesystem>, MachineError> {
        self.note("filesystemlist", machine)?;
        Ok(vec![Filesystem {
            disk_name: "vda1".to_owned(),
            mount_point: "/".to_owned(),
            kind: "ext4".to_owned(),
            used_bytes: 5,
            total_bytes: 10,
            disks: vec![json!({"serial": "s", "busType": "virtio"})],
        }])
    }
}

/// A server on a socket, and what is behind it.
pub struct Site {
    pub machines: Arc<StandIn>,
    pub admin: kube::Client,
    /// Of the same server, without a socket.
    pub inside: kube::Client,
    pub url: String,
    pki: Arc<Pki>,
    task: JoinHandle<()>,
}

impl Drop for Site {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub async fn site() -> Site {
    let late = Late::default();
    let mut builder = ApiServer::builder().aggregated(late.api());
    for crd in crds() {
        builder = builder.crd(crd);
    }
    let server = builder.build().unwrap();
    let machines = Arc::new(StandIn::default());
    late.connect(server.client("virt-api"), machines.clone());
    let inside = server.client("inside");
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let pki = Arc::new(Pki::generate(&["127.0.0.1".to_owned()]).unwrap());
    let task = tokio::spawn({
        let pki = pki.clone();
        async move {
            server
                .serve(listener, &pki, std::future::pending())
                .await
                .unwrap();
        }
    });
    let admin = client(&pki, &url, "admin", &["system:masters"]).await;
    for role in cluster_roles() {
        let plural = format!("{}s", role["kind"].as_str().unwrap().to_lowercase());
        let path = format!("/apis/rbac.authorization.k8s.io/v1/{plural}");
        let (code, answer) = call(&admin, Method::POST, &path, &role).await;
        assert_eq!(code, 201, "{answer}");
    }
    Site {
        machines,
        admin,
        inside,
        url,
        pki,
        task,
    }
}

async fn client(pki: &Pki, url: &str, user: &str, groups: &[&str]) -> kube::Client {
    let yaml = pki.kubeconfig(url, "test", user, groups).unwrap();
    let config = Kubeconfig::from_yaml(&yaml).unwrap();
    let config = kube::Config::from_custom_kubeconfig(config, &KubeConfigOptions::default())
        .await
        .unwrap();
    kube::Client::try_from(config).unwrap()
}

impl Site {
    /// A client with a certificate of its own.
    pub async fn user(&self, user: &str, groups: &[&str]) -> kube::Client {
        client(&self.pki, &self.url, user, groups).await
    }

    pub fn kubeconfig(&self) -> String {
        let groups = ["system:masters"];
        self.pki
            .kubeconfig(&self.url, "test", "admin", &groups)
            .unwrap()
    }

    /// Creates an instance in a state, and tells its uid.
    pub async fn instance(&self, name: &str, spec: Value, status: Value) -> String {
        let mut domain = json!({"devices": {}});
        if let Some(own) = spec.get("domain") {
            domain = own.clone();
        }
        let mut whole = json!({"domain": domain});
        for (key, value) in spec.as_object().unwrap() {
            whole[key.as_str()] = value.clone();
        }
        let vmi = json!({
            "apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstance", "metadata": {"name": name},
            "spec": whole, "status": status,
        });
        self.create("virtualmachineinstances", &vmi).await
    }

    /// A running instance.
    pub async fn running(&self, name: &str) -> String {
        let status = json!({
            "phase": "Running", "nodeName": "lab-worker",
            "interfaces": [{"name": "default", "ipAddress": "10.244.1.5", "ipAddresses": ["10.244.1.5"]}],
            "conditions": [{"type": "AgentConnected", "status": "True"}],
        });
        self.instance(name, json!({}), status).await
    }

    pub async fn create(&self, plural: &str, object: &Value) -> String {
        let path = format!("/apis/kubevirt.io/v1/namespaces/default/{plural}");
        let (code, answer) = call(&self.admin, Method::POST, &path, object).await;
        assert_eq!(code, 201, "{answer}");
        let answer: Value = serde_json::from_str(&answer).unwrap();
        answer["metadata"]["uid"].as_str().unwrap().to_owned()
    }

    pub async fn get(&self, plural: &str, name: &str) -> Value {
        let path = format!("/apis/kubevirt.io/v1/namespaces/default/{plural}/{name}");
        let (code, answer) = call(&self.admin, Method::GET, &path, &Value::Null).await;
        assert_eq!(code, 200, "{answer}");
        serde_json::from_str(&answer).unwrap()
    }

    /// Creates a machine with a status.
    pub async fn machine(&self, name: &str, spec: Value, status: Value) -> String {
        let mut whole = json!({"template": {"spec": {"domain": {"devices": {}}}}});
        for (key, value) in spec.as_object().unwrap() {
            whole[key.as_str()] = value.clone();
        }
        let vm = json!({
            "apiVersion": "kubevirt.io/v1", "kind": "VirtualMachine", "metadata": {"name": name}, "spec": whole,
        });
        let uid = self.create("virtualmachines", &vm).await;
        if !status.is_null() {
            self.set_status(name, &status).await;
        }
        uid
    }

    pub async fn set_status(&self, name: &str, status: &Value) {
        let mut vm = self.get("virtualmachines", name).await;
        vm["status"] = status.clone();
        let path = format!("/apis/kubevirt.io/v1/namespaces/default/virtualmachines/{name}/status");
        let (code, answer) = call(&self.admin, Method::PUT, &path, &vm).await;
        assert_eq!(code, 200, "{answer}");
    }

    /// Puts to a subresource.
    pub async fn put(&self, path: &str, body: &str) -> (u16, String) {
        let request = Request::builder()
            .method(Method::PUT)
            .uri(format!("{BASE}/{path}"))
            .body(Body::from(body.as_bytes().to_vec()))
            .unwrap();
        text(self.admin.send(request).await.unwrap()).await
    }

    pub async fn read(&self, path: &str) -> (u16, String) {
        call(
            &self.admin,
            Method::GET,
            &format!("{BASE}/{path}"),
            &Value::Null,
        )
        .await
    }
}

pub async fn call(
    client: &kube::Client,
    method: Method,
    path: &str,
    body: &Value,
) -> (u16, String) {
    let body = match body {
        Value::Null => Vec::new(),
        body => body.to_string().into_bytes(),
    };
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", "application/json")
        .body(Body::from(body))
        .unwrap();
    text(client.send(request).await.unwrap()).await
}

async fn text(response: Response<Body>) -> (u16, String) {
    let code = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (code, String::from_utf8(body.to_vec()).unwrap())
}

/// The message of a refusal, which must be one with this code.
pub fn message(answer: &(u16, String), code: u16) -> String {
    assert_eq!(answer.0, code, "{}", answer.1);
    let status: Value = serde_json::from_str(&answer.1).unwrap();
    assert_eq!(status["kind"], "Status");
    assert_eq!(status["code"], code);
    status["message"].as_str().unwrap().to_owned()
}
