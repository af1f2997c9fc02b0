//! The lines exchanged with a guest's init over the virtio port [`PORT`].
//!
//! ```text
//! guest → {"ready":{"version":1}}
//! host  → {"go":{"epoch_ns":1795291200000000000,"seed":"00…","nics":2,"disks":1}}
//! guest → {"up":{"after_ms":83}}
//! ```
//!
//! A guest says `ready` and waits only when it was booted to become a template, which the word
//! [`TEMPLATE`] on the kernel's command line says. Everything that must not be the same in two
//! machines restored from one template comes with `go` or is made after it.

use serde::{Deserialize, Serialize};

/// The name of the virtio-serial port.
pub const PORT: &str = "dev.trunkline.init.0";

/// On the kernel's command line: wait for [`ToGuest::Go`].
pub const TEMPLATE: &str = "trunkline.template";

/// Raised whenever an older peer could misunderstand a line.
pub const VERSION: u32 = 1;

/// One line from the guest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FromGuest {
    /// Booted as far as all machines of this image are alike.
    Ready(Ready),
    /// Configured; the login is open.
    Up(Up),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ready {
    pub version: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Up {
    /// Since `go`, by the guest's clock.
    pub after_ms: u64,
}

/// One line to the guest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToGuest {
    /// Become a machine of your own.
    Go(Go),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Go {
    /// The time, in nanoseconds since 1970.
    pub epoch_ns: u64,
    /// 64 random bytes in hexadecimal digits.
    pub seed: String,
    /// How many network interfaces, the loopback not among them, to wait for.
    pub nics: u32,
    /// How many virtio disks, the one with the root not among them, to wait for.
    pub disks: u32,
}

/// As it goes over the port, newline included.
pub fn to_line<T: Serialize>(message: &T) -> String {
    // The two enums above hold nothing that has no JSON form.
    let mut line = serde_json::to_string(message).unwrap_or_default();
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_are_the_documented_ones() {
        let ready = FromGuest::Ready(Ready { version: VERSION });
        assert_eq!(to_line(&ready), "{\"ready\":{\"version\":1}}\n");
        let up = FromGuest::Up(Up { after_ms: 83 });
        assert_eq!(to_line(&up), "{\"up\":{\"after_ms\":83}}\n");
        let go: ToGuest =
            serde_json::from_str(r#"{"go":{"epoch_ns":1,"seed":"00ff","nics":2,"disks":1}}"#)
                .unwrap();
        assert_eq!(
            go,
            ToGuest::Go(Go {
                epoch_ns: 1,
                seed: "00ff".to_owned(),
                nics: 2,
                disks: 1
            })
        );
    }

    #[test]
    fn half_a_go_is_refused() {
        let error = serde_json::from_str::<ToGuest>(r#"{"go":{"epoch_ns":1}}"#).unwrap_err();
        assert!(error.to_string().contains("seed"), "{error}");
    }
}
