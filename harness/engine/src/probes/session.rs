//! A conversation with one running agent: requests in, answers in any order out.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{
        AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _,
        BufReader,
    },
    sync::{mpsc, oneshot},
};
use tokio_util::task::AbortOnDropHandle;
use trunkline_guest::protocol::{Probe, Request, Response};

/// The agent's end of the pipes, however they were opened.
pub(super) struct Pipes {
    pub stdin: Box<dyn AsyncWrite + Send + Unpin>,
    pub stdout: Box<dyn AsyncRead + Send + Unpin>,
    pub stderr: Box<dyn AsyncRead + Send + Unpin>,
    /// Resolves when the agent has ended, with what is known about why.
    pub ended: std::pin::Pin<Box<dyn Future<Output = Option<String>> + Send>>,
}

/// How much of the agent's stderr is kept for error messages.
const STDERR_KEPT: usize = 4096;

/// An agent needs a moment beyond the probe's own deadline to say that it passed.
const GRACE: Duration = Duration::from_secs(10);

/// One agent. Dropping it ends the agent.
pub(super) struct Session {
    requests: mpsc::UnboundedSender<String>,
    shared: Arc<Shared>,
    next: AtomicU64,
    _tasks: [AbortOnDropHandle<()>; 3],
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    stderr: Mutex<Vec<u8>>,
}

#[derive(Default)]
struct State {
    waiting: HashMap<String, oneshot::Sender<Response>>,
    /// Set once the agent is gone, with the reason.
    gone: Option<String>,
}

/// The agent ended before it answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Gone(pub String);

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self, reason: String) {
        let mut state = self.state();
        state.gone.get_or_insert(reason);
        // Dropping the senders tells everybody who waits.
        state.waiting.clear();
    }

    fn last_words(&self) -> String {
        let bytes = self.stderr.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&bytes).trim().to_owned()
    }
}

impl Session {
    pub fn new(pipes: Pipes) -> Self {
        let Pipes {
            mut stdin,
            stdout,
            mut stderr,
            ended,
        } = pipes;
        let shared = Arc::new(Shared::default());
        let (requests, mut queue) = mpsc::unbounded_channel::<String>();

        let writer = tokio::spawn(async move {
            while let Some(mut lines) = queue.recv().await {
                // Everything that is waiting goes out in one write: a batch costs one frame.
                while let Ok(more) = queue.try_recv() {
                    lines.push_str(&more);
                }
                if stdin.write_all(lines.as_bytes()).await.is_err() || stdin.flush().await.is_err()
                {
                    break;
                }
            }
            let _ = stdin.shutdown().await;
        });

        // kube's pipes hold 1 KiB: a stream that nobody reads stops the other one and the exit status with it.
        let listener = Arc::clone(&shared);
        let drain = tokio::spawn(async move {
            let mut chunk = [0; 1024];
            while let Ok(read @ 1..) = stderr.read(&mut chunk).await {
                let mut kept = listener
                    .stderr
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner);
                let room = STDERR_KEPT.saturating_sub(kept.len());
                kept.extend_from_slice(&chunk[..read.min(room)]);
            }
        });

        let listener = Arc::clone(&shared);
        let reader = tokio::spawn(async move {
            let mut lines = BufReader::new(stdout).lines();
            let mut garbage = None;
            while let Ok(Some(line)) = lines.next_line().await {
                match serde_json::from_str::<Response>(&line) {
                    Ok(response) => {
                        let waiting = listener.state().waiting.remove(&response.id);
                        if let Some(waiting) = waiting {
                            let _ = waiting.send(response);
                        }
                    }
                    Err(_) => {
                        garbage.get_or_insert(line);
                    }
                }
            }
            let status = tokio::time::timeout(Duration::from_secs(5), ended)
                .await
                .ok()
                .flatten();
            // Let the other task catch up with what is already in its pipe.
            tokio::task::yield_now().await;
            let told = [
                status.unwrap_or_default(),
                listener.last_words(),
                garbage.unwrap_or_default(),
            ];
            let told: Vec<_> = told.into_iter().filter(|text| !text.is_empty()).collect();
            listener.close(if told.is_empty() {
                "it ended without a word".into()
            } else {
                told.join(": ")
            });
        });

