//! What is done to a machine between its start and `cont`.

use serde_json::json;

use crate::command::hot_plugged;
use crate::error::QmpError;
use crate::machine::Machine;
use crate::qmp::Qmp;

/// Gives the machine what its command line could not: one that was [restored](crate::restore) gets everything that it
/// has beyond its template, and cables are pulled out where they are to be. The guest finds it all at once when it is
/// told to `cont`.
pub async fn plug(qmp: &Qmp, machine: &Machine) -> Result<(), QmpError> {
    if machine.is_restored() {
        for device in hot_plugged(machine) {
            qmp.run("device_add", device).await?;
        }
    }
    for nic in machine.nics.iter().filter(|nic| !nic.link) {
        let down = json!({"name": format!("nic-{}", nic.id), "up": false});
        qmp.run("set_link", down).await?;
    }
    Ok(())
}
