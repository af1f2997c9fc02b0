//! The real agent, built once.

use std::{path::PathBuf, process::Command, sync::OnceLock};

/// The program as cargo built it for this machine.
pub fn path() -> PathBuf {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        let build = [
            "build",
            "--quiet",
            "--package",
            "trunkline-guest",
            "--bin",
            "trunkline-agent",
            "--message-format=json",
        ];
        let output = Command::new(env!("CARGO"))
            .args(build)
            .output()
            .expect("cargo runs");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let messages = String::from_utf8(output.stdout).unwrap();
        let executable = messages.lines().find_map(|line| {
            let message: serde_json::Value = serde_json::from_str(line).ok()?;
            message["executable"].as_str().map(PathBuf::from)
        });
        executable.expect("cargo names the program")
    })
    .clone()
}
