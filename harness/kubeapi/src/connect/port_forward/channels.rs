//! Port-forward over a WebSocket: two channels per port, data and errors; each starts with the port's number.

use futures::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use super::Target;
use crate::connect::websocket::Socket;
use crate::pods::AsyncReadWrite;

type Stream = Box<dyn AsyncReadWrite>;

/// Forwards the ports until the client goes away or every connection has ended.
pub async fn serve(target: Target, ports: Vec<u16>, socket: Socket) {
    let (mut sink, mut stream) = socket.split();
    let (messages, mut outgoing) = mpsc::channel(16);
    let mut inputs: Vec<mpsc::Sender<Vec<u8>>> = Vec::new();
    let mut connections = tokio::task::JoinSet::new();
    for (index, port) in ports.into_iter().enumerate() {
        let (input, received) = mpsc::channel(16);
        inputs.push(input);
        // Fewer than 128 ports, so both channel numbers fit.
        let data = u8::try_from(index * 2).unwrap_or(u8::MAX - 1);
        let (target, messages) = (target.clone(), messages.clone());
        connections.spawn(async move {
            for channel in [data, data + 1] {
                let mut frame = vec![channel];
                frame.extend_from_slice(&port.to_le_bytes());
                let _ = messages.send(Message::binary(frame)).await;
            }
            match target.connect(port).await {
                Ok(stream) => relay(stream, data, &messages, received).await,
                Err(message) => {
                    let mut frame = vec![data + 1];
                    frame.extend_from_slice(message.as_bytes());
                    let _ = messages.send(Message::binary(frame)).await;
                }
            }
        });
    }
    drop(messages);
    let incoming = async {
        while let Some(Ok(message)) = stream.next().await {
            let Message::Binary(data) = message else {
                if message.is_close() {
                    return;
                }
                continue;
            };
            let Some((channel, bytes)) = data.split_first() else {
                continue;
            };
            if channel % 2 == 0
                && let Some(input) = inputs.get(usize::from(channel / 2))
            {
                // A connection that has ended takes no more.
                let _ = input.send(bytes.to_vec()).await;
            }
        }
    };
    let writing = async {
        while let Some(message) = outgoing.recv().await {
            if sink.send(message).await.is_err() {
                return;
            }
        }
        let close = CloseFrame {
            code: CloseCode::Normal,
            reason: "".into(),
        };
        let _ = sink.send(Message::Close(Some(close))).await;
    };
    tokio::select! {
        () = incoming => {}
        () = writing => {}
    }
}

async fn relay(
    stream: Stream,
    channel: u8,
    messages: &mpsc::Sender<Message>,
    received: mpsc::Receiver<Vec<u8>>,
) {
    let (reader, writer) = tokio::io::split(stream);
    tokio::select! {
        () = from_pod(reader, channel, messages) => {}
        () = to_pod(writer, received) => {}
    }
}

async fn from_pod(mut reader: ReadHalf<Stream>, channel: u8, messages: &mpsc::Sender<Message>) {
    let mut buffer = vec![0; 32 * 1024];
    while let Ok(count @ 1..) = reader.read(&mut buffer).await {
        let mut frame = Vec::with_capacity(count + 1);
        frame.push(channel);
        frame.extend_from_slice(&buffer[..count]);
        if messages.send(Message::binary(frame)).await.is_err() {
            return;
        }
    }
}

async fn to_pod(mut writer: WriteHalf<Stream>, mut received: mpsc::Receiver<Vec<u8>>) {
    while let Some(bytes) = received.recv().await {
        if writer.write_all(&bytes).await.is_err() {
            return;
        }
    }
}
