//! From a connected console to a shell program that answers: knocking, logging in, starting it.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use trunkline_scenario::model::Login;

use super::{
    marks::{Hello, Mark, Marks},
    prompt::{self, Waits},
    shell::{Nonce, first_line, program},
    wire::{Gone, Wire},
};

/// A prompt that was printed over is brought back by pressing Enter; how long a console must be quiet before that, at
/// first and at most.
const QUIET: Duration = Duration::from_millis(400);
const LONG_QUIET: Duration = Duration::from_secs(2);

/// A console that is never quiet is knocked at all the same.
const IMPATIENCE: Duration = Duration::from_secs(8);

/// A guest checks passwords slowly on purpose, and more slowly while it boots.
const CHECKING: Duration = Duration::from_secs(20);

/// Before the second attempt: cloud-init may not have set the password yet.
const SECOND_CHANCE: Duration = Duration::from_secs(3);

/// How much of the screen is looked at.
const SCREEN: usize = 8 * 1024;

/// Why nobody is logged in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NotIn {
    Gone(Gone),
    /// The guest refuses the user, in these words.
    Refused(&'static str),
    /// The guest wants another password before it lets anybody in.
    Expired,
    /// A guest without what the program needs.
    Lacks(Vec<String>),
    /// The deadline.
    TooLate {
        waiting_for: &'static str,
    },
}

impl From<Gone> for NotIn {
    fn from(gone: Gone) -> Self {
        Self::Gone(gone)
    }
}

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Knocked,
    UserTyped,
    PasswordTyped,
    /// The first line was typed.
    ShellStarted,
    /// The program was sent.
    ProgramSent,
}

impl Stage {
    fn waiting_for(self) -> &'static str {
        match self {
            Self::Knocked => "a login prompt or a shell",
            Self::UserTyped => "the question for the password",
            Self::PasswordTyped => "a shell after the login",
            Self::ShellStarted | Self::ProgramSent => "the shell to answer",
        }
    }
}

/// Everything agreed with the guest.
pub(super) struct Agreed {
    pub wire: Wire,
    pub marks: Marks,
    pub hello: Hello,
}

/// Gets a shell program to answer on this console, as `login`, until `deadline`.
pub(super) async fn log_in(
    wire: Wire,
    login: &Login,
    nonce: &Nonce,
    deadline: Instant,
) -> Result<Agreed, NotIn> {
    let mut dialogue = Dialogue {
        wire,
        marks: Marks::new(nonce.as_str()),
        login,
        nonce,
        screen: String::new(),
        stage: Stage::Knocked,
        since: Instant::now(),
        knocks: 0,
        refusals: 0,
        sent_away: false,
        leaving: false,
    };
    // An answer to the empty line is the program's of an earlier connection, a prompt, or nothing yet.
    dialogue.press_enter().await?;
    let hello = dialogue.hold(deadline).await?;
    if !hello.missing.is_empty() {
        return Err(NotIn::Lacks(hello.missing));
    }
    Ok(Agreed {
        wire: dialogue.wire,
        marks: dialogue.marks,
        hello,
    })
}

struct Dialogue<'a> {
    wire: Wire,
    marks: Marks,
    login: &'a Login,
    nonce: &'a Nonce,
    /// What was shown since something was last typed.
    screen: String,
    stage: Stage,
    /// When something was last typed.
    since: Instant,
    knocks: u32,
    refusals: u32,
    /// Somebody else was logged in and was sent away.
    sent_away: bool,
    /// A shell that is about to end still shows its prompt.
    leaving: bool,
}

