//! The first process of a virt-launcher pod: starts QEMU with the open files it is given, tells how it ends, and
//! passes on that the pod is to end. It may do nothing: no capabilities, no devices, no mounts.

mod arguments;
mod connection;
mod process;
mod supervisor;
mod system;

use std::process::ExitCode;

use arguments::Arguments;
use supervisor::Supervisor;

fn main() -> ExitCode {
    let run = || -> Result<(), String> {
        let arguments = Arguments::parse(std::env::args().skip(1))?;
        Supervisor::listen(&arguments.socket)?.run()
    };
    match run() {
        // However the machine ended: that is told in the machine's own status.
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("virt-launcher: {message}");
            ExitCode::FAILURE
        }
    }
}
