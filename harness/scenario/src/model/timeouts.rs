//! How long things may take: one table of defaults, overridden per scenario, per step, per probe.

use std::time::Duration;

use indexmap::IndexMap;

use crate::span::Located;

macro_rules! kinds {
    ($( $(#[doc = $doc:literal])+ $variant:ident = $key:literal, $seconds:literal; )+) => {
        /// What is being waited for.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum TimeoutKind { $( $(#[doc = $doc])+ $variant, )+ }

        impl TimeoutKind {
            pub const ALL: &[TimeoutKind] = &[$(TimeoutKind::$variant),+];

            /// The key in `timeouts`.
            pub fn key(self) -> &'static str {
                match self { $(Self::$variant => $key),+ }
            }

            /// What the key is for.
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc),+).trim_ascii()),+ }
            }

            /// The default, when neither scenario nor step nor probe says otherwise.
            pub fn default_duration(self) -> Duration {
                Duration::from_secs(match self { $(Self::$variant => $seconds),+ })
            }
        }
    };
}

kinds! {
    /// the whole scenario, without its `finally`
    Scenario = "scenario", 900;
    /// all steps of `finally` together, and removing what the scenario created
    Cleanup = "cleanup", 120;
    /// creating or changing all objects of one step
    Apply = "apply", 30;
    /// objects to be gone after `delete`
    Delete = "delete", 60;
    /// an `until` to become true
    Until = "until", 120;
    /// an `until` about virtual machines to become true, and `start`, `stop` and `restart`
    Machine = "machine", 300;
    /// a guest to take the user's login on its console, from the moment its machine runs
    Login = "login", 240;
    /// a captured value to appear in its object
    Capture = "capture", 30;
    /// a program run by `exec`
    Exec = "exec", 30;
    /// the answer to a `curl`
    Curl = "curl", 5;
    /// the last reply to a `ping`, counted from its last request
    Ping = "ping", 5;
    /// a `tcp` connection, and the bytes expected from it
    Tcp = "tcp", 5;
    /// the answer to a `udp` datagram
    Udp = "udp", 5;
    /// the answer to a `dns` question
    Dns = "dns", 5;
    /// silence after which a probe that is expected to be `blocked` counts as blocked
    Blocked = "blocked", 3;
}

/// The scenario's own table; what it does not say has its default.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Timeouts {
    pub(crate) own: IndexMap<TimeoutKind, Located<Duration>>,
}

impl Timeouts {
    /// The scenario's value, else the default.
    pub fn get(&self, kind: TimeoutKind) -> Duration {
        self.own
            .get(&kind)
            .map_or_else(|| kind.default_duration(), |own| own.value)
    }

    /// What the scenario itself says.
    pub fn own(&self, kind: TimeoutKind) -> Option<&Located<Duration>> {
        self.own.get(&kind)
    }
}
