//! The kernel's log is the guest's: it reaches the console whatever else works.

use std::fs::OpenOptions;
use std::io::Write;

#[derive(Clone, Copy)]
enum Level {
    Emergency = 0,
    Error = 3,
    Info = 6,
}

fn write(level: Level, text: &str) {
    for line in text.lines() {
        let record = format!("<{}>init: {line}\n", level as u8);
        let written = OpenOptions::new()
            .write(true)
            .open("/dev/kmsg")
            .and_then(|mut log| log.write_all(record.as_bytes()));
        if written.is_err() {
            eprint!("init: {line}\r\n");
        }
    }
}

/// Not on a quiet console.
pub fn info(text: &str) {
    write(Level::Info, text);
}

/// Shown on the console.
pub fn error(text: &str) {
    write(Level::Error, text);
}

/// The kernel stops when process 1 ends; this line above its own words says why.
pub fn emergency(text: &str) {
    write(Level::Emergency, text);
}
