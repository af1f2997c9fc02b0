//! `hostnamectl` and `timedatectl`: what is asked for most.

use std::fs;
use std::process::ExitCode;

use crate::{clock, environment};

pub fn hostnamectl(arguments: &[String]) -> ExitCode {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        [] | ["status"] => {
            print!("{}", description());
            ExitCode::SUCCESS
        }
        ["hostname" | "--static"] => {
            println!("{}", environment::host_name());
            ExitCode::SUCCESS
        }
        ["set-hostname" | "hostname", name] => match environment::set_host_name(name) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("Could not set hostname: {error}");
                ExitCode::FAILURE
            }
        },
        _ => {
            eprintln!("hostnamectl: only status, hostname and set-hostname NAME are known here");
            ExitCode::FAILURE
        }
    }
}

fn description() -> String {
    let read = |path: &str| {
        fs::read_to_string(path)
            .unwrap_or_default()
            .trim()
            .to_owned()
    };
    let release = read("/etc/os-release");
    let system = release
        .lines()
        .find_map(|line| line.strip_prefix("PRETTY_NAME="))
        .unwrap_or("Linux")
        .trim_matches('"')
        .to_owned();
    format!(
        " Static hostname: {}\n      Machine ID: {}\n         Boot ID: {}\nOperating System: {system}\n          Kernel: Linux {}\n    Architecture: {}\n",
        environment::host_name(),
        read("/etc/machine-id"),
        read("/proc/sys/kernel/random/boot_id").replace('-', ""),
        read("/proc/sys/kernel/osrelease"),
        std::env::consts::ARCH.replace('_', "-"),
    )
}

pub fn timedatectl() -> ExitCode {
    let zone = fs::read_to_string("/etc/timezone").unwrap_or_else(|_| "UTC".to_owned());
    println!("  Universal time: {} UTC", clock::Utc::now().ctime());
    println!("       Time zone: {}", zone.trim());
    ExitCode::SUCCESS
}
