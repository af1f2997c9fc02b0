//! The program's other names.

mod cloud_init;
mod machine;
mod shutdown;
mod systemctl;

use std::process::ExitCode;

use crate::control::{self, Request};
use crate::login;

pub fn run(arguments: Vec<String>) -> ExitCode {
    let mut arguments = arguments.into_iter();
    let called = arguments.next().unwrap_or_default();
    let name = called.rsplit('/').next().unwrap_or_default().to_owned();
    let rest: Vec<String> = arguments.collect();
    match name.as_str() {
        "login" => login::run(),
        "systemctl" => systemctl::run(&rest),
        "cloud-init" => cloud_init::run(&rest),
        "hostnamectl" => machine::hostnamectl(&rest),
        "timedatectl" => machine::timedatectl(),
        "shutdown" | "poweroff" | "reboot" | "halt" => shutdown::run(&name, &rest),
        "init" | "telinit" => shutdown::level(&rest),
        other => {
            eprintln!(
                "{other}: this program is process 1 of a guest, or one of systemctl, cloud-init, hostnamectl, timedatectl, shutdown, poweroff, reboot, halt"
            );
            ExitCode::from(2)
        }
    }
}

/// Passes a request on and shows the answer.
fn pass_on(name: &str, request: &Request) -> u8 {
    match control::ask(request) {
        Ok(reply) => {
            print!("{}", reply.out);
            eprint!("{}", reply.err);
            reply.exit
        }
        Err(error) => {
            eprintln!("{name}: process 1 does not answer: {error}");
            1
        }
    }
}
