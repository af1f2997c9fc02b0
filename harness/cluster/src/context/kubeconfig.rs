//! Reading a kubeconfig, with every way in which it can be wrong told apart.

use std::{path::Path, time::Duration};

use kube::{
    Config,
    config::{KubeConfigOptions, Kubeconfig, KubeconfigError},
};

use super::ContextError;

/// A cluster that takes longer than this to accept a connection is as good as none.
const CONNECT: Duration = Duration::from_secs(10);

/// One context, ready to be used.
pub(super) struct Chosen {
    pub config: Config,
    pub context: String,
    pub server: String,
}

pub(super) async fn choose(
    path: Option<&Path>,
    context: Option<&str>,
) -> Result<Chosen, ContextError> {
    let (read, place) = match path {
        Some(path) => (Kubeconfig::read_from(path), path.display().to_string()),
        None => (
            Kubeconfig::read(),
            std::env::var("KUBECONFIG").unwrap_or_else(|_| "~/.kube/config".into()),
        ),
    };
    let kubeconfig = read.map_err(|error| unreadable(error, path.is_some(), &place))?;
    let known: Vec<String> = kubeconfig
        .contexts
        .iter()
        .map(|context| context.name.clone())
        .collect();
    let context = match context
        .map(str::to_owned)
        .or(kubeconfig.current_context.clone())
    {
        Some(name) if name.is_empty() => None,
        name => name,
    };
    let Some(context) = context else {
        return Err(ContextError::NoCurrentContext { place, known });
    };
    if !known.contains(&context) {
        return Err(ContextError::NoSuchContext {
            place,
            context,
            known,
        });
    }
    let options = KubeConfigOptions {
        context: Some(context.clone()),
        ..KubeConfigOptions::default()
    };
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &options)
        .await
        .map_err(|error| ContextError::Unusable {
            context: context.clone(),
            why: chain(&error),
        })?;
    config.connect_timeout = Some(CONNECT);
    Ok(Chosen {
        server: config
            .cluster_url
            .to_string()
            .trim_end_matches('/')
            .to_owned(),
        config,
        context,
    })
}

fn unreadable(error: KubeconfigError, named: bool, place: &str) -> ContextError {
    match error {
        KubeconfigError::ReadConfig(why, path)
            if !named && why.kind() == std::io::ErrorKind::NotFound =>
        {
            // The default place may well be empty; a place that was named may not.
            match std::env::var_os("KUBECONFIG") {
                Some(_) => ContextError::Unreadable {
                    path,
                    why: why.to_string(),
                },
                None => ContextError::NoKubeconfig,
            }
        }
        KubeconfigError::ReadConfig(why, path) => ContextError::Unreadable {
            path,
            why: why.to_string(),
        },
        KubeconfigError::FindPath => ContextError::NoKubeconfig,
        other => ContextError::NotAKubeconfig {
            place: place.to_owned(),
            why: chain(&other),
        },
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        cause = inner.source();
    }
    text
}
