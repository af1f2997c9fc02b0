//! Which of the guest's channels somebody listens on, as QEMU tells it.

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::watch;
use trunkline_qemu::{Event, Qmp, QmpError};

/// Whether the guest has opened each channel.
#[derive(Debug)]
pub struct Channels {
    pub agent: watch::Sender<bool>,
    pub init: watch::Sender<bool>,
}

impl Default for Channels {
    fn default() -> Self {
        Self {
            agent: watch::Sender::new(false),
            init: watch::Sender::new(false),
        }
    }
}

impl Channels {
    /// Takes over what an event says, if it is about channels.
    pub fn take(&self, event: &Event) {
        if event.name != "VSERPORT_CHANGE" {
            return;
        }
        let open = event.data["open"] == Value::Bool(true);
        match event.data["id"].as_str() {
            Some("channel-agent") => set(&self.agent, open),
            Some("channel-init") => set(&self.init, open),
            _ => {}
        }
    }

    /// Asks for the present state: a restored guest may have opened them in an earlier life.
    pub async fn look(&self, qmp: &Qmp) -> Result<(), QmpError> {
        #[derive(Deserialize)]
        struct Chardev {
            label: String,
            #[serde(rename = "frontend-open")]
            open: bool,
        }
        let chardevs: Vec<Chardev> = qmp.execute("query-chardev", json!({})).await?;
        for chardev in chardevs {
            match chardev.label.as_str() {
                "agent" => set(&self.agent, chardev.open),
                "init" => set(&self.init, chardev.open),
                _ => {}
            }
        }
        Ok(())
    }
}

fn set(channel: &watch::Sender<bool>, open: bool) {
    channel.send_if_modified(|known| std::mem::replace(known, open) != open);
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use trunkline_qemu::Event;

    use super::Channels;

    #[test]
    fn events_open_and_close_channels() {
        let channels = Channels::default();
        let event = |id: &str, open| Event {
            name: "VSERPORT_CHANGE".to_owned(),
            data: json!({"id": id, "open": open}),
        };
        let state = || (*channels.agent.borrow(), *channels.init.borrow());
        channels.take(&event("channel-agent", true));
        channels.take(&event("something", true));
        assert_eq!(state(), (true, false));
        channels.take(&event("channel-init", true));
        channels.take(&event("channel-agent", false));
        assert_eq!(state(), (false, true));
    }
}
