//! A registry in this process, on loopback, that can be told to misbehave; layers and archives.
#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "each test program uses its part"
)]

pub mod archives;

use std::collections::HashMap;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

#[derive(Default)]
pub struct Content {
    /// Tag or digest to manifest.
    manifests: HashMap<String, Vec<u8>>,
    blobs: HashMap<String, Vec<u8>>,
    /// Digest to how many bytes come before the connection breaks, once.
    cut: HashMap<String, usize>,
    pub token_needed: bool,
    /// What everybody gets at `/token`, and has to show from then on.
    pub token: Option<&'static str>,
    pub token_requests: usize,
    /// Ranges asked for.
    pub ranges: Vec<String>,
    pub blob_requests: usize,
    pub manifest_requests: usize,
}

type Shared = Arc<Mutex<Content>>;

#[derive(Clone)]
pub struct Registry {
    pub address: SocketAddr,
    pub content: Shared,
}

pub fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

impl Registry {
    pub async fn start() -> Self {
        let content = Shared::default();
        let router = Router::new()
            .route("/v2/", get(version))
            .route("/token", get(token))
            .route("/v2/{name}/manifests/{reference}", get(manifest))
            .route("/v2/{name}/blobs/{digest}", get(blob))
            .with_state(Arc::clone(&content));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, content }
    }

    pub fn reference(&self, name: &str) -> String {
        format!("{}/{name}", self.address)
    }

    pub fn with<T>(&self, change: impl FnOnce(&mut Content) -> T) -> T {
        change(&mut self.content.lock().unwrap())
    }

    pub fn blob(&self, bytes: Vec<u8>) -> Value {
        let (digest, size) = (digest(&bytes), bytes.len());
        self.with(|content| content.blobs.insert(digest.clone(), bytes));
        json!({"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": digest, "size": size})
    }

    /// Stores a list of variants: digests and architectures.
    pub fn list(&self, tag: &str, variants: &[(String, &str)]) {
        let variants: Vec<Value> = variants
            .iter()
            .map(|(digest, arch)| {
                json!({"mediaType": archives::MANIFEST, "digest": digest, "size": 1,
                       "platform": {"os": "linux", "architecture": arch}})
            })
            .collect();
        let list = json!({"schemaVersion": 2, "mediaType": archives::INDEX, "manifests": variants});
        self.manifest(tag, &list);
    }

    /// Stores an image; its digest.
    pub fn image(&self, tag: &str, layers: &[Vec<u8>], config: &Value, arch: &str) -> String {
        let diff_ids: Vec<String> = layers.iter().map(|layer| digest(layer)).collect();
        let configuration = json!({
            "os": "linux", "architecture": arch, "config": config,
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        let layers: Vec<Value> = layers.iter().map(|layer| self.blob(gzip(layer))).collect();
        let config = self.blob(configuration.to_string().into_bytes());
        self.manifest(
            tag,
            &json!({
                "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "config": config, "layers": layers,
            }),
        )
    }

    pub fn manifest(&self, tag: &str, manifest: &Value) -> String {
        let text = manifest.to_string().into_bytes();
        let digest = digest(&text);
        self.with(|content| {
            content.manifests.insert(tag.to_owned(), text.clone());
            content.manifests.insert(digest.clone(), text);
        });
        digest
    }

    /// Changes what is stored under a digest.
    pub fn corrupt(&self, digest: &str, bytes: Vec<u8>) {
        self.with(|content| content.blobs.insert(digest.to_owned(), bytes));
    }

    pub fn cut_once(&self, digest: &str, after: usize) {
        self.with(|content| content.cut.insert(digest.to_owned(), after));
    }
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn problem(status: StatusCode, code: &str) -> Response {
    let body = json!({"errors": [{"code": code, "message": "so says the test"}]}).to_string();
    let type_json = [(header::CONTENT_TYPE, "application/json")];
    (status, type_json, body).into_response()
}

fn refused(content: &Content, headers: &HeaderMap) -> Option<Response> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(token) = content.token
        && text(header::AUTHORIZATION) != Some(&format!("Bearer {token}"))
    {
        let host = text(header::HOST).unwrap_or_default();
        let mut response = problem(StatusCode::UNAUTHORIZED, "UNAUTHORIZED");
        let challenge = format!("Bearer realm=\"http://{host}/token\",service=\"{host}\"");
        let headers = response.headers_mut();
        headers.insert(header::WWW_AUTHENTICATE, challenge.parse().unwrap());
        return Some(response);
    }
    content
        .token_needed
        .then(|| problem(StatusCode::UNAUTHORIZED, "UNAUTHORIZED"))
}

async fn version(State(content): State<Shared>, headers: HeaderMap) -> Response {
    let content = content.lock().unwrap();
    refused(&content, &headers).unwrap_or_else(|| "{}".into_response())
}

async fn token(State(content): State<Shared>) -> Response {
    let mut content = content.lock().unwrap();
    content.token_requests += 1;
    match content.token {
        Some(token) => json!({"token": token}).to_string().into_response(),
        None => problem(StatusCode::NOT_FOUND, "UNSUPPORTED"),
    }
}

async fn manifest(
    State(content): State<Shared>,
    Path((_, reference)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    let mut content = content.lock().unwrap();
    content.manifest_requests += 1;
    if let Some(refused) = refused(&content, &headers) {
        return refused;
    }
    match content.manifests.get(&reference) {
        None => problem(StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN"),
        Some(text) => {
            let parsed: Value = serde_json::from_slice(text).unwrap();
            let media_type = parsed["mediaType"].as_str().unwrap().to_owned();
            ([(header::CONTENT_TYPE, media_type)], text.clone()).into_response()
        }
    }
}

async fn blob(
    State(content): State<Shared>,
    Path((_, digest)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    let mut content = content.lock().unwrap();
    content.blob_requests += 1;
    if let Some(refused) = refused(&content, &headers) {
        return refused;
    }
    let Some(bytes) = content.blobs.get(&digest).cloned() else {
        return problem(StatusCode::NOT_FOUND, "BLOB_UNKNOWN");
    };
    if let Some(after) = content.cut.remove(&digest) {
        // The length promises more than comes.
        let kept = Bytes::from(bytes[..after].to_vec());
        let cut = async {
            // Lets the server write what it has before it hears of the end.
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            Err(std::io::Error::other("cut"))
        };
        let kept = futures::stream::once(async { Ok(kept) });
        let stream = futures::StreamExt::chain(kept, futures::stream::once(cut));
        return Response::builder()
            .header(header::CONTENT_LENGTH, bytes.len())
            .body(Body::from_stream(stream))
            .unwrap();
    }
    let range = headers
        .get(header::RANGE)
        .and_then(|range| range.to_str().ok())
        .map(str::to_owned);
    match range {
        None => bytes.into_response(),
        Some(range) => {
            let from: usize = range
                .strip_prefix("bytes=")
                .and_then(|range| range.split('-').next()?.parse().ok())
                .unwrap();
            content.ranges.push(range);
            (StatusCode::PARTIAL_CONTENT, bytes[from..].to_vec()).into_response()
        }
    }
}

/// An archive, entry by entry.
pub struct Layer(tar::Builder<Vec<u8>>);

impl Layer {
    pub fn new() -> Self {
        Self(tar::Builder::new(Vec::new()))
    }

    pub fn file(self, path: &str, text: &str) -> Self {
        self.entry(path, text, 0o644, 0)
    }

    pub fn entry(self, path: &str, text: &str, mode: u32, uid: u64) -> Self {
        self.bytes(path, text.as_bytes(), mode, uid)
    }

    pub fn program(self, path: &str, content: &[u8]) -> Self {
        self.bytes(path, content, 0o755, 0)
    }

    fn bytes(mut self, path: &str, content: &[u8], mode: u32, uid: u64) -> Self {
        let mut header = header(tar::EntryType::Regular, mode, uid);
        header.set_size(content.len() as u64);
        name(&mut header, path);
        self.0.append(&header, content).unwrap();
        self
    }

    pub fn directory(mut self, path: &str, mode: u32) -> Self {
        let mut header = header(tar::EntryType::Directory, mode, 0);
        name(&mut header, path);
        self.0.append(&header, &[][..]).unwrap();
        self
    }

    pub fn link(mut self, kind: tar::EntryType, path: &str, target: &str) -> Self {
        let mut header = header(kind, 0o777, 0);
        header.set_link_name_literal(target).unwrap();
        name(&mut header, path);
        self.0.append(&header, &[][..]).unwrap();
        self
    }

    pub fn attribute(mut self, name: &str, value: &[u8]) -> Self {
        let key = format!("SCHILY.xattr.{name}");
        self.0
            .append_pax_extensions([(key.as_str(), value)])
            .unwrap();
        self
    }

    pub fn done(self) -> Vec<u8> {
        self.0.into_inner().unwrap()
    }
}

fn header(kind: tar::EntryType, mode: u32, uid: u64) -> tar::Header {
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(uid);
    header.set_gid(uid);
    header.set_mtime(1_700_000_000);
    header.set_size(0);
    header
}

/// Also names that the builder would refuse.
fn name(header: &mut tar::Header, path: &str) {
    let field = &mut header.as_mut_bytes()[..100];
    field[..path.len()].copy_from_slice(path.as_bytes());
    header.set_cksum();
}
