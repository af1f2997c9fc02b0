//! Where images and manifests come from, and whether that place answers.

use std::{collections::BTreeMap, time::Duration};

use futures::future::join_all;

use crate::component::{self, Profile};

/// Whoever does not answer by then is as good as away.
const PATIENCE: Duration = Duration::from_secs(5);

/// A host that components come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    pub host: String,
    /// The smallest profile that needs it.
    pub profile: Profile,
    /// `None` when it answers, else why not.
    pub silent: Option<String>,
}

/// Asks all of them at once.
pub async fn endpoints() -> Vec<Endpoint> {
    // The process may have chosen one already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = match reqwest::Client::builder().timeout(PATIENCE).build() {
        Ok(client) => client,
        Err(error) => {
            let silent = Some(error.to_string());
            let all = hosts().into_iter();
            return all
                .map(|(host, profile)| Endpoint {
                    host,
                    profile,
                    silent: silent.clone(),
                })
                .collect();
        }
    };
    let asked = hosts().into_iter().map(|(host, profile)| {
        let client = client.clone();
        async move {
            let silent = ask(&client, &format!("https://{host}/")).await.err();
            Endpoint {
                host,
                profile,
                silent,
            }
        }
    });
    join_all(asked).await
}

/// Any answer will do: many of them want to know who is asking first.
pub(super) async fn ask(client: &reqwest::Client, url: &str) -> Result<(), String> {
    match client.head(url).send().await {
        Ok(_) => Ok(()),
        Err(error) if error.is_timeout() => Err(format!("no answer in {PATIENCE:?}")),
        Err(error) => Err(innermost(&error)),
    }
}

/// The outer errors only say that there was a request.
pub(super) fn innermost(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

/// Every host that a component names, with the smallest profile that has such a component.
fn hosts() -> BTreeMap<String, Profile> {
    let mut hosts = BTreeMap::new();
    for profile in Profile::ALL {
        for component in component::profile(*profile) {
            let images = component
                .images
                .iter()
                .map(|image| image.reference.as_str());
            let nodes = component.nodes.iter().map(|nodes| nodes.image.as_str());
            let registries = images.chain(nodes).map(registry_of);
            let sources = component.sources.iter().filter_map(|source| {
                let rest = source.url.strip_prefix("https://")?;
                rest.split('/').next().map(str::to_owned)
            });
            for host in registries.chain(sources) {
                hosts.entry(host).or_insert(*profile);
            }
        }
    }
    hosts
}

/// As container engines read a reference: the first part is a host only if it looks like one.
fn registry_of(reference: &str) -> String {
    match reference.split_once('/') {
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => host.to_owned(),
        _ => "registry-1.docker.io".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_those_of_the_components() {
        let hosts = hosts();
        assert_eq!(hosts.get("registry-1.docker.io"), Some(&Profile::Plain));
        assert_eq!(hosts.get("ghcr.io"), Some(&Profile::OvnKubernetes));
        assert_eq!(
            hosts.get("codeload.github.com"),
            Some(&Profile::OvnKubernetes)
        );
        assert!(hosts.keys().all(|host| host.contains('.')), "{hosts:?}");
    }

    #[tokio::test]
    async fn a_host_answers_or_it_does_not() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let answering = tokio::spawn(async move {
            use tokio::io::{AsyncReadExt, AsyncWriteExt};
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 1024];
            let _ = stream.read(&mut request).await.unwrap();
            stream
                .write_all(b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n")
                .await
                .unwrap();
        });
        assert_eq!(ask(&client, &url).await, Ok(()));
        answering.await.unwrap();
        // Nobody listens there any more.
        let refused = ask(&client, &url).await.unwrap_err();
        assert!(refused.to_lowercase().contains("refused"), "{refused}");
    }
}
