//! The typed channel between supervisor and server.

use std::io;
use std::marker::PhantomData;

use serde::Serialize;
use tokio::io::AsyncWriteExt;
use tokio::net::unix::OwnedWriteHalf;
use tokio::sync::mpsc;

/// The other side is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the other end of the lab's control channel is gone")]
pub struct ControlError;

/// One end of the channel: sends `Out`, receives `In`.
#[derive(Debug)]
pub struct Control<In, Out> {
    sender: ControlSender<Out>,
    receiver: mpsc::UnboundedReceiver<In>,
}

impl<In, Out: Serialize> Control<In, Out> {
    pub(super) fn new(sender: ControlSender<Out>, receiver: mpsc::UnboundedReceiver<In>) -> Self {
        Self { sender, receiver }
    }

    /// The next message; nothing after the other end is gone. Loses nothing when dropped while waiting.
    pub async fn receive(&mut self) -> Option<In> {
        self.receiver.recv().await
    }

    pub fn send(&self, message: &Out) -> Result<(), ControlError> {
        self.sender.send(message)
    }

    pub fn sender(&self) -> ControlSender<Out> {
        self.sender.clone()
    }
}

/// The sending half.
#[derive(Debug)]
pub struct ControlSender<Out> {
    lines: mpsc::UnboundedSender<Vec<u8>>,
    envelope: fn(&Out) -> io::Result<Vec<u8>>,
    message: PhantomData<fn(Out)>,
}

impl<Out> Clone for ControlSender<Out> {
    fn clone(&self) -> Self {
        Self {
            lines: self.lines.clone(),
            envelope: self.envelope,
            message: PhantomData,
        }
    }
}

impl<Out: Serialize> ControlSender<Out> {
    pub(super) fn new(
        lines: mpsc::UnboundedSender<Vec<u8>>,
        envelope: fn(&Out) -> io::Result<Vec<u8>>,
    ) -> Self {
        Self {
            lines,
            envelope,
            message: PhantomData,
        }
    }

    /// Queues a message; messages arrive in the order they were sent.
    pub fn send(&self, message: &Out) -> Result<(), ControlError> {
        let line = (self.envelope)(message).map_err(|_| ControlError)?;
        self.lines.send(line).map_err(|_| ControlError)
    }
}

/// Writes queued lines until an empty one comes, or all senders or the other side are gone.
pub(super) async fn write_lines(
    mut socket: OwnedWriteHalf,
    mut lines: mpsc::UnboundedReceiver<Vec<u8>>,
) {
    while let Some(line) = lines.recv().await {
        if line.is_empty() || socket.write_all(&line).await.is_err() {
            return;
        }
    }
}
