//! The real program, driven through its protocol.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use trunkline_guest::protocol::{Outcome, Probe, Request, Response};

pub const AGENT: &str = env!("CARGO_BIN_EXE_trunkline-agent");

pub struct Agent {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl Agent {
    #[allow(dead_code)] // one of the two test programs starts it otherwise
    pub fn start() -> Self {
        Self::from(Command::new(AGENT))
    }

    pub fn from(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Self {
            stdin: child.stdin.take(),
            stdout: BufReader::new(child.stdout.take().unwrap()),
            child,
        }
    }

    pub fn send(&mut self, id: &str, probe: Probe) {
        let request = Request {
            id: id.to_owned(),
            probe,
        };
        self.send_line(&serde_json::to_string(&request).unwrap());
    }

    pub fn send_line(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().unwrap();
        writeln!(stdin, "{line}").unwrap();
        stdin.flush().unwrap();
    }

    pub fn receive(&mut self) -> Response {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
    }

    #[allow(dead_code)]
    pub fn ask(&mut self, probe: Probe) -> Outcome {
        self.send("only", probe);
        let response = self.receive();
        assert_eq!(response.id, "only");
        response.outcome
    }

    /// All at once; answers by name.
    #[allow(dead_code)]
    pub fn ask_all(&mut self, probes: Vec<(&str, Probe)>) -> HashMap<String, Outcome> {
        let count = probes.len();
        for (name, probe) in probes {
            self.send(name, probe);
        }
        (0..count)
            .map(|_| self.receive())
            .map(|response| (response.id, response.outcome))
            .collect()
    }

    /// Closes the input; whether the program ended well.
    #[allow(dead_code)]
    pub fn end(mut self) -> bool {
        drop(self.stdin.take());
        self.child.wait().unwrap().success()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        drop(self.stdin.take());
        let _gone = self.child.kill();
        let _status = self.child.wait();
    }
}
