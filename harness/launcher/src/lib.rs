//! What virt-handler and the first process of a virt-launcher pod say to each other.
//!
//! The launcher listens on [`SOCKET`]; the handler connects once. Both send one JSON document per line. Open files
//! travel beside the line that names them. When the handler goes away, QEMU is killed: nobody could manage it.

use serde::{Deserialize, Serialize};

/// Below the directory that `--kubevirt-share-dir` names.
pub const SOCKET: &str = "sockets/launcher-sock";

/// Where the numbers of QEMU's open files begin and, exclusively, end.
pub const FILES: std::ops::Range<i32> = 100..300;

/// From the handler.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Start QEMU, once. Answered by [`Report::Started`] or [`Report::Refused`].
    Start {
        /// The program, by its path, and its arguments.
        command: Vec<String>,
        /// The numbers, within [`FILES`], that the open files sent along have in QEMU; in their order.
        files: Vec<i32>,
    },
    /// Kill QEMU, at once.
    Kill,
}

/// From the launcher.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Report {
    Started {
        /// Of QEMU, in the pod.
        pid: u32,
    },
    /// There is no QEMU.
    Refused { reason: String },
    /// The pod is asked to end: the guest should be shut down.
    Terminating,
    /// The launcher stays until the handler hangs up.
    Ended(Exit),
}

/// How QEMU ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// None if a signal ended it.
    pub code: Option<i32>,
    pub signal: Option<i32>,
    /// The last of what it wrote to its standard error.
    pub stderr: String,
}

/// A message as it is sent, its line end included.
pub fn encode<T: Serialize>(message: &T) -> serde_json::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    Ok(line)
}

/// Bytes of a stream, cut into lines.
#[derive(Debug, Default)]
pub struct Lines(Vec<u8>);

impl Lines {
    pub fn push(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// The next whole message.
    pub fn take<T: serde::de::DeserializeOwned>(&mut self) -> Option<serde_json::Result<T>> {
        let end = self.0.iter().position(|byte| *byte == b'\n')?;
        let line: Vec<u8> = self.0.drain(..=end).collect();
        Some(serde_json::from_slice(&line))
    }
}

#[cfg(test)]
mod tests {
    use super::{Exit, Lines, Order, Report, encode};

    #[test]
    fn lines_are_put_together_whatever_way_they_arrive() {
        let order = Order::Start {
            command: vec!["/usr/bin/true".to_owned(), "a\nb".to_owned()],
            files: vec![100, 101],
        };
        let mut bytes = encode(&order).unwrap();
        bytes.extend(encode(&Order::Kill).unwrap());
        let mut lines = Lines::default();
        let mut seen = Vec::new();
        for byte in bytes {
            lines.push(&[byte]);
            while let Some(message) = lines.take::<Order>() {
                seen.push(message.unwrap());
            }
        }
        assert_eq!(seen, [order, Order::Kill]);
    }

    #[test]
    fn what_is_no_message_is_an_error() {
        let mut lines = Lines::default();
        lines.push(b"{\"start\":{}}\n");
        assert!(lines.take::<Order>().unwrap().is_err());
        assert!(lines.take::<Order>().is_none());
    }

    #[test]
    fn reports_are_short() {
        let ended = Report::Ended(Exit {
            code: None,
            signal: Some(9),
            stderr: String::new(),
        });
        let line = String::from_utf8(encode(&ended).unwrap()).unwrap();
        assert_eq!(
            line,
            "{\"ended\":{\"code\":null,\"signal\":9,\"stderr\":\"\"}}\n"
        );
        assert_eq!(
            String::from_utf8(encode(&Report::Terminating).unwrap()).unwrap(),
            "\"terminating\"\n"
        );
    }
}
