//! Serves an empty API on a free port and prints the path of a kubeconfig for it.
//!
//! `cargo run -p kubeapi --example serve -- [PORT]`

use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;

use kubeapi::{ApiServer, Pki};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let port = std::env::args().nth(1).map_or(Ok(0), |port| port.parse())?;
    let server = ApiServer::builder().build()?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
    let address = listener.local_addr()?;
    let pki = Pki::generate(&["127.0.0.1".to_owned(), "localhost".to_owned()])?;
    let kubeconfig = pki.kubeconfig(
        &format!("https://{address}"),
        "kubeapi",
        "admin",
        &["system:masters"],
    )?;
    let directory = tempfile::tempdir()?;
    let path: PathBuf = directory.path().join("kubeconfig");
    std::fs::write(&path, kubeconfig)?;
    println!("export KUBECONFIG={}", path.display());
    server
        .serve(listener, &pki, async {
            // Ends with the process when the signal cannot be waited for.
            let _ = tokio::signal::ctrl_c().await;
        })
        .await?;
    Ok(())
}
