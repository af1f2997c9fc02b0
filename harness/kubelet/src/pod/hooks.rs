//! `lifecycle` hooks.

use std::time::Duration;

use k8s_openapi::api::core::v1::LifecycleHandler;
use tokio::time::sleep;

use crate::probe::{Target, http_get};

/// An HTTP hook has no limit of its own.
const LONGEST_REQUEST: Duration = Duration::from_secs(60);

/// Runs a hook to its end. The error is what the event about it says.
pub(super) async fn run(handler: &LifecycleHandler, target: &Target) -> Result<(), String> {
    let container = &target.container.name;
    if let Some(exec) = &handler.exec {
        let command = exec.command.clone().unwrap_or_default();
        return match target.run(command.clone(), None).await {
            Ok((0, _)) => Ok(()),
            Ok((code, output)) => Err(format!(
                "command '{}' exited with {code}: {output}",
                command.join(" ")
            )),
            Err(error) => Err(error.to_string()),
        };
    }
    if let Some(get) = &handler.http_get {
        return http_get(target, get, LONGEST_REQUEST).await;
    }
    if let Some(pause) = &handler.sleep {
        sleep(Duration::from_secs(
            u64::try_from(pause.seconds).unwrap_or(0),
        ))
        .await;
        return Ok(());
    }
    Err(format!(
        "invalid handler: container {container:?} names no exec, httpGet or sleep"
    ))
}
