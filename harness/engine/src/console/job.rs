//! One command in a guest, from its first line to the last byte of its output.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::{
    collect::{Collected, Pieces},
    link::{Inbox, Link},
    marks::{Ended, Mark},
    shell,
    wire::Gone,
};

/// How long a program may take to end once it is interrupted, and once it is killed.
const AFTER_INTERRUPT: Duration = Duration::from_millis(1500);
const AFTER_KILL: Duration = Duration::from_secs(10);

/// Silence after which what was asked is asked again: guests print without pause or not at all.
const SILENCE: Duration = Duration::from_secs(3);

/// How often anything is asked again before the console is given up.
const ATTEMPTS: u32 = 12;

/// What to run.
#[derive(Clone, Debug)]
pub(super) struct Command {
    /// POSIX shell.
    pub script: String,
    pub stdin: Option<Vec<u8>>,
    pub timeout: Duration,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finished {
    pub code: i32,
    /// It still ran at its deadline and was ended.
    pub timed_out: bool,
    /// A program that it needs is not in the guest.
    pub missing: bool,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    /// There is more than is kept.
    pub truncated: bool,
    pub took: Duration,
}

/// Why a job cannot go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    /// The connection is gone; the job may go on with another one.
    Gone(Gone),
    /// The guest cannot be understood.
    Senseless(String),
}

impl From<Gone> for Broken {
    fn from(gone: Gone) -> Self {
        Self::Gone(gone)
    }
}

/// A command that has been handed out, across connections.
pub(super) struct Job {
    pub number: u64,
    command: Command,
    stage: Stage,
    questions: u32,
    /// It was handed out on the connection that is in use.
    here: bool,
}

#[derive(Debug)]
enum Stage {
    New,
    /// The start of the guest in which it runs, and since when; `None` while it waits for its turn.
    Runs {
        boot: String,
        since: Option<Instant>,
        killed: bool,
    },
    Over {
        boot: String,
        ended: Ended,
        took: Duration,
        killed: bool,
    },
}

impl Job {
    pub fn new(number: u64, command: Command) -> Self {
        Self {
            number,
            command,
            stage: Stage::New,
            questions: 0,
            here: false,
        }
    }

    /// Goes on where it is. Nothing is ever run twice.
    pub async fn pursue(&mut self, link: &Link) -> Result<Finished, Broken> {
        let mut inbox = link.listen(self.number);
        self.here = false;
        loop {
            match &self.stage {
                Stage::New => self.begin(link)?,
                // It waited for its turn in a guest that has been started anew since.
                Stage::Runs {
                    boot, since: None, ..
                } if *boot != link.hello.boot => self.stage = Stage::New,
                Stage::Runs { boot, .. } | Stage::Over { boot, .. } if *boot != link.hello.boot => {
                    return Err(Broken::Senseless(
                        "the guest was started anew while the command ran".into(),
                    ));
                }
                Stage::Runs { .. } => self.watch(link, &mut inbox).await?,
                Stage::Over {
                    ended,
                    took,
                    killed,
                    ..
                } => {
                    let (ended, took, timed_out) = (*ended, *took, *killed);
                    let collected = self.collect(link, &mut inbox, ended).await?;
                    let _ = link.say(format!("x {}\n", self.number));
                    return Ok(Finished {
                        code: ended.code,
                        timed_out,
                        missing: ended.missing,
                        stdout: collected.stdout,
                        stderr: collected.stderr,
                        truncated: collected.truncated,
                        took,
                    });
                }
            }
        }
    }

    fn begin(&mut self, link: &Link) -> Result<(), Gone> {
        let lines = shell::lines(&self.command.script, self.command.stdin.as_deref());
        link.say(format!("{lines}!{}\n", self.number))?;
        self.stage = Stage::Runs {
            boot: link.hello.boot.clone(),
            since: None,
            killed: false,
        };
        self.here = true;
        Ok(())
    }

