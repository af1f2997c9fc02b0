//! Machines whose guests are shells on this machine: a real terminal behind a WebSocket that speaks as KubeVirt does.

#![allow(dead_code, reason = "each test program uses its part of this")]

use std::{
    collections::HashMap,
    fs::File,
    io::{Read as _, Write as _},
    os::fd::OwnedFd,
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
};

use bytes::Bytes;
use futures::{SinkExt as _, StreamExt as _};
use http::{Request, Response, StatusCode, header};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use kube::Client;
use kubeapi::{ApiService, Body};
use tokio::{net::TcpListener, sync::mpsc};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, handshake::derive_accept_key, protocol::Role},
};
use tower::ServiceExt as _;

/// What a guest is like.
#[derive(Clone, Debug)]
pub struct Like {
    pub shell: &'static str,
    pub user: &'static str,
    pub password: &'static str,
    /// Logins refused before the right one is let in.
    pub refusals: u32,
    /// Between two bits of noise of the kernel on the console, in bytes on average; none when 0.
    pub quiet: u32,
    /// What the guest prints while it boots, and how long that takes.
    pub boot: &'static str,
    pub boots_for: &'static str,
    /// It prints that and is never heard of again.
    pub hangs: bool,
    /// Programs that the guest does not have.
    pub lacks: &'static [&'static str],
}

impl Default for Like {
    fn default() -> Self {
        Self {
            shell: "bash",
            user: "fedora",
            password: "fedora",
            refusals: 0,
            quiet: 0,
            boot: "[    0.000000] Linux version 6.12.0\\n[  OK  ] Reached target Login Prompts.\\nLast failed login: never\\n",
            boots_for: "0",
            hangs: false,
            lacks: &[],
        }
    }
}

/// A guest on a terminal of its own.
pub struct Machine {
    keyboard: Mutex<File>,
    /// Who has the console.
    watcher: Arc<Mutex<Option<mpsc::UnboundedSender<Vec<u8>>>>>,
    child: Mutex<Child>,
    /// Answers 400, as KubeVirt does until the machine runs.
    pub starting: AtomicBool,
    pub connections: AtomicU32,
}

impl Machine {
    pub fn start(like: &Like) -> Arc<Self> {
        let master = rustix::pty::openpt(
            rustix::pty::OpenptFlags::RDWR
                | rustix::pty::OpenptFlags::NOCTTY
                | rustix::pty::OpenptFlags::CLOEXEC,
        )
        .unwrap();
        rustix::pty::grantpt(&master).unwrap();
        rustix::pty::unlockpt(&master).unwrap();
        let slave = rustix::pty::ptsname(&master, Vec::new()).unwrap();
        let slave: OwnedFd = rustix::fs::open(
            slave.as_c_str(),
            rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY | rustix::fs::OFlags::CLOEXEC,
            rustix::fs::Mode::empty(),
        )
        .unwrap();
        let stdio = || Stdio::from(slave.try_clone().unwrap());
        let child = Command::new("setsid")
            .args(["-c", "-w", "sh", "-c", GETTY, "getty"])
            .args([like.user, like.password, &like.refusals.to_string()])
            .args([like.shell, like.boot, like.boots_for])
            .arg(like.lacks.join(" "))
            .arg(if like.hangs { "hangs" } else { "" })
            .env("TERM", "vt220")
            .stdin(stdio())
            .stdout(stdio())
            .stderr(stdio())
            .spawn()
            .unwrap();
        drop(slave);
        let screen = File::from(master);
        let machine = Arc::new(Self {
            keyboard: Mutex::new(screen.try_clone().unwrap()),
            watcher: Arc::default(),
            child: Mutex::new(child),
            starting: AtomicBool::new(false),
            connections: AtomicU32::new(0),
        });
        let watcher = Arc::clone(&machine.watcher);
        let quiet = like.quiet;
        std::thread::spawn(move || show(screen, &watcher, quiet));
        machine
    }

    /// Takes the console away from whoever has it, as another client does.
    pub fn eject(&self) {
        self.watcher.lock().unwrap().take();
    }

    /// Somebody types.
    pub fn type_in(&self, text: &str) {
        self.keyboard
            .lock()
            .unwrap()
            .write_all(text.as_bytes())
            .unwrap();
    }

