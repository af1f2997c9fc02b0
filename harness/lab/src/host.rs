//! The host's side of a lab: starts it, fetches images for it, ends it.

use std::{io, net::TcpListener, sync::Arc, time::Duration};

use kube::config::{KubeConfigOptions, Kubeconfig};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use trunkline_userland::{
    Cache, Catalogue, CatalogueError, Images, Progress, RootFs, machine::Workshop, rootfs,
};

use crate::{
    LabSpec,
    boot::{BootError, BootSpec, CACHE_INSIDE, ControlSender, Exit, LogTo, Supervisor},
    message::{FromServer, Provided, ServerConfig, ToServer, Want},
};

/// How long the server may take to say goodbye before the kernel does it.
const GRACE: Duration = Duration::from_secs(2);

/// A lab that cannot be had, or that ended.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    #[error(transparent)]
    Boot(#[from] BootError),
    #[error("the lab's API cannot be reached: {0}")]
    Client(String),
    #[error("the lab failed: {0}")]
    Failed(String),
    #[error("the lab ended by itself; its log says more")]
    Ended,
    #[error("cannot supervise the lab: {0}")]
    Supervise(#[from] io::Error),
    #[error(transparent)]
    Catalogue(#[from] Box<CatalogueError>),
}

/// What a lab is started from.
#[derive(Debug)]
pub struct LabOptions {
    pub spec: LabSpec,
    pub rootfs: RootFs,
    pub cache: Cache,
    /// The socket of its API, on the host.
    pub listener: TcpListener,
    pub log: LogTo,
}

/// How far a lab is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Booting,
    Serving,
    Ready,
    /// Why, when it was not asked to.
    Ended(Option<String>),
}

/// A running lab. It ends when this is dropped.
#[derive(Debug)]
pub struct Lab {
    kubeconfig: String,
    url: String,
    spec: LabSpec,
    state: watch::Receiver<State>,
    stop: CancellationToken,
    supervising: tokio::task::JoinHandle<io::Result<Exit>>,
}

impl Lab {
    /// Boots a lab and returns as soon as its API answers; see [`Lab::ready`] for its nodes.
    pub async fn start(options: LabOptions) -> Result<Self, LabError> {
        let LabOptions {
            spec,
            rootfs,
            cache,
            listener,
            log,
        } = options;
        let url = format!("https://{}", listener.local_addr()?);
        let images = match &spec.catalogue {
            Some(file) => Catalogue::parse(&file.name, &file.text),
            None => Catalogue::embedded(),
        };
        let images = images.map_err(Box::new)?;
        let config = ServerConfig {
            lab: spec.clone(),
            url: url.clone(),
        };
        let supervisor = Supervisor::start(BootSpec {
            rootfs: rootfs.path,
            cache: cache.root().to_owned(),
            listener,
            config: serde_json::to_value(config).map_err(io::Error::from)?,
            log,
        })
        .await?;
        let (report, mut state) = watch::channel(State::Booting);
        let (kubeconfig, mut received) = tokio::sync::mpsc::channel(1);
        let stop = CancellationToken::new();
        let images = Images::new(cache.clone(), images, spec.images.clone());
        let provider = Provider {
            workshop: Arc::new(Workshop::new(cache.clone(), images.clone())),
            images: Arc::new(images),
            cache,
        };
        let supervising = tokio::spawn(supervise(
            supervisor,
            provider,
            report,
            kubeconfig,
            stop.clone(),
        ));
        let Some(kubeconfig) = received.recv().await else {
            return Err(ended(&mut state).await);
        };
        Ok(Self {
            kubeconfig,
            url,
            spec,
            state,
            stop,
            supervising,
        })
    }

    /// With the credentials of a cluster administrator.
    pub fn kubeconfig(&self) -> &str {
        &self.kubeconfig
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    pub fn spec(&self) -> &LabSpec {
        &self.spec
    }

    /// A client over the lab's socket, as anybody else would make one.
    pub async fn client(&self) -> Result<kube::Client, LabError> {
        let unusable = |error: &dyn std::fmt::Display| LabError::Client(error.to_string());
        let kubeconfig =
            Kubeconfig::from_yaml(&self.kubeconfig).map_err(|error| unusable(&error))?;
        let config =
            kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
                .await
                .map_err(|error| unusable(&error))?;
        kube::Client::try_from(config).map_err(|error| unusable(&error))
    }

    /// Returns when every node is Ready.
    pub async fn ready(&self) -> Result<(), LabError> {
        let mut state = self.state.clone();
        let reached = state
            .wait_for(|state| matches!(state, State::Ready | State::Ended(_)))
            .await;
        match reached.as_deref() {
            Ok(State::Ready) => Ok(()),
            Ok(State::Ended(Some(why))) => Err(LabError::Failed(why.clone())),
            _ => Err(LabError::Ended),
        }
    }

    /// Returns when the lab has ended without having been asked to.
    pub async fn failure(&self) -> LabError {
        self.life().failure().await
    }

    /// To watch over the lab without holding it.
    pub(crate) fn life(&self) -> Life {
        Life(self.state.clone())
    }

    /// Ends the lab. When this returns, no process of it is left.
    pub async fn shutdown(self) -> Result<(), LabError> {
        self.stop.cancel();
        match self.supervising.await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(error.into()),
            Err(panic) => Err(io::Error::other(panic).into()),
        }
    }
}

/// Knows whether a lab lives; see [`Lab::life`].
#[derive(Debug, Clone)]
pub(crate) struct Life(watch::Receiver<State>);

impl Life {
    /// Returns when the lab has ended without having been asked to.
    pub(crate) async fn failure(&self) -> LabError {
        ended(&mut self.0.clone()).await
    }
}

async fn ended(state: &mut watch::Receiver<State>) -> LabError {
    match state
        .wait_for(|state| matches!(state, State::Ended(_)))
        .await
        .as_deref()
    {
        Ok(State::Ended(Some(why))) => LabError::Failed(why.clone()),
        _ => LabError::Ended,
    }
}

/// Owns the lab's processes until it is told to stop or they end.
async fn supervise(
    mut supervisor: Supervisor<ToServer, FromServer>,
    provider: Provider,
    state: watch::Sender<State>,
    kubeconfig: tokio::sync::mpsc::Sender<String>,
    stop: CancellationToken,
) -> io::Result<Exit> {
    let mut kubeconfig = Some(kubeconfig);
    loop {
        let message = tokio::select! {
            () = stop.cancelled() => {
                let exit = supervisor.shutdown(GRACE).await;
                state.send_replace(State::Ended(None));
                return exit;
            }
            message = supervisor.control().receive() => message,
        };
        match message {
            Some(FromServer::Serving { kubeconfig: text }) => {
                state.send_replace(State::Serving);
                if let Some(sender) = kubeconfig.take() {
                    // Only gone when the start was given up.
                    let _ = sender.send(text).await;
                }
            }
            Some(FromServer::Ready) => {
                state.send_replace(State::Ready);
            }
            Some(FromServer::Want { id, what }) => {
                let answer = supervisor.control().sender();
                tokio::spawn(provider.clone().answer(id, what, answer));
            }
            None => break,
        }
    }
    let exit = supervisor.wait().await?;
    state.send_replace(State::Ended(match &exit {
        Exit::Done => None,
        Exit::Failed(why) => Some(why.clone()),
        Exit::Died(status) => Some(format!("its process ended with {status}")),
    }));
    Ok(exit)
}

/// Fetches and makes what only the host side can.
#[derive(Debug, Clone)]
struct Provider {
    cache: Cache,
    images: Arc<Images>,
    workshop: Arc<Workshop>,
}

impl Provider {
    async fn answer(self, id: u64, what: Want, to: ControlSender<ToServer>) {
        let answer = self
            .provide(what)
            .await
            .map(|provided| provided.rebase(&self.cache, &Cache::at(CACHE_INSIDE)));
        // A lab that is gone needs nothing.
        let _ = to.send(&ToServer::Answer { id, answer });
    }

    async fn provide(&self, what: Want) -> Result<Provided, String> {
        let said = |error: &dyn std::error::Error| error.to_string();
        let log = |progress: Progress| tell(&progress);
        match what {
            Want::Image(reference) => {
                if let Some(root) = self.images.root_of(&reference) {
                    rootfs::ensure(&self.cache, root, &log)
                        .await
                        .map_err(|error| said(&error))?;
                }
                let image = self.images.resolve(&reference, &log).await;
                image.map(Provided::Image).map_err(|error| said(&error))
            }
            Want::Machine(reference) => {
                let image = self.workshop.provide(&reference, &log).await;
                image.map(Provided::Machine).map_err(|error| said(&error))
            }
            Want::Template { image, shape } => {
                let image = image.rebase(&Cache::at(CACHE_INSIDE), &self.cache);
                let template = self.workshop.template(&image, shape, &log).await;
                template
                    .map(Provided::Template)
                    .map_err(|error| said(&error))
            }
            Want::Accelerator => {
                let accelerator = self.workshop.accelerator(&log).await;
                accelerator
                    .map(Provided::Accelerator)
                    .map_err(|error| said(&error))
            }
        }
    }
}

fn tell(progress: &Progress) {
    tracing::info!(what = progress.what, "{}", progress.phase);
}
