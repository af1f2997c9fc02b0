//! Standard output, whose reader may have had enough.

use std::{
    fmt::Display,
    io::{ErrorKind, Write},
};

use crate::exit::{Exit, Failure, OrExit};

/// Prints a line. That nobody reads any further, as before `head`, is no error.
pub fn line(text: impl Display) -> Result<(), Failure> {
    match writeln!(anstream::stdout().lock(), "{text}") {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written.or_exit(Exit::Broken),
    }
}