    async fn serve(
        self: Arc<Self>,
        mut socket: WebSocketStream<TokioIo<hyper::upgrade::Upgraded>>,
    ) {
        let (sender, mut screen) = mpsc::unbounded_channel();
        // The one before is thrown out without a word.
        *self.watcher.lock().unwrap() = Some(sender);
        self.connections.fetch_add(1, Ordering::SeqCst);
        loop {
            tokio::select! {
                shown = screen.recv() => match shown {
                    Some(bytes) => {
                        if socket.send(Message::Binary(Bytes::from(bytes))).await.is_err() {
                            return;
                        }
                    }
                    None => return,
                },
                typed = socket.next() => match typed {
                    Some(Ok(Message::Binary(bytes))) => {
                        let machine = Arc::clone(&self);
                        // A terminal that is full takes no more: that must not hold up everybody else.
                        let typed = tokio::task::spawn_blocking(move || {
                            machine.keyboard.lock().unwrap().write_all(&bytes)
                        });
                        if !matches!(typed.await, Ok(Ok(()))) {
                            return;
                        }
                    }
                    Some(Ok(_)) => {}
                    _ => return,
                },
            }
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let child = self.child.get_mut().unwrap();
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// What a guest's getty and login do.
const GETTY: &str = r#"
user=$1 password=$2 refusals=$3 shell=$4 lacks=$7
sleep "$6"
printf "$5"
[ -z "$8" ] || exec sleep 99
HOME=$(mktemp -d) || exit
export HOME
trap 'rm -rf "$HOME"' EXIT
if [ -n "$lacks" ]; then
  mkdir "$HOME/bin"
  for tool in sh bash dash stty base64 cksum dd cat mkdir rm dmesg curl ping getent sleep head tail nc; do
    case " $lacks " in *" $tool "*) ;; *) ln -s "$(command -v $tool)" "$HOME/bin/" 2>/dev/null;; esac
  done
fi
while :; do
  stty sane
  printf '\nFedora Linux 41 (Cloud Edition)\nKernel 6.12.0 on an x86_64 (ttyS0)\n\nvm login: '
  IFS= read -r name || exit
  [ -n "$name" ] || continue
  if [ -n "$password" ]; then
    stty -echo
    printf 'Password: '
    IFS= read -r given || exit
    stty echo
    printf '\n'
  else
    given=
  fi
  if [ "$refusals" -gt 0 ] || [ "$name" != "$user" ] || [ "$given" != "$password" ]; then
    refusals=$((refusals - 1))
    sleep 0.1
    printf '\nLogin incorrect\n'
    continue
  fi
  printf 'Last login: Sat Nov 21 12:00:00 on ttyS0\n'
  (
    LOGNAME=$name USER=$name
    [ -z "$lacks" ] || PATH=$HOME/bin
    export LOGNAME USER PATH
    cd "$HOME"
    case $shell in
      busybox) PS1='~ $ ' exec busybox ash -i;;
      dash) PS1='$ ' exec dash -i;;
      *) PS1='[fedora@vm ~]$ ' exec bash --norc --noprofile -i;;
    esac
  )
done
"#;

/// Gives what the terminal shows to whoever watches, with noise in between as a kernel makes it: anywhere.
fn show(mut screen: File, watcher: &Mutex<Option<mpsc::UnboundedSender<Vec<u8>>>>, quiet: u32) {
    use rand::Rng as _;
    let mut random = rand::rng();
    let mut chunk = [0; 4096];
    let mut until_noise = quiet;
    while let Ok(read @ 1..) = screen.read(&mut chunk) {
        let mut shown = Vec::with_capacity(read);
        for byte in &chunk[..read] {
            shown.push(*byte);
            if quiet > 0 {
                until_noise -= 1;
                if until_noise == 0 {
                    let number: u32 = random.random();
                    let noise = format!(
                        "\r\n[{:5}.{:06}] systemd[1]: Started session-{number}.scope login: $ Password: \r\n",
                        number % 1000,
                        number % 1_000_000,
                    );
                    shown.extend_from_slice(noise.as_bytes());
                    until_noise = random.random_range(1..quiet * 2);
                }
            }
        }
        let watcher = watcher.lock().unwrap().clone();
        if let Some(watcher) = watcher {
            let _ = watcher.send(shown);
        }
    }
}

type ByName = HashMap<(String, String), Arc<Machine>>;

