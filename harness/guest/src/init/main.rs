//! The guest's process 1, and the few programs of an ordinary distribution that talk to it.
//!
//! One static program with many names. As process 1 it boots the guest ([`boot`]), makes it a
//! machine of its own from what the NoCloud disk says ([`cloud`]), and looks after it
//! ([`supervisor`]). Under the names `systemctl`, `cloud-init`, `shutdown` and so on it asks
//! process 1 for what those ask for. Whatever process 1 can do itself it does without starting
//! anything: under software emulation, starting a program costs more than all the rest.

mod account;
mod applets;
mod boot;
mod clock;
mod cloud;
mod control;
mod crypt;
mod environment;
mod iso9660;
mod log;
mod login;
mod net;
mod port;
mod power;
mod services;
mod supervisor;
mod sys;

use std::process::ExitCode;

/// Where the program is found once the initial ramdisk is gone.
const PROGRAM: &str = "/run/trunkline/init";

fn main() -> ExitCode {
    if std::process::id() == 1 {
        return supervisor::run();
    }
    applets::run(std::env::args().collect())
}
