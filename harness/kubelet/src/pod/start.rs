//! Starting a container: image, configuration, process, hook, probes.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;
use trunkline_userland::Image;

use super::config::env_sources;
use super::container::Run;
use super::hooks;
use super::text::{go_duration, image_id};
use super::worker::{Interrupted, Message, Worker};
use crate::connector::{Input, Running};
use crate::events::Severity;
use crate::logs::{LogBuffer, Source};
use crate::oci::{
    ConfigError, Databases, Inputs, Mount, Spec, configure, container_env, file_mount,
    termination_message_path,
};
use crate::probe::{Probes, Target};
use crate::refs::{long_name, new_id};
use crate::runtime::{Attachment, Bundle, RuntimeError, Started, Stdio, input, output};

/// A configuration that cannot be made is tried again this often, and when an object of the namespace changes.
const CONFIG_RETRY: Duration = Duration::from_secs(10);

/// How a container finds the probe agent.
const AGENT: &str = "/.trunkline/agent";

impl Worker {
    /// Starts a container unless it has to wait; why it waits is then in its slot.
    pub(super) async fn start(&mut self, index: usize) -> Result<(), Interrupted> {
        if self.must_wait(index) {
            return Ok(());
        }
        if !self.image_volumes(index).await? {
            return Ok(());
        }
        let Some(image) = self.image(index).await? else {
            return Ok(());
        };
        let id = new_id();
        let (bundle, spec) = match self.configure(index, &id, &image).await {
            Ok(made) => made,
            Err(error) => {
                self.container_event(
                    index,
                    Severity::Warning,
                    "Failed",
                    format!("Error: {error}"),
                );
                let slot = &mut self.slots[index];
                slot.wait("CreateContainerConfigError", Some(error.to_string()));
                let retry = Instant::now() + CONFIG_RETRY;
                slot.retry_at = Some(retry);
                self.wake_at(retry);
                return Ok(());
            }
        };
        let name = self.slots[index].spec.name.clone();
        self.container_event(
            index,
            Severity::Normal,
            "Created",
            format!("Created container: {name}"),
        );
        self.retire(index);
        match self.launch(index, bundle, spec, &image).await {
            Ok(run) => {
                let slot = &mut self.slots[index];
                slot.waiting = None;
                slot.run = Some(run);
                self.container_event(
                    index,
                    Severity::Normal,
                    "Started",
                    format!("Started container {name}"),
                );
                self.started(index).await
            }
            Err(error) => {
                let message = format!(
                    "failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: {error}: unknown"
                );
                self.container_event(
                    index,
                    Severity::Warning,
                    "Failed",
                    format!("Error: {message}"),
                );
                let slot = &mut self.slots[index];
                slot.run = Some(Run::stillborn(
                    id,
                    image.reference.clone(),
                    image_id(&image),
                    message.clone(),
                ));
                slot.wait("RunContainerError", Some(message));
                self.wake_at(Instant::now());
                Ok(())
            }
        }
    }

    /// Back-off after a crash or a configuration error.
    fn must_wait(&mut self, index: usize) -> bool {
        let now = Instant::now();
        let slot = &mut self.slots[index];
        if let Some(at) = slot.retry_at.filter(|at| *at > now) {
            self.wake_at(at);
            return true;
        }
        slot.retry_at = None;
        let Some(ended) = slot
            .run
            .as_ref()
            .and_then(|r| r.finished.as_ref())
            .map(|f| f.at)
        else {
            return false;
        };
        // a retry for another reason, of which the crash is long past
        let crashing = !matches!(&slot.waiting, Some(w) if w.reason != "CrashLoopBackOff" && w.reason != "RunContainerError");
        let Some((until, delay)) = slot.crash.wait_until(ended, now).filter(|_| crashing) else {
            if crashing {
                slot.crash.attempt(now);
            }
            return false;
        };
        let new = !matches!(&slot.waiting, Some(w) if w.reason == "CrashLoopBackOff");
        let name = slot.spec.name.clone();
        let pod = long_name(&self.pod);
        slot.wait(
            "CrashLoopBackOff",
            Some(format!(
                "back-off {} restarting failed container={name} pod={pod}",
                go_duration(delay)
            )),
        );
        if new {
            self.container_event(
                index,
                Severity::Warning,
                "BackOff",
                format!("Back-off restarting failed container {name} in pod {pod}"),
            );
        }
        self.wake_at(until);
        true
    }

    async fn configure(
        &self,
        index: usize,
        id: &str,
        image: &Image,
    ) -> Result<(Bundle, Spec), ConfigError> {
        let shared = &self.node.shared;
        let container = &self.slots[index].spec;
        let (Some(connected), Some(volumes)) = (&self.connected, &self.volumes) else {
            return Err(ConfigError("the pod's sandbox is not ready".to_owned()));
        };
        if self
            .pod
            .spec
            .as_ref()
            .and_then(|s| s.share_process_namespace)
            == Some(true)
        {
            return Err(ConfigError(
                "shareProcessNamespace is not supported by this kubelet".to_owned(),
            ));
        }
        let sources = env_sources(&shared.client, &self.pod, container).await?;
        let env = container_env(&self.pod, container, &sources, &self.facts())?;
        let failed = |error: RuntimeError| ConfigError(error.to_string());
        let bundle =
            Bundle::create(&shared.state.join("containers"), id, &image.layers).map_err(failed)?;
        let message = bundle.termination_message();
        std::fs::write(&message, "").map_err(|e| ConfigError(e.to_string()))?;
        make_world_writable(&message).map_err(|e| ConfigError(e.to_string()))?;

        let volumes = volumes.mounts(container, &env)?;
        let taken: Vec<&Path> = volumes.iter().map(|m| m.destination.as_path()).collect();
        let mut mounts = connected.sandbox.mounts(&taken);
        mounts.push(file_mount(
            &message,
            termination_message_path(container),
            false,
        ));
        mounts.extend(volumes);
        mounts.extend(shared.agent.as_deref().map(agent));
        let spec = configure(Inputs {
            pod: &self.pod,
            container,
            image,
            env,
            hostname: &connected.sandbox.hostname,
            namespaces: &connected.sandbox.shared(),
            mounts,
            databases: &Databases::read(&bundle.rootfs()),
            rootfs: &bundle.rootfs(),
            available: &shared.capabilities,
            tty_group: shared.tty_group,
        })?;
        bundle.write(&spec).map_err(failed)?;
        Ok((bundle, spec))
    }

