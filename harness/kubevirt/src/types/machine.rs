//! The words for what a machine is and what is wanted of it.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $($(#[$variant_meta:meta])* $variant:ident),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum $name { $($(#[$variant_meta])* $variant),+ }

        impl $name {
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => stringify!($variant)),+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(self.as_str())
            }
        }
    };
}
pub(super) use words;

words! {
    /// When the controller starts a machine by itself.
    RunStrategy { Always, Halted, Manual, RerunOnFailure, Once, WaitAsReceiver }
}

words! {
    /// How far a VirtualMachineInstance is. One without a phase has not been seen by the controller.
    VmiPhase { Pending, Scheduling, Scheduled, Running, Succeeded, Failed, WaitingForSync, Unknown }
}

impl VmiPhase {
    pub fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed)
    }
}

words! {
    /// What happens to the machine when its node is drained.
    EvictionStrategy { None, LiveMigrate, LiveMigrateIfPossible, External }
}
