//! Who is logged in, for those who ask: `who`, and the guest agent.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::time::{SystemTime, UNIX_EPOCH};

const PATH: &str = "/run/utmp";
const LINE: &str = "ttyS0";

/// The one line's record. There is only one line, so there is only one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    kind: i16,
    pid: u32,
    user: String,
    seconds: u32,
    micros: u32,
}

impl Entry {
    fn now(kind: i16, user: &str) -> Self {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Self {
            kind,
            pid: std::process::id(),
            user: user.to_owned(),
            seconds: u32::try_from(now.as_secs()).unwrap_or_default(),
            micros: now.subsec_micros(),
        }
    }

    pub fn login(user: &str) -> Self {
        const USER_PROCESS: i16 = 7;
        Self::now(USER_PROCESS, user)
    }

    pub fn logout() -> Self {
        const DEAD_PROCESS: i16 = 8;
        Self::now(DEAD_PROCESS, "")
    }

    /// `struct utmp` of a 64-bit glibc.
    fn bytes(&self) -> [u8; 384] {
        let mut bytes = [0; 384];
        let mut put = |at: usize, length: usize, data: &[u8]| {
            let length = data.len().min(length);
            bytes[at..at + length].copy_from_slice(&data[..length]);
        };
        put(0, 2, &self.kind.to_ne_bytes());
        put(4, 4, &self.pid.to_ne_bytes());
        put(8, 32, LINE.as_bytes());
        put(40, 4, b"S0");
        put(44, 32, self.user.as_bytes());
        put(340, 4, &self.seconds.to_ne_bytes());
        put(344, 4, &self.micros.to_ne_bytes());
        bytes
    }
}

pub fn write(entry: &Entry) -> io::Result<()> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .open(PATH)?
        .write_all(&entry.bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_of_who_is_there() {
        let entry = Entry {
            kind: 7,
            pid: 0x0102,
            user: "fedora".to_owned(),
            seconds: 5,
            micros: 6,
        };
        let bytes = entry.bytes();
        assert_eq!(bytes[..2], [7, 0]);
        assert_eq!(bytes[4..8], [2, 1, 0, 0]);
        assert_eq!(&bytes[8..14], b"ttyS0\0");
        assert_eq!(&bytes[44..51], b"fedora\0");
        assert_eq!(bytes[340..348], [5, 0, 0, 0, 6, 0, 0, 0]);
        let long = Entry {
            user: "x".repeat(99),
            ..entry
        };
        assert_eq!(long.bytes()[76], 0);
    }
}
