//! Reports for people at a terminal, or reading a log of one.

mod live;
mod page;
mod palette;
mod plain;
pub(crate) mod render;

use trunkline_engine::{
    events::{Change, Event, EventKind},
    seconds,
};

pub use self::{live::Live, palette::Palette, plain::Plain};
pub(crate) use self::{page::printable, palette::paint};

/// How much to tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Volume {
    /// Failures and the closing line.
    Quiet,
    #[default]
    Normal,
    /// Also every object, capture and wait.
    Verbose,
}

/// What only verbose output tells, as it happens.
fn details(event: &Event, palette: &Palette, volume: Volume) -> String {
    if volume != Volume::Verbose {
        return String::new();
    }
    let line = match &event.kind {
        EventKind::StepStarted { title, .. } => format!("{title} …"),
        EventKind::NamespaceCreated { namespace } => format!("namespace/{namespace} created"),
        EventKind::ObjectApplied {
            object,
            change,
            manifest,
        } => {
            let change = match change {
                Change::Created => "created",
                Change::Configured => "configured",
                Change::Unchanged => "unchanged",
            };
            let place = manifest
                .as_ref()
                .map(|place| format!(" ({place})"))
                .unwrap_or_default();
            format!("{object} {change}{place}")
        }
        EventKind::ObjectDeleted { object, took } => {
            format!("{object} gone after {}", seconds(*took))
        }
        EventKind::ObjectWaiting { object, state, .. } => format!("{object}: {state}"),
        EventKind::ConditionMet {
            condition, took, ..
        } => format!("{condition}, after {}", seconds(*took)),
        EventKind::Captured { name, value } => format!("{name} = {value}"),
        EventKind::StepProgress { message } => message.clone(),
        _ => return String::new(),
    };
    format!("      {}\n", paint(palette.dim, line))
}
