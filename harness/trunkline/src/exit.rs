//! Exit codes: one meaning each, documented in `--help` and the guide.

/// How the program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Exit {
    /// Everything that ran passed.
    Ok = 0,
    /// A scenario failed: the answer was not the expected one.
    Failed = 1,
    /// The command line is wrong (clap uses the same number).
    Usage = 2,
    /// A scenario file or a manifest is wrong; nothing was started.
    Invalid = 3,
    /// The environment broke before the scenario could be judged.
    Broken = 4,
    /// Nothing ran: nothing was selected, or everything was skipped.
    NothingRan = 5,
    /// This machine lacks something the lab needs.
    Host = 6,
    /// A root file system or an image could not be provided.
    Userland = 7,
    /// Ctrl-C or a termination signal.
    Interrupted = 130,
}

impl Exit {
    /// Of another trunkline process.
    pub fn from_code(code: u8) -> Self {
        [
            Self::Ok,
            Self::Failed,
            Self::Usage,
            Self::Invalid,
            Self::NothingRan,
            Self::Host,
            Self::Userland,
            Self::Interrupted,
        ]
        .into_iter()
        .find(|exit| *exit as u8 == code)
        .unwrap_or(Self::Broken)
    }
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// An error that knows how the program ends because of it.
#[derive(Debug)]
pub struct Failure {
    pub exit: Exit,
    pub report: anyhow::Error,
}

impl Failure {
    pub fn new(exit: Exit, report: impl Into<anyhow::Error>) -> Self {
        Self {
            exit,
            report: report.into(),
        }
    }
}

/// Gives any error its exit code where it is known.
pub trait OrExit<T> {
    fn or_exit(self, exit: Exit) -> Result<T, Failure>;
}

impl<T, E: Into<anyhow::Error>> OrExit<T> for Result<T, E> {
    fn or_exit(self, exit: Exit) -> Result<T, Failure> {
        self.map_err(|error| Failure::new(exit, error))
    }
}