/// Every machine of a test, by namespace and name.
#[derive(Clone, Default)]
pub struct Machines(Arc<Mutex<ByName>>, Arc<Mutex<Vec<String>>>);

impl Machines {
    pub fn start(&self, namespace: &str, name: &str, like: &Like) -> Arc<Machine> {
        let machine = Machine::start(like);
        self.0
            .lock()
            .unwrap()
            .insert((namespace.into(), name.into()), Arc::clone(&machine));
        machine
    }

    /// What was asked of virtual machines, as in `restart blue/vm`.
    pub fn asked(&self) -> Vec<String> {
        self.1.lock().unwrap().clone()
    }

    /// A client of an API that has these consoles, and everything of `rest` besides.
    pub async fn client(&self, rest: Option<ApiService>) -> Client {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let machines = self.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (machines, rest) = (machines.clone(), rest.clone());
                tokio::spawn(async move {
                    let service = service_fn(move |request| {
                        let (machines, rest) = (machines.clone(), rest.clone());
                        async move {
                            Ok::<_, std::convert::Infallible>(machines.answer(request, rest).await)
                        }
                    });
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .with_upgrades()
                        .await;
                });
            }
        });
        let config = kube::Config::new(format!("http://{address}").parse().unwrap());
        Client::try_from(config).unwrap()
    }

    async fn answer(&self, request: Request<Incoming>, rest: Option<ApiService>) -> Response<Body> {
        const BASE: &str = "/apis/subresources.kubevirt.io/v1/namespaces/";
        let path = request.uri().path().to_owned();
        if let Some(path) = path.strip_prefix(BASE) {
            let parts: Vec<&str> = path.split('/').collect();
            return match parts.as_slice() {
                [namespace, "virtualmachineinstances", name, "console"] => {
                    self.console(request, namespace, name)
                }
                [namespace, "virtualmachines", name, verb] => {
                    self.1
                        .lock()
                        .unwrap()
                        .push(format!("{verb} {namespace}/{name}"));
                    plain(StatusCode::ACCEPTED, "")
                }
                _ => plain(StatusCode::NOT_FOUND, "404: Page Not Found"),
            };
        }
        match rest {
            Some(rest) => rest.oneshot(request).await.unwrap(),
            None => plain(StatusCode::NOT_FOUND, "404: Page Not Found"),
        }
    }

    fn console(
        &self,
        mut request: Request<Incoming>,
        namespace: &str,
        name: &str,
    ) -> Response<Body> {
        let found = self
            .0
            .lock()
            .unwrap()
            .get(&(namespace.to_owned(), name.to_owned()))
            .cloned();
        let Some(machine) = found else {
            let message = format!("virtualmachineinstance.kubevirt.io \"{name}\" not found");
            return status(StatusCode::NOT_FOUND, &message, "NotFound");
        };
        if machine.starting.load(Ordering::SeqCst) {
            let message = format!(
                "Operation cannot be fulfilled on virtualmachineinstance.kubevirt.io \"{name}\": VMI is not in running state"
            );
            return status(StatusCode::BAD_REQUEST, &message, "BadRequest");
        }
        let key = request.headers()[header::SEC_WEBSOCKET_KEY].clone();
        assert_eq!(
            request.headers()[header::SEC_WEBSOCKET_PROTOCOL],
            "plain.kubevirt.io"
        );
        let upgrade = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            if let Ok(upgraded) = upgrade.await {
                let socket =
                    WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, None)
                        .await;
                machine.serve(socket).await;
            }
        });
        Response::builder()
            .status(StatusCode::SWITCHING_PROTOCOLS)
            .header(header::CONNECTION, "Upgrade")
            .header(header::UPGRADE, "websocket")
            .header(
                header::SEC_WEBSOCKET_ACCEPT,
                derive_accept_key(key.as_bytes()),
            )
            .header(header::SEC_WEBSOCKET_PROTOCOL, "plain.kubevirt.io")
            .body(Body::empty())
            .unwrap()
    }
}

fn plain(code: StatusCode, text: &'static str) -> Response<Body> {
    Response::builder()
        .status(code)
        .body(Body::from(text))
        .unwrap()
}

fn status(code: StatusCode, message: &str, reason: &str) -> Response<Body> {
    let status = serde_json::json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "code": code.as_u16(),
    });
    Response::builder()
        .status(code)
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from(status.to_string()))
        .unwrap()
}