        Self {
            requests,
            shared,
            next: AtomicU64::new(1),
            _tasks: [writer, drain, reader].map(AbortOnDropHandle::new),
        }
    }

    /// Runs one probe. Dropping the future forgets the answer.
    pub async fn ask(&self, probe: Probe) -> Result<Response, Gone> {
        let patience = Duration::from_millis(probe.timeout_ms()) + GRACE;
        let id = self.next.fetch_add(1, Ordering::Relaxed).to_string();
        let (sender, answer) = oneshot::channel();
        {
            let mut state = self.shared.state();
            if let Some(reason) = &state.gone {
                return Err(Gone(reason.clone()));
            }
            state.waiting.insert(id.clone(), sender);
        }
        let _forget = Forget {
            shared: &self.shared,
            id: &id,
        };
        let mut line = serde_json::to_string(&Request {
            id: id.clone(),
            probe,
        })
        .map_err(|error| Gone(format!("the request cannot be written: {error}")))?;
        line.push('\n');
        if self.requests.send(line).is_err() {
            return Err(self.gone());
        }
        match tokio::time::timeout(patience, answer).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(_)) => Err(self.gone()),
            Err(_) => {
                let reason = format!("it did not answer within {patience:?}");
                self.shared.close(reason.clone());
                Err(Gone(reason))
            }
        }
    }

    pub fn is_gone(&self) -> bool {
        self.shared.state().gone.is_some()
    }

    fn gone(&self) -> Gone {
        Gone(
            self.shared
                .state()
                .gone
                .clone()
                .unwrap_or_else(|| "it ended".into()),
        )
    }
}

/// Removes a request nobody waits for any more.
struct Forget<'a> {
    shared: &'a Shared,
    id: &'a str,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.shared.state().waiting.remove(self.id);
    }
}

#[cfg(test)]
mod tests {
    use futures::future::join_all;
    use tokio::io::{DuplexStream, duplex};
    use trunkline_guest::protocol::{Failure, Outcome, Ping};

    use super::*;

    fn session() -> (Session, BufReader<DuplexStream>, DuplexStream, DuplexStream) {
        let (stdin, requests) = duplex(1024);
        let (answers, stdout) = duplex(1024);
        let (complaints, stderr) = duplex(1024);
        let pipes = Pipes {
            stdin: Box::new(stdin),
            stdout: Box::new(stdout),
            stderr: Box::new(stderr),
            ended: Box::pin(std::future::ready(Some("exit code 1".into()))),
        };
        (
            Session::new(pipes),
            BufReader::new(requests),
            answers,
            complaints,
        )
    }

    fn answer(id: &str, message: &str) -> String {
        let outcome = Outcome::Error(Failure {
            message: message.into(),
        });
        let mut line = serde_json::to_string(&Response {
            id: id.into(),
            took_ms: 1.0,
            outcome,
        })
        .unwrap();
        line.push('\n');
        line
    }

    #[tokio::test]
    async fn answers_find_their_questions_in_any_order() {
        let (session, mut requests, mut answers, _complaints) = session();
        let agent = tokio::spawn(async move {
            let mut seen = Vec::new();
            for _ in 0..3 {
                let mut line = String::new();
                requests.read_line(&mut line).await.unwrap();
                seen.push(serde_json::from_str::<Request>(&line).unwrap());
            }
            for request in seen.iter().rev() {
                let Probe::Ping(ping) = &request.probe else {
                    panic!()
                };
                answers
                    .write_all(answer(&request.id, &ping.host).as_bytes())
                    .await
                    .unwrap();
            }
            (requests, answers)
        });
        let hosts = ["a", "b", "c"];
        let responses = join_all(hosts.map(|host| session.ask(Probe::Ping(Ping::new(host))))).await;
        for (host, response) in hosts.iter().zip(responses) {
            assert_eq!(
                response.unwrap().outcome,
                Outcome::Error(Failure {
                    message: (*host).into()
                })
            );
        }
        drop(agent.await);
    }

    #[tokio::test]
    async fn a_dying_agent_tells_everybody_and_says_why() {
        let (session, requests, answers, mut complaints) = session();
        let question = session.ask(Probe::Ping(Ping::new("a")));
        let death = async {
            // More than any pipe holds: it must be read although nobody asks for it.
            complaints
                .write_all(format!("out of memory{}", " ".repeat(9000)).as_bytes())
                .await
                .unwrap();
            drop(complaints);
            drop(answers);
            drop(requests);
        };
        let (result, ()) = tokio::join!(question, death);
        assert_eq!(result, Err(Gone("exit code 1: out of memory".into())));
        assert!(session.is_gone());
        assert!(session.ask(Probe::Ping(Ping::new("b"))).await.is_err());
    }
}
