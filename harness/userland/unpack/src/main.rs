//! `trunkline-unpack DIRECTORY`: applies one layer of an image, an uncompressed tar archive on
//! standard input, to a directory.
//!
//! It is a process of its own for two reasons. It changes its root to the directory before it
//! reads the first byte, so that no path, link or symbolic link of the archive can lead anywhere
//! else. And an ordinary user starts it inside a user namespace, where files can get the owners
//! that the archive gives them.

mod layer;
mod write;

use std::io::{self, BufReader, Read};
use std::path::Path;
use std::process::ExitCode;

use crate::layer::Layer;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let [directory] = arguments.as_slice() else {
        eprintln!("usage: trunkline-unpack DIRECTORY < layer.tar");
        return ExitCode::from(2);
    };
    match unpack(Path::new(directory)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn unpack(directory: &Path) -> Result<(), String> {
    nix::unistd::chroot(directory)
        .and_then(|()| nix::unistd::chdir("/"))
        .map_err(|error| format!("cannot enter {}: {error}", directory.display()))?;
    // The archive decides about modes, not the umask of whoever started us.
    nix::sys::stat::umask(nix::sys::stat::Mode::empty());
    let mut input = BufReader::with_capacity(1 << 20, io::stdin().lock());
    Layer::default().apply(&mut input)?;
    // Padding behind the end mark; the writer at the other end should not see a closed pipe.
    io::copy(&mut input.by_ref(), &mut io::sink())
        .map(drop)
        .map_err(|error| format!("cannot read the archive: {error}"))
}