impl Dialogue<'_> {
    async fn hold(&mut self, deadline: Instant) -> Result<Hello, NotIn> {
        loop {
            let waiting_for = self.stage.waiting_for();
            if Instant::now() >= deadline {
                return Err(NotIn::TooLate { waiting_for });
            }
            let quiet = QUIET
                .saturating_mul(2_u32.saturating_pow(self.knocks.min(8)))
                .min(LONG_QUIET);
            let quiet = (Instant::now() + quiet).min(deadline);
            match timeout_at(quiet, self.wire.reader.read()).await {
                Ok(text) => {
                    let text = text?;
                    self.show(&text);
                    for mark in self.marks.feed(&text) {
                        if let Some(hello) = self.said(mark).await? {
                            return Ok(hello);
                        }
                    }
                    self.react().await?;
                }
                Err(_) => self.idle().await?,
            }
            if self.stage == Stage::Knocked && self.since.elapsed() > IMPATIENCE {
                self.press_enter().await?;
            }
        }
    }

    async fn said(&mut self, mark: Mark) -> Result<Option<Hello>, NotIn> {
        match mark {
            Mark::Ready if self.stage != Stage::ProgramSent => {
                self.type_in(program(self.nonce), Stage::ProgramSent)
                    .await?;
                Ok(None)
            }
            Mark::Hello(hello) => {
                let stranger = !hello.user.is_empty() && hello.user != self.login.user;
                if stranger && !self.sent_away {
                    // Somebody left the console logged in: what a scenario says must not depend on that.
                    self.sent_away = true;
                    self.leaving = true;
                    self.type_in("q\n".into(), Stage::Knocked).await?;
                    self.type_in("exit\r".into(), Stage::Knocked).await?;
                    return Ok(None);
                }
                Ok(Some(hello))
            }
            _ => Ok(None),
        }
    }

    /// Looks at what is on the screen after something new came.
    async fn react(&mut self) -> Result<(), NotIn> {
        if matches!(self.stage, Stage::UserTyped | Stage::PasswordTyped)
            && let Some(words) = prompt::refused(&self.screen)
        {
            self.refusals += 1;
            if self.refusals > 1 {
                return Err(NotIn::Refused(words));
            }
            tokio::time::sleep(SECOND_CHANCE).await;
            return Ok(self.press_enter().await?);
        }
        match (self.stage, prompt::waits(&self.screen)) {
            (Stage::Knocked | Stage::PasswordTyped, Some(Waits::User)) => {
                self.leaving = false;
                let user = format!("{}\r", self.login.user);
                self.type_in(user, Stage::UserTyped).await?;
            }
            (Stage::UserTyped, Some(Waits::Password)) => self.type_password().await?,
            // Somebody typed a user and left.
            (Stage::Knocked, Some(Waits::Password)) => self.press_enter().await?,
            (Stage::UserTyped | Stage::PasswordTyped, Some(Waits::NewPassword)) => {
                return Err(NotIn::Expired);
            }
            (Stage::Knocked | Stage::UserTyped | Stage::PasswordTyped, Some(Waits::Command))
                if !self.leaving =>
            {
                let line = first_line(self.nonce);
                self.type_in(line, Stage::ShellStarted).await?;
            }
            (Stage::Knocked, None) if prompt::is_program(&self.screen) => {
                // Left over from a run that could not clear up.
                self.type_in("q\n".into(), Stage::Knocked).await?;
            }
            _ => {}
        }
        Ok(())
    }

    /// Nothing came for a while.
    async fn idle(&mut self) -> Result<(), Gone> {
        match self.stage {
            Stage::Knocked => self.knock().await,
            Stage::UserTyped if prompt::asked_for_password(&self.screen) => {
                self.type_password().await
            }
            // A prompt below noise, or one that does not look like one.
            Stage::PasswordTyped if self.since.elapsed() > LONG_QUIET => {
                self.wire.writer.write("\r").await?;
                if self.since.elapsed() > CHECKING {
                    self.knock().await?;
                }
                Ok(())
            }
            // The guest forgot what was typed: it was started anew, or somebody else typed too.
            Stage::UserTyped | Stage::ShellStarted | Stage::ProgramSent
                if self.since.elapsed() > CHECKING =>
            {
                self.knock().await
            }
            _ => Ok(()),
        }
    }

    async fn knock(&mut self) -> Result<(), Gone> {
        self.knocks += 1;
        self.leaving &= self.knocks < 3;
        // Something runs in the foreground: interrupt it.
        if self.knocks.is_multiple_of(4) {
            self.wire.writer.write("\x03").await?;
        }
        self.press_enter().await
    }

    async fn press_enter(&mut self) -> Result<(), Gone> {
        self.type_in("\r".into(), Stage::Knocked).await
    }

    async fn type_password(&mut self) -> Result<(), Gone> {
        let password = format!("{}\r", self.login.password);
        self.type_in(password, Stage::PasswordTyped).await
    }

    async fn type_in(&mut self, text: String, stage: Stage) -> Result<(), Gone> {
        self.screen.clear();
        self.stage = stage;
        self.since = Instant::now();
        self.wire.writer.write(text).await
    }

    fn show(&mut self, text: &[u8]) {
        self.screen.push_str(&String::from_utf8_lossy(text));
        if self.screen.len() > SCREEN {
            let mut cut = self.screen.len() - SCREEN / 2;
            while !self.screen.is_char_boundary(cut) {
                cut += 1;
            }
            self.screen.drain(..cut);
        }
    }
}
