//! Layers of images, unpacked and packed.
//!
//! - `trunkline-unpack DIRECTORY` applies one layer, an uncompressed tar archive on standard input,
//!   to a directory.
//! - `trunkline-unpack --pack DIRECTORY` writes a directory as a compressed layer to standard
//!   output, and the digest of the archive inside to standard error.
//!
//! It is a process of its own for three reasons. It changes its root to the directory before it
//! reads the first byte of a layer, so that no path, link or symbolic link of the archive can lead
//! anywhere else. An ordinary user starts it inside a user namespace, where files can have the
//! owners that the archive gives them. And it is optimised even where trunkline itself is not.

mod layer;
mod pack;
mod write;

use std::io::{self, BufReader, BufWriter, Read};
use std::path::Path;
use std::process::ExitCode;

use crate::layer::Layer;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let done = match arguments.as_slice() {
        [flag, directory] if flag == "--pack" => pack(Path::new(directory)),
        [directory] => unpack(Path::new(directory)),
        _ => {
            eprintln!("usage: trunkline-unpack DIRECTORY < layer.tar");
            eprintln!("       trunkline-unpack --pack DIRECTORY > layer.tar.gz");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn pack(directory: &Path) -> Result<(), String> {
    let out = BufWriter::with_capacity(1 << 18, io::stdout().lock());
    let diff_id = pack::directory(directory, out)?;
    eprintln!("{diff_id}");
    Ok(())
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
