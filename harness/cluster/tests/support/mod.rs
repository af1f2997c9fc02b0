//! A cluster in this process, reached as any other one: over TLS, with a kubeconfig.

use std::{net::TcpListener, path::PathBuf, sync::Arc};

use kube::Client;
use kubeapi::{ApiServer, Pki};
use tokio_util::task::AbortOnDropHandle;
use trunkline_cluster::{ClusterSite, ConnectOptions};
use trunkline_scenario::{Suite, model::Scenario};

/// An API server on a socket.
pub struct Cluster {
    /// Who may do everything.
    pub admin: Client,
    pub url: String,
    pki: Arc<Pki>,
    pub folder: tempfile::TempDir,
    _serving: AbortOnDropHandle<()>,
}

impl Cluster {
    pub fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let server = ApiServer::builder().build().unwrap();
        let admin = server.client("admin");
        let pki = Arc::new(Pki::generate(&["127.0.0.1".into()]).unwrap());
        let authority = Arc::clone(&pki);
        let serving = tokio::spawn(async move {
            let end = std::future::pending();
            server.serve(listener, &authority, end).await.unwrap();
        });
        Self {
            admin,
            url,
            pki,
            folder: tempfile::tempdir().unwrap(),
            _serving: AbortOnDropHandle::new(serving),
        }
    }

    /// The kubeconfig of a user, with the context `here`.
    pub fn kubeconfig(&self, user: &str, groups: &[&str]) -> PathBuf {
        let text = self
            .pki
            .kubeconfig(&self.url, "here", user, groups)
            .unwrap();
        let path = self.folder.path().join(format!("{user}.kubeconfig"));
        std::fs::write(&path, text).unwrap();
        path
    }

    pub async fn site(&self, user: &str, groups: &[&str]) -> ClusterSite {
        ClusterSite::connect(ConnectOptions {
            kubeconfig: Some(self.kubeconfig(user, groups)),
            name: "staging".into(),
            ..ConnectOptions::default()
        })
        .await
        .unwrap()
    }

    pub async fn administrator(&self) -> ClusterSite {
        self.site("root", &["system:masters"]).await
    }

    /// A scenario with these steps and this manifest, `all.yaml`.
    pub fn scenario(&self, steps: &str, manifest: &str) -> Arc<Scenario> {
        std::fs::write(self.folder.path().join("all.yaml"), manifest).unwrap();
        let text = format!(
            "apiVersion: trunkline.dev/v1alpha1\nkind: Scenario\nmetadata: {{name: test}}\nspec:\n  title: A test\n{steps}"
        );
        let path = self.folder.path().join("test.yaml");
        std::fs::write(&path, text).unwrap();
        let suite = Suite::load([camino::Utf8PathBuf::from_path_buf(path).unwrap()]);
        let errors: Vec<_> = suite.diagnostics.iter().map(ToString::to_string).collect();
        assert_eq!(suite.scenarios.len(), 1, "{errors:#?}");
        suite.scenarios[0].clone()
    }
}