    /// Until it is over, one way or another.
    async fn watch(&mut self, link: &Link, inbox: &mut Inbox) -> Result<(), Broken> {
        let Stage::Runs {
            boot,
            since,
            killed,
        } = &self.stage
        else {
            return Ok(());
        };
        let (boot, mut since, mut killed) = (boot.clone(), *since, *killed);
        let timeout = self.command.timeout;
        let mut question = self.question();
        if !self.here {
            // Its last word may have been said on the connection before this one.
            link.say(format!("s {question} {}\n", self.number))?;
        }
        let asked = Instant::now();
        let mut forceful = false;
        // The console may be busy with the output of another job; the deadline counts from the start.
        let mut wake = since.map_or(asked + SILENCE, |since| since + timeout);
        loop {
            tokio::select! {
                mark = inbox.next() => match mark? {
                    Mark::Done { ended, .. } => {
                        let took = since.unwrap_or(asked).elapsed();
                        self.stage = Stage::Over { boot, ended, took, killed };
                        return Ok(());
                    }
                    // The line that starts it never arrived.
                    Mark::Standing { question: asked, running: false } if asked == question && !killed => {
                        self.stage = Stage::New;
                        return Ok(());
                    }
                    Mark::Started { .. } | Mark::Standing { running: true, .. } if since.is_none() => {
                        let now = Instant::now();
                        since = Some(now);
                        wake = now + timeout;
                        self.stage = Stage::Runs { boot: boot.clone(), since, killed };
                    }
                    _ => {}
                },
                () = sleep_until(wake) => {
                    if since.is_none() {
                        let now = Instant::now();
                        if link.last_answered().max(asked) + 2 * SILENCE <= now {
                            return Err(Broken::Gone(link.give_up(
                                "nobody answers on it any more, as after a restart of the guest",
                            )));
                        }
                        // Nothing was said about it: the word may have been printed over.
                        let quiet = link.last_heard().max(asked) + SILENCE;
                        if quiet <= now {
                            question = self.question();
                            link.say(format!("s {question} {}\n", self.number))?;
                        }
                        wake = quiet.max(Instant::now() + SILENCE);
                        continue;
                    }
                    if forceful {
                        return Err(Broken::Senseless(
                            "the guest neither ends the command nor says anything about it".into(),
                        ));
                    }
                    let (signal, patience) = if killed {
                        forceful = true;
                        ("KILL", AFTER_KILL)
                    } else {
                        ("INT", AFTER_INTERRUPT)
                    };
                    killed = true;
                    self.stage = Stage::Runs { boot: boot.clone(), since, killed };
                    // The word that it is over may have been printed over; then this brings another one.
                    question = self.question();
                    let number = self.number;
                    link.say(format!("k {number} {signal}\ns {question} {number}\n"))?;
                    wake = Instant::now() + patience;
                }
            }
        }
    }

    /// Brings both streams over, asking again for what did not arrive as it was sent.
    async fn collect(
        &mut self,
        link: &Link,
        inbox: &mut Inbox,
        ended: Ended,
    ) -> Result<Collected, Broken> {
        if !ended.stdout && !ended.stderr {
            return Ok(Collected::default());
        }
        let mut pieces = Pieces::default();
        let (mut attempt, mut fruitless) = (0, 0);
        while fruitless < ATTEMPTS {
            let question = self.question();
            let Some(lines) = pieces.ask(&question, self.number, attempt) else {
                if let Ok(collected) = pieces.finish() {
                    return Ok(collected);
                }
                // The sums say that something arrived differently: all of it again.
                fruitless += 1;
                continue;
            };
            link.say(lines)?;
            let before = pieces.arrived();
            answers(link, inbox, &question, &mut pieces).await?;
            fruitless = if pieces.arrived() > before {
                0
            } else {
                fruitless + 1
            };
            attempt += u32::from(before > 0);
        }
        Err(Broken::Senseless(format!(
            "the output of a command does not arrive as it was sent, {ATTEMPTS} times in succession"
        )))
    }

    fn question(&mut self) -> String {
        self.questions += 1;
        format!("{}.{}", self.number, self.questions)
    }
}

/// Takes in the answers to a question, until its end or until nothing comes any more.
async fn answers(
    link: &Link,
    inbox: &mut Inbox,
    question: &str,
    pieces: &mut Pieces,
) -> Result<(), Gone> {
    let asked = Instant::now();
    loop {
        let quiet = link.last_heard().max(asked) + SILENCE;
        tokio::select! {
            mark = inbox.next() => match mark? {
                Mark::Piece { question: of, part, size, index, lines } if of == question => {
                    pieces.take(part, size, index, &lines);
                }
                Mark::End { question: of } if of == question => return Ok(()),
                _ => {}
            },
            () = sleep_until(quiet) => {
                if link.last_heard().max(asked) + SILENCE <= Instant::now() {
                    return Ok(());
                }
            }
        }
    }
}
