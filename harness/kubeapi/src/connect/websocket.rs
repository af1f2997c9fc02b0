//! WebSockets on upgraded connections: with channels, or as a tunnel for another protocol.

use bytes::Bytes;
use futures::future::ready;
use futures::{SinkExt, StreamExt};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_util::io::{CopyToBytes, SinkWriter, StreamReader};

/// A WebSocket on an upgraded connection.
pub type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// The server's end of a WebSocket.
pub async fn socket(connection: TokioIo<Upgraded>) -> Socket {
    WebSocketStream::from_raw_socket(connection, Role::Server, None).await
}

/// The binary messages of a WebSocket as a stream of bytes.
pub fn tunnel(socket: Socket) -> impl AsyncRead + AsyncWrite + Send + 'static {
    let (sink, messages) = socket.split();
    let bytes = messages
        .take_while(|message| ready(!matches!(message, Ok(Message::Close(_)))))
        .filter_map(|message| {
            ready(match message {
                Ok(Message::Binary(bytes)) => Some(Ok(bytes)),
                Ok(_) => None,
                Err(error) => Some(Err(std::io::Error::other(error))),
            })
        });
    let sink = sink
        .sink_map_err(std::io::Error::other)
        .with(|bytes: Bytes| ready(Ok::<_, std::io::Error>(Message::Binary(bytes))));
    tokio::io::join(
        StreamReader::new(bytes),
        SinkWriter::new(CopyToBytes::new(sink)),
    )
}
