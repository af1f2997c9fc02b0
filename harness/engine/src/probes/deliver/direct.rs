//! A program run in a container through the API alone, where no agent is in it.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Pod;
use kube::api::Api;
use trunkline_guest::{
    Octets,
    protocol::{Answer, Exec, ExecAnswer, Exit, Failure, Outcome, Response},
};

use super::{Finished, KEPT, exec, exit_code};
use crate::probes::Place;

/// What came of it, in the words of the agent. A program that is still running at its deadline is left to itself: the
/// API has no way to end it but to close its streams.
pub(super) async fn run(pods: &Api<Pod>, place: &Place, probe: Exec) -> Response {
    let started = Instant::now();
    let deadline = Duration::from_millis(probe.timeout_ms);
    let outcome = match tokio::time::timeout(deadline, finish(pods, place, probe)).await {
        Ok(Ok(answer)) => Outcome::Answered(Answer::Exec(answer)),
        Ok(Err(message)) => Outcome::Error(Failure { message }),
        Err(_) => Outcome::Answered(Answer::Exec(ExecAnswer {
            exit: Exit::TimedOut,
            stdout: Octets::from(String::new()),
            stderr: Octets::from(String::new()),
            truncated: true,
        })),
    };
    Response {
        id: String::new(),
        took_ms: started.elapsed().as_secs_f64() * 1e3,
        outcome,
    }
}

async fn finish(pods: &Api<Pod>, place: &Place, probe: Exec) -> Result<ExecAnswer, String> {
    let process = exec(pods, &place.pod, place.container.as_deref(), probe.argv).await?;
    let input = probe.stdin.as_ref().map_or(&[][..], AsRef::as_ref);
    let Finished {
        stdout,
        stderr,
        status,
    } = process.finish(input).await;
    let status = status.ok_or("the API did not say how it ended")?;
    match exit_code(&status) {
        Some(code) => Ok(ExecAnswer {
            exit: Exit::Code(code),
            truncated: stdout.len() >= KEPT || stderr.len() >= KEPT,
            stdout: Octets::from(stdout),
            stderr: Octets::from(stderr),
        }),
        None => Err(status.message.unwrap_or_else(|| "it did not run".into())),
    }
}
