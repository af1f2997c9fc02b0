//! Guests of virtual machines, spoken to through their serial consoles.
//!
//! One connection per machine, shared by every step of a case. On it a small shell program carries out commands (see
//! [`shell`]); probes are put together from the guest's own programs (see [`verbs`]).

mod cksum;
mod collect;
mod dialogue;
mod job;
mod link;
mod marks;
mod prompt;
mod shell;
mod strip;
mod tail;
#[cfg(test)]
mod tests;
mod upgrade;
mod verbs;
mod wire;

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures::future::join_all;
use kube::Client;
use tokio::{
    sync::Mutex,
    time::{Instant, sleep, timeout_at},
};
use trunkline_guest::protocol::{Probe, Response};
use trunkline_scenario::model::Login;

use self::{
    dialogue::{NotIn, log_in},
    job::{Broken, Command, Finished, Job},
    link::Link,
    shell::Nonce,
    tail::Tail,
    upgrade::NotOpen,
    wire::{Gone, Wire},
};

/// A virtual machine whose guest is spoken to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Guest {
    pub namespace: String,
    pub name: String,
}

impl fmt::Display for Guest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "vm/{}/{}", self.namespace, self.name)
    }
}

/// Why a guest could not be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ConsoleError {
    pub guest: Guest,
    pub trouble: Trouble,
    /// What the console showed last.
    pub last_lines: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Trouble {
    #[error("the API refuses the console: {message}")]
    Refused { code: u16, message: String },
    #[error("the guest refuses the login of user `{user}`, twice: {words}")]
    Login { user: String, words: &'static str },
    #[error("the guest wants a new password of user `{user}` before it lets anybody in")]
    Expired { user: String },
    #[error("the guest lacks {} (needed to carry out commands on its console)", .programs.join(", "))]
    Lacks { programs: Vec<String> },
    #[error("nobody could log in within {within}; the console waited for {waiting_for}")]
    TooLate {
        within: String,
        waiting_for: &'static str,
    },
    #[error("the guest has come to its end: {words}")]
    Over { words: String },
    #[error("the console was lost {times} times, the last time because {why}")]
    Lost { times: u32, why: String },
    #[error("{0}")]
    Senseless(String),
}

/// How often a console may be lost during one probe.
const LOSSES: u32 = 5;

/// Between two attempts to open a console that is not there yet: the API tells no more than that.
const REST: Duration = Duration::from_secs(1);

/// Is told what is worth telling while a guest is asked: that a console was lost and is there again.
pub(crate) type Notice<'a> = &'a (dyn Fn(String) + Send + Sync);

/// Every console of a case, opened on first use.
pub(crate) struct Consoles {
    client: Client,
    open: Mutex<HashMap<Guest, Arc<Console>>>,
}

impl Consoles {
    pub fn new(client: Client) -> Self {
        Self {
            client,
            open: Mutex::default(),
        }
    }

    /// Whether a console to this guest stands.
    pub async fn is_open(&self, guest: &Guest) -> bool {
        let console = self.open.lock().await.get(guest).cloned();
        match console {
            Some(console) => {
                let link = console.link.lock().await;
                link.as_ref().is_some_and(|link| !link.is_gone())
            }
            None => false,
        }
    }

    /// Gives the consoles back as they were found: with a prompt, for whoever comes next.
    pub async fn close(&self) {
        let open = std::mem::take(&mut *self.open.lock().await);
        let closing = open.values().map(|console| async {
            let link = console.link.lock().await.take();
            if let Some(link) = link {
                link.leave().await;
            }
        });
        join_all(closing).await;
    }

    /// Runs one probe in a guest, by the guest's own programs.
    pub async fn ask(
        &self,
        guest: &Guest,
        access: &Access,
        probe: &Probe,
        notice: Notice<'_>,
    ) -> Result<Response, ConsoleError> {
        let console = {
            let mut open = self.open.lock().await;
            let fresh = || Arc::new(Console::new(self.client.clone(), guest.clone()));
            Arc::clone(open.entry(guest.clone()).or_insert_with(fresh))
        };
        let terminal = Terminal {
            console: &console,
            access,
            notice,
        };
        match verbs::ask(&terminal, probe).await {
            Ok(response) => Ok(response),
            Err(trouble) => Err(ConsoleError {
                guest: guest.clone(),
                trouble,
                last_lines: console.tail.lines(),
            }),
        }
    }
}

/// Who logs in, and how long that may take.
#[derive(Clone, Debug)]
pub(crate) struct Access {
    pub login: Login,
    pub patience: Duration,
}

/// One guest's console across all of its connections.
struct Console {
    client: Client,
    guest: Guest,
    nonce: Nonce,
    /// Held while a connection is made: others who want the same one wait for it, and only they.
    link: Mutex<Option<Arc<Link>>>,
    next: AtomicU64,
    tail: Arc<Tail>,
}

impl Console {
    fn new(client: Client, guest: Guest) -> Self {
        Self {
            client,
            guest,
            nonce: Nonce::random(),
            link: Mutex::default(),
            next: AtomicU64::new(1),
            tail: Arc::default(),
        }
    }

    async fn link(&self, access: &Access, notice: Notice<'_>) -> Result<Arc<Link>, Trouble> {
        let mut link = self.link.lock().await;
        if let Some(link) = link.as_ref().filter(|link| !link.is_gone()) {
            return Ok(Arc::clone(link));
        }
        // A connection that stands in the way of its successor is closed first.
        *link = None;
        let fresh = self.connect(access, notice).await?;
        Ok(Arc::clone(link.insert(Arc::new(fresh))))
    }

    async fn connect(&self, access: &Access, notice: Notice<'_>) -> Result<Link, Trouble> {
        let deadline = Instant::now() + access.patience;
        self.tail.begin();
        let mut losses = 0;
        loop {
            let opening = upgrade::open(&self.client, &self.guest);
            let silent = || NotOpen::Broken("the API does not answer the request for it".into());
            let opened = timeout_at(deadline, opening).await;
            let socket = match opened.unwrap_or_else(|_| Err(silent())) {
                Ok(socket) => socket,
                Err(why) if may_pass(&why) && Instant::now() + REST < deadline => {
                    sleep(REST).await;
                    continue;
                }
                Err(NotOpen::Refused { code, message }) => {
                    return Err(Trouble::Refused { code, message });
                }
                Err(NotOpen::Broken(why)) => return Err(Trouble::Lost { times: 1, why }),
            };
            let wire = Wire::new(socket, Arc::clone(&self.tail));
            match log_in(wire, &access.login, &self.nonce, deadline).await {
                Ok(agreed) => return Ok(Link::new(agreed.wire, agreed.marks, agreed.hello)),
                Err(NotIn::Gone(gone)) if losses < LOSSES && self.tail.over().is_none() => {
                    losses += 1;
                    notice(format!(
                        "the console of {} was lost during the login: {}",
                        self.guest, gone.0
                    ));
                    sleep(REST).await;
                }
                Err(why) => return Err(self.not_in(why, access, losses)),
            }
        }
    }

    /// A connection that ended with its guest was not lost.
    fn lost(&self, times: u32, gone: Gone) -> Trouble {
        match self.tail.over() {
            Some(words) => Trouble::Over { words },
            None => Trouble::Lost { times, why: gone.0 },
        }
    }

    fn not_in(&self, why: NotIn, access: &Access, losses: u32) -> Trouble {
        let user = access.login.user.clone();
        match why {
            NotIn::Gone(gone) => self.lost(losses + 1, gone),
            NotIn::Refused(words) => Trouble::Login { user, words },
            NotIn::Expired => Trouble::Expired { user },
            NotIn::Lacks(programs) => Trouble::Lacks { programs },
            NotIn::TooLate { waiting_for } => Trouble::TooLate {
                within: trunkline_scenario::duration::show(access.patience),
                waiting_for,
            },
        }
    }
}

/// Whether an answer to the request for a console is one that changes by itself: the machine does not run yet, or what
/// stands between the API and it is not ready.
fn may_pass(why: &NotOpen) -> bool {
    match why {
        NotOpen::Refused { code: 400, message } => !message.contains("No serial consoles"),
        NotOpen::Refused { code, .. } => *code >= 500,
        NotOpen::Broken(_) => true,
    }
}

/// A guest as verbs see it: something that carries out commands.
struct Terminal<'a> {
    console: &'a Console,
    access: &'a Access,
    notice: Notice<'a>,
}

impl Terminal<'_> {
    /// Carries out a command, across lost connections.
    async fn run(&self, command: Command) -> Result<Finished, Trouble> {
        let number = self.console.next.fetch_add(1, Ordering::Relaxed);
        let mut job = Job::new(number, command);
        let mut losses = 0;
        loop {
            let link = self.console.link(self.access, self.notice).await?;
            match job.pursue(&link).await {
                Ok(finished) => return Ok(finished),
                Err(Broken::Senseless(why)) => return Err(Trouble::Senseless(why)),
                Err(Broken::Gone(gone)) => {
                    losses += 1;
                    if losses >= LOSSES || self.console.tail.over().is_some() {
                        return Err(self.console.lost(losses, gone));
                    }
                    (self.notice)(format!(
                        "the console of {} was lost ({}) and is opened again; another client may have taken it",
                        self.console.guest, gone.0
                    ));
                }
            }
        }
    }
}
