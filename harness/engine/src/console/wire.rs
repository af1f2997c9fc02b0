//! Bytes to and from a console, with the terminal control taken out of what comes.

use std::sync::Arc;

use bytes::Bytes;
use futures::{
    SinkExt as _, StreamExt as _,
    stream::{SplitSink, SplitStream},
};
use tokio_tungstenite::tungstenite::Message;

use super::{strip::Strip, tail::Tail, upgrade::Socket};

/// The connection is gone; the reason, as far as there is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Gone(pub String);

/// A console before anything is agreed with the guest.
pub(super) struct Wire {
    pub reader: Reader,
    pub writer: Writer,
}

pub(super) struct Reader {
    stream: SplitStream<Socket>,
    strip: Strip,
    tail: Arc<Tail>,
}

pub(super) struct Writer {
    sink: SplitSink<Socket, Message>,
}

impl Wire {
    pub fn new(socket: Socket, tail: Arc<Tail>) -> Self {
        let (sink, stream) = socket.split();
        Self {
            reader: Reader {
                stream,
                strip: Strip::default(),
                tail,
            },
            writer: Writer { sink },
        }
    }
}

impl Reader {
    /// The next piece of text. Frames that are not binary are skipped, as KubeVirt's own client does.
    pub async fn read(&mut self) -> Result<Vec<u8>, Gone> {
        // Nothing more is to be expected of such a guest, even where the connection stands.
        if let Some(words) = self.tail.over() {
            return Err(Gone(words));
        }
        loop {
            match self.stream.next().await {
                Some(Ok(Message::Binary(bytes))) => {
                    let text = self.strip.feed(&bytes);
                    self.tail.feed(&text);
                    return Ok(text);
                }
                Some(Ok(Message::Close(frame))) => {
                    let reason = frame.map(|frame| frame.reason.to_string());
                    return Err(Gone(
                        reason
                            .filter(|reason| !reason.is_empty())
                            .unwrap_or_else(|| "the console was closed by the other side".into()),
                    ));
                }
                Some(Ok(_)) => {}
                // KubeVirt ends a connection without a word when another client takes the console.
                None => return Err(Gone("the connection ended without a word".into())),
                Some(Err(error)) => return Err(Gone(error.to_string())),
            }
        }
    }
}

impl Writer {
    pub async fn write(&mut self, bytes: impl Into<Bytes>) -> Result<(), Gone> {
        self.sink
            .send(Message::Binary(bytes.into()))
            .await
            .map_err(|error| Gone(error.to_string()))
    }
}
