//! A conversation with the program in a guest: lines in, marks out, to whoever asked.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};
use tokio_util::task::AbortOnDropHandle;

use super::{
    marks::{Hello, Mark, Marks},
    wire::{Gone, Wire},
};

/// How long a guest may take to say good-bye.
const FAREWELL: Duration = Duration::from_millis(500);

/// A console on which the program answers. Dropping it closes the connection.
pub(super) struct Link {
    pub hello: Hello,
    lines: mpsc::UnboundedSender<String>,
    shared: Arc<Shared>,
    heard: watch::Receiver<Instant>,
    answered: watch::Receiver<Instant>,
    _tasks: [AbortOnDropHandle<()>; 2],
}

#[derive(Default)]
struct Shared(Mutex<State>);

#[derive(Default)]
struct State {
    /// By job.
    waiting: HashMap<u64, mpsc::UnboundedSender<Mark>>,
    gone: Option<Gone>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self, gone: Gone) {
        let mut state = self.state();
        state.gone.get_or_insert(gone);
        // Dropping the senders tells everybody who waits.
        state.waiting.clear();
    }
}

impl Link {
    /// `marks` is what came with the greeting and after it.
    pub fn new(wire: Wire, mut marks: Marks, hello: Hello) -> Self {
        let Wire {
            mut reader,
            mut writer,
        } = wire;
        let shared = Arc::new(Shared::default());
        let (lines, mut queue) = mpsc::unbounded_channel::<String>();
        let (ear, heard) = watch::channel(Instant::now());
        let (answer, answered) = watch::channel(Instant::now());

        let state = Arc::clone(&shared);
        let write = tokio::spawn(async move {
            while let Some(mut text) = queue.recv().await {
                // Everything that is waiting goes out at once: probes of one step share the way.
                while let Ok(more) = queue.try_recv() {
                    text.push_str(&more);
                }
                if let Err(gone) = writer.write(text).await {
                    state.close(gone);
                    break;
                }
            }
        });
        let state = Arc::clone(&shared);
        let read = tokio::spawn(async move {
            loop {
                match reader.read().await {
                    Ok(text) => {
                        ear.send_replace(Instant::now());
                        for mark in marks.feed(&text) {
                            answer.send_replace(Instant::now());
                            let Some(job) = mark.job() else { continue };
                            let waiting = state.state().waiting.get(&job).cloned();
                            if let Some(waiting) = waiting {
                                let _ = waiting.send(mark);
                            }
                        }
                        if marks.ended() {
                            state.close(Gone(
                                "the guest asks for a login again, as after a restart".into(),
                            ));
                            break;
                        }
                    }
                    Err(gone) => {
                        state.close(gone);
                        break;
                    }
                }
            }
        });
        Self {
            hello,
            lines,
            shared,
            heard,
            answered,
            _tasks: [write, read].map(AbortOnDropHandle::new),
        }
    }

    /// Sends whole lines.
    pub fn say(&self, lines: String) -> Result<(), Gone> {
        if let Some(gone) = &self.shared.state().gone {
            return Err(gone.clone());
        }
        self.lines.send(lines).map_err(|_| self.reason())
    }

    /// Everything that is said about a job from now on.
    pub fn listen(&self, job: u64) -> Inbox {
        let (sender, marks) = mpsc::unbounded_channel();
        let mut state = self.shared.state();
        if state.gone.is_none() {
            state.waiting.insert(job, sender);
        }
        drop(state);
        Inbox {
            job,
            marks,
            shared: Arc::clone(&self.shared),
        }
    }

    /// Ends the program, and waits a moment for the prompt of the shell below it.
    pub async fn leave(&self) {
        let mut heard = self.heard.clone();
        heard.mark_unchanged();
        if self.say("q\n".into()).is_ok() {
            // A guest that is busy or gone is left as it is.
            let _ = tokio::time::timeout(FAREWELL, heard.changed()).await;
        }
    }

    pub fn is_gone(&self) -> bool {
        self.shared.state().gone.is_some()
    }

    /// When anything at all was last heard.
    pub fn last_heard(&self) -> Instant {
        *self.heard.borrow()
    }

    /// When the program last said anything.
    pub fn last_answered(&self) -> Instant {
        *self.answered.borrow()
    }

    /// Gives the connection up: nobody answers on it.
    pub fn give_up(&self, why: &str) -> Gone {
        let gone = Gone(why.to_owned());
        self.shared.close(gone.clone());
        gone
    }

    fn reason(&self) -> Gone {
        let gone = self.shared.state().gone.clone();
        gone.unwrap_or_else(|| Gone("the connection ended".into()))
    }
}

/// What is said about one job.
pub(super) struct Inbox {
    job: u64,
    marks: mpsc::UnboundedReceiver<Mark>,
    shared: Arc<Shared>,
}

impl Inbox {
    pub async fn next(&mut self) -> Result<Mark, Gone> {
        match self.marks.recv().await {
            Some(mark) => Ok(mark),
            None => Err(self
                .shared
                .state()
                .gone
                .clone()
                .unwrap_or_else(|| Gone("the connection ended".into()))),
        }
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        self.shared.state().waiting.remove(&self.job);
    }
}
