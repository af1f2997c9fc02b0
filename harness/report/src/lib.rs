//! Reports: consumers of a run's event stream, and nothing else. Each is independent of the others; [`Reports`] hands
//! every event to all of them.

mod json_lines;
mod junit;
mod markdown;
pub mod parity;
mod record;
mod tally;
mod terminal;

use std::{
    fmt,
    fs::{File, OpenOptions},
    io::{self, BufWriter, IsTerminal as _, Write},
    path::{Path, PathBuf},
};

use trunkline_engine::events::{Event, EventReceiver};

pub use json_lines::JsonLines;
pub use junit::Junit;
pub use markdown::Markdown;
pub use record::{Attempt, CaseRecord, ProbeRecord, RunRecord, StepRecord};
pub use tally::{Tally, TallyCounts};
pub use terminal::{Live, Palette, Plain, Volume};

/// Takes events one by one, in their order.
pub trait Consumer: Send {
    fn event(&mut self, event: &Event) -> Result<(), ReportError>;

    /// Nothing more will come.
    fn finish(&mut self) -> Result<(), ReportError> {
        Ok(())
    }
}

/// A report could not be written.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    #[error("the report {} cannot be written: {source}", path.display())]
    File {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the terminal cannot be written to: {0}")]
    Terminal(#[source] io::Error),
    #[error("the report {} cannot be put into its format: {message}", path.display())]
    Format { path: PathBuf, message: String },
}

impl ReportError {
    /// Whether whoever read the output has gone away, as `head` does.
    pub fn is_broken_pipe(&self) -> bool {
        let (Self::File { source, .. } | Self::Terminal(source)) = self else {
            return false;
        };
        source.kind() == io::ErrorKind::BrokenPipe
    }
}

/// What goes to standard output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Terminal {
    /// Live progress on a terminal, plain lines elsewhere.
    #[default]
    Auto,
    /// Plain lines everywhere.
    Plain,
    /// Failures and the closing line.
    Quiet,
    /// Nothing.
    Off,
}

/// Which reports to write.
#[derive(Clone, Debug, Default)]
pub struct ReportOptions {
    pub terminal: Terminal,
    /// Also tell about every object, capture and wait.
    pub verbose: bool,
    pub junit: Option<PathBuf>,
    /// A summary in Markdown, added to what the file has.
    pub markdown: Option<PathBuf>,
    /// The event stream itself.
    pub json_lines: Option<PathBuf>,
}

/// All reports of a run.
pub struct Reports {
    consumers: Vec<Box<dyn Consumer>>,
    tally: Tally,
    /// The first thing that went wrong; the run itself is not stopped by a report.
    error: Option<ReportError>,
}

impl fmt::Debug for Reports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reports")
            .field("consumers", &self.consumers.len())
            .field("tally", &self.tally)
            .finish_non_exhaustive()
    }
}

impl Reports {
    /// Opens every report. Files are created now: a path that cannot be written is an error before the run, not after.
    pub fn new(options: &ReportOptions) -> Result<Self, ReportError> {
        let mut consumers: Vec<Box<dyn Consumer>> = Vec::new();
        if let Some(path) = &options.json_lines {
            consumers.push(Box::new(JsonLines::new(
                path,
                BufWriter::new(create(path)?),
            )));
        }
        if let Some(path) = &options.junit {
            consumers.push(Box::new(Junit::new(path, create(path)?)));
        }
        if let Some(path) = &options.markdown {
            consumers.push(Box::new(Markdown::new(path, append(path)?)));
        }
        let stdout = io::stdout();
        let colour = anstream::AutoStream::choice(&stdout) != anstream::ColorChoice::Never;
        let palette = if colour {
            Palette::coloured()
        } else {
            Palette::plain()
        };
        let volume = match (options.terminal, options.verbose) {
            (Terminal::Quiet, _) => Volume::Quiet,
            (_, true) => Volume::Verbose,
            (_, false) => Volume::Normal,
        };
        match options.terminal {
            Terminal::Off => {}
            Terminal::Auto if stdout.is_terminal() => {
                consumers.push(Box::new(Live::new(palette, volume)));
            }
            Terminal::Auto | Terminal::Plain | Terminal::Quiet => {
                consumers.push(Box::new(Plain::new(stdout, palette, volume)));
            }
        }
        Ok(Self::of(consumers))
    }

    /// Reports of one's own choice.
    pub fn of(consumers: Vec<Box<dyn Consumer>>) -> Self {
        Self {
            consumers,
            tally: Tally::default(),
            error: None,
        }
    }

    pub fn add(&mut self, consumer: Box<dyn Consumer>) {
        self.consumers.push(consumer);
    }

    /// Hands an event to every report.
    pub fn event(&mut self, event: &Event) {
        self.tally.event(event);
        for consumer in &mut self.consumers {
            if let Err(error) = consumer.event(event) {
                self.error.get_or_insert(error);
            }
        }
    }

    /// Closes every report; the counts of the run, or the first error of a report.
    pub fn finish(mut self) -> Result<Tally, ReportError> {
        for consumer in &mut self.consumers {
            if let Err(error) = consumer.finish() {
                self.error.get_or_insert(error);
            }
        }
        match self.error {
            Some(error) => Err(error),
            None => Ok(self.tally),
        }
    }

    /// Consumes a stream until every sender of it is gone.
    pub async fn drain(mut self, mut events: EventReceiver) -> Result<Tally, ReportError> {
        while let Some(event) = events.recv().await {
            self.event(&event);
        }
        self.finish()
    }
}

fn create(path: &Path) -> Result<File, ReportError> {
    open(path, OpenOptions::new().write(true).truncate(true))
}

/// For a file that others write to as well.
fn append(path: &Path) -> Result<File, ReportError> {
    open(path, OpenOptions::new().append(true))
}

fn open(path: &Path, how: &mut OpenOptions) -> Result<File, ReportError> {
    let failed = |source| ReportError::File {
        path: path.to_owned(),
        source,
    };
    if let Some(folder) = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
    {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    how.create(true).open(path).map_err(failed)
}

/// Writes all of it, or says which file it was.
fn write_all(path: &Path, writer: &mut impl Write, bytes: &[u8]) -> Result<(), ReportError> {
    let written = writer.write_all(bytes).and_then(|()| writer.flush());
    written.map_err(|source| ReportError::File {
        path: path.to_owned(),
        source,
    })
}
