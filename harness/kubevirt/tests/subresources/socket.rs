//! A WebSocket client that shows every frame, made as `plain.kubevirt.io` asks for it: an ordinary request with the
//! headers of the handshake, and frames by hand on what the connection became.

use std::time::Duration;

use http::{HeaderMap, Request, Response};
use hyper_util::rt::TokioIo;
use kube::client::Body;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

/// The key of the record, and what it has to be answered with.
const KEY: &str = "MDEyMzQ1Njc4OWFiY2RlZg==";
pub const ACCEPT: &str = "BACScCJPNqyz+UBoqMH89VmURoA=";
pub const PLAIN: &str = "plain.kubevirt.io";

const PATIENCE: Duration = Duration::from_secs(10);

pub struct Socket {
    stream: TokioIo<hyper::upgrade::Upgraded>,
    pub headers: HeaderMap,
}

/// A frame as the server sent it.
#[derive(Debug, PartialEq, Eq)]
pub struct Frame {
    pub first: u8,
    pub payload: Vec<u8>,
}

pub fn handshake(path: &str, protocol: Option<&str>) -> Request<Body> {
    let mut request = Request::builder()
        .uri(path)
        .header("upgrade", "websocket")
        .header("connection", "Upgrade")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", KEY);
    if let Some(protocol) = protocol {
        request = request.header("sec-websocket-protocol", protocol);
    }
    request.body(Body::empty()).unwrap()
}

/// Opens a WebSocket, or gives the answer that is none.
pub async fn try_open(
    client: &kube::Client,
    path: &str,
    protocol: Option<&str>,
) -> Result<Socket, Response<Body>> {
    let response = client.send(handshake(path, protocol)).await.unwrap();
    if response.status() != 101 {
        return Err(response);
    }
    let headers = response.headers().clone();
    let upgraded = hyper::upgrade::on(response).await.unwrap();
    Ok(Socket {
        stream: TokioIo::new(upgraded),
        headers,
    })
}

pub async fn open(client: &kube::Client, path: &str) -> Socket {
    match try_open(client, path, Some(PLAIN)).await {
        Ok(socket) => socket,
        Err(response) => panic!("{:?}", response.status()),
    }
}

impl Socket {
    pub async fn send(&mut self, first: u8, payload: &[u8]) {
        let mask = [1, 2, 3, 250];
        let mut bytes = vec![first];
        match payload.len() {
            0..=125 => bytes.push(0x80 | u8::try_from(payload.len()).unwrap()),
            126..=65535 => {
                bytes.push(0xfe);
                bytes.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
            }
            _ => {
                bytes.push(0xff);
                bytes.extend((payload.len() as u64).to_be_bytes());
            }
        }
        bytes.extend(mask);
        bytes.extend(
            payload
                .iter()
                .zip(mask.iter().cycle())
                .map(|(byte, mask)| byte ^ mask),
        );
        self.stream.write_all(&bytes).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    pub async fn binary(&mut self, payload: &[u8]) {
        self.send(0x82, payload).await;
    }

    /// The next frame; None when the connection has ended.
    pub async fn next(&mut self) -> Option<Frame> {
        timeout(PATIENCE, self.frame())
            .await
            .expect("a frame in time")
    }

    async fn frame(&mut self) -> Option<Frame> {
        let mut head = [0; 2];
        match self.stream.read(&mut head[..1]).await {
            Ok(0) | Err(_) => return None,
            Ok(_) => {}
        }
        self.stream.read_exact(&mut head[1..]).await.unwrap();
        let length = match head[1] {
            126 => {
                let mut length = [0; 2];
                self.stream.read_exact(&mut length).await.unwrap();
                u64::from(u16::from_be_bytes(length))
            }
            127 => {
                let mut length = [0; 8];
                self.stream.read_exact(&mut length).await.unwrap();
                u64::from_be_bytes(length)
            }
            // A server does not mask, so the highest bit is not set.
            short => u64::from(short),
        };
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        self.stream.read_exact(&mut payload).await.unwrap();
        Some(Frame {
            first: head[0],
            payload,
        })
    }

    /// Bytes of whole binary messages, so many of them.
    pub async fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut all = Vec::with_capacity(count);
        while all.len() < count {
            let frame = self.next().await.expect("the connection is open");
            assert_eq!(frame.first, 0x82, "a whole binary message");
            all.extend(frame.payload);
        }
        assert_eq!(all.len(), count, "no byte too many");
        all
    }

    /// Both directions of the connection, for two tasks.
    pub fn split(
        self,
    ) -> (
        tokio::io::ReadHalf<TokioIo<hyper::upgrade::Upgraded>>,
        tokio::io::WriteHalf<TokioIo<hyper::upgrade::Upgraded>>,
    ) {
        tokio::io::split(self.stream)
    }
}
