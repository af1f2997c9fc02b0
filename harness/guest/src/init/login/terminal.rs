//! A terminal that somebody sits at.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::termios::{
    ControlFlags, InputFlags, LocalFlags, OutputFlags, SetArg, SpecialCharacterIndices, Termios,
    tcgetattr, tcsetattr,
};
use nix::unistd::{dup2_stderr, dup2_stdin, dup2_stdout};

use crate::sys;

/// Who has given a name gives the password soon, or goes.
const PATIENCE: Duration = Duration::from_secs(60);

/// A line, or nothing any more.
#[derive(Debug)]
pub enum Input {
    Line(String),
    End,
}

#[derive(Debug)]
pub struct Terminal {
    file: File,
}

impl Terminal {
    /// Opens it as this session's and as standard input, output and error.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        sys::take_terminal(file.as_fd())?;
        dup2_stdin(&file)?;
        dup2_stdout(&file)?;
        dup2_stderr(&file)?;
        let terminal = Self { file };
        let mut settings = tcgetattr(&terminal.file)?;
        sane(&mut settings);
        tcsetattr(&terminal.file, SetArg::TCSANOW, &settings)?;
        Ok(terminal)
    }

    pub fn file(&self) -> &File {
        &self.file
    }

    pub fn say(&self, text: &str) -> io::Result<()> {
        (&self.file).write_all(text.as_bytes())
    }

    /// A line, for as long as the patience lasts.
    pub fn line(&self, patience: Option<Duration>) -> io::Result<Input> {
        let deadline = patience.map(|patience| Instant::now() + patience);
        let mut line = Vec::new();
        loop {
            let timeout = deadline.map_or(PollTimeout::NONE, |deadline| {
                let left = deadline.saturating_duration_since(Instant::now());
                PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
            });
            let mut fds = [PollFd::new(self.file.as_fd(), PollFlags::POLLIN)];
            if poll(&mut fds, timeout)? == 0 {
                self.say("\nLogin timed out after 60 seconds.\n")?;
                return Err(io::Error::other("nobody typed a password"));
            }
            let mut buffer = [0; 256];
            match (&self.file).read(&mut buffer)? {
                0 => return Ok(Input::End),
                length => line.extend_from_slice(&buffer[..length]),
            }
            if line.ends_with(b"\n") {
                let text = String::from_utf8_lossy(&line);
                return Ok(Input::Line(text.trim_end_matches(['\r', '\n']).to_owned()));
            }
        }
    }

    /// A line that is not shown, also when it is typed the moment the prompt appears.
    pub fn secret(&self, prompt: &str) -> io::Result<String> {
        let before = tcgetattr(&self.file)?;
        let mut hidden = before.clone();
        hidden
            .local_flags
            .remove(LocalFlags::ECHO | LocalFlags::ECHONL);
        tcsetattr(&self.file, SetArg::TCSADRAIN, &hidden)?;
        let line = self.say(prompt).and_then(|()| self.line(Some(PATIENCE)));
        tcsetattr(&self.file, SetArg::TCSADRAIN, &before)?;
        self.say("\n")?;
        match line? {
            Input::Line(line) => Ok(line),
            Input::End => Err(io::Error::other("the line was closed")),
        }
    }
}

/// Whatever the last program left behind.
fn sane(settings: &mut Termios) {
    settings.input_flags = InputFlags::ICRNL
        | InputFlags::IXON
        | InputFlags::BRKINT
        | InputFlags::IMAXBEL
        | InputFlags::IUTF8;
    settings.output_flags = OutputFlags::OPOST | OutputFlags::ONLCR;
    // The speed stands among these: at the kernel's own choice an emulated line is slow to listen.
    let speed = ControlFlags::from_bits_retain(nix::libc::B115200);
    settings.control_flags = ControlFlags::CS8 | ControlFlags::CREAD | ControlFlags::CLOCAL | speed;
    settings.local_flags = LocalFlags::ISIG
        | LocalFlags::ICANON
        | LocalFlags::IEXTEN
        | LocalFlags::ECHO
        | LocalFlags::ECHOE
        | LocalFlags::ECHOK
        | LocalFlags::ECHOCTL
        | LocalFlags::ECHOKE;
    for (index, value) in [
        (SpecialCharacterIndices::VINTR, 3),
        (SpecialCharacterIndices::VQUIT, 28),
        (SpecialCharacterIndices::VERASE, 127),
        (SpecialCharacterIndices::VKILL, 21),
        (SpecialCharacterIndices::VEOF, 4),
        (SpecialCharacterIndices::VSTART, 17),
        (SpecialCharacterIndices::VSTOP, 19),
        (SpecialCharacterIndices::VSUSP, 26),
        (SpecialCharacterIndices::VREPRINT, 18),
        (SpecialCharacterIndices::VWERASE, 23),
        (SpecialCharacterIndices::VLNEXT, 22),
        (SpecialCharacterIndices::VEOL, 0),
        (SpecialCharacterIndices::VEOL2, 0),
        (SpecialCharacterIndices::VMIN, 1),
        (SpecialCharacterIndices::VTIME, 0),
    ] {
        settings.control_chars[index as usize] = value;
    }
}