    /// Makes room for a new run: the one that ended becomes the last one.
    fn retire(&mut self, index: usize) {
        let slot = &mut self.slots[index];
        if let Some(run) = slot.run.take() {
            slot.last = run.finished.map(|f| f.state);
            slot.last_log = Some(run.log);
            slot.restarts += 1;
        }
    }

    async fn launch(
        &self,
        index: usize,
        bundle: Bundle,
        spec: Spec,
        image: &Image,
    ) -> Result<Run, RuntimeError> {
        let shared = &self.node.shared;
        let container = &self.slots[index].spec;
        let log = LogBuffer::new();
        let (started, input) = if spec.process.terminal {
            let started = shared.runc.run(&bundle, Attachment::Terminal).await?;
            let input = match &started.terminal {
                Some(terminal) => {
                    log.capture(Source::Stdout, terminal.clone());
                    Input::Terminal(terminal.clone())
                }
                None => Input::None,
            };
            (started, input)
        } else {
            self.launch_on_pipes(index, &bundle, &log).await?
        };
        let Started { process, .. } = started;
        let id = bundle.id().to_owned();
        let tell = self.tell.clone();
        let (exits, container_id) = (process.clone(), id.clone());
        tokio::spawn(async move {
            let exit = exits.wait().await;
            // nobody listens when the pod is gone
            let _ = tell.send(Message::Exited {
                container: container_id,
                exit,
            });
        });
        Ok(Run {
            image: image.reference.clone(),
            image_id: image_id(image),
            begun: Timestamp::now(),
            finished: None,
            log,
            started: container.startup_probe.is_none(),
            ready: container.readiness_probe.is_none(),
            probes: None,
            target: Some(Target {
                container: container.clone(),
                container_id: id.clone(),
                process: spec.process.clone(),
                pod_ip: self.connected.as_ref().and_then(|c| c.ips.first().copied()),
                netns: self.node.config.netns.clone(),
                runc: shared.runc.clone(),
            }),
            running: Some(Running {
                id: id.clone(),
                spec: spec.process,
                process: process.clone(),
                runc: shared.runc.clone(),
                input,
            }),
            id,
            process: Some(process),
            bundle: Some(bundle),
            stop_signal: image.config.stop_signal.clone(),
            stopping: None,
        })
    }

    async fn launch_on_pipes(
        &self,
        index: usize,
        bundle: &Bundle,
        log: &Arc<LogBuffer>,
    ) -> Result<(Started, Input), RuntimeError> {
        let container = &self.slots[index].spec;
        let mut stdio = Stdio::null()?;
        let (stdout, out) = output()?;
        let (stderr, err) = output()?;
        (stdio.stdout, stdio.stderr) = (stdout, stderr);
        let mut attached = Input::None;
        if container.stdin == Some(true) {
            let (read, write) = input()?;
            stdio.stdin = read;
            attached = Input::Pipe {
                pipe: Arc::new(tokio::sync::Mutex::new(Some(write))),
                once: container.stdin_once == Some(true),
            };
        }
        let started = self
            .node
            .shared
            .runc
            .run(bundle, Attachment::Streams(stdio))
            .await?;
        log.capture(Source::Stdout, out);
        log.capture(Source::Stderr, err);
        Ok((started, attached))
    }

    /// The hook, then the probes.
    async fn started(&mut self, index: usize) -> Result<(), Interrupted> {
        let Some(target) = self.slots[index]
            .run
            .as_ref()
            .and_then(|r| r.target.clone())
        else {
            return Ok(());
        };
        let hook = target
            .container
            .lifecycle
            .as_ref()
            .and_then(|l| l.post_start.clone());
        if let Some(hook) = hook {
            // until then the API sees the container as waiting
            if let Err(error) = self.unless_ending(hooks::run(&hook, &target)).await? {
                tracing::debug!(error, "postStart");
                self.container_event(
                    index,
                    Severity::Warning,
                    "FailedPostStartHook",
                    format!("PostStartHook failed: {error}"),
                );
                let grace = self.grace();
                self.stop(index, grace, Some("FailedPostStartHook".to_owned()));
                return Ok(());
            }
        }
        let tell = self.tell.clone();
        let id = target.container_id.clone();
        let probes = Probes::start(&target, move |report| {
            // nobody listens when the pod is gone
            let _ = tell.send(Message::Probed {
                container: id.clone(),
                report,
            });
        });
        if let Some(run) = self.slots[index].run.as_mut() {
            run.probes = Some(probes);
        }
        Ok(())
    }
}

fn agent(source: &Path) -> Mount {
    file_mount(source, AGENT, true)
}

fn make_world_writable(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;

    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o666))
}
