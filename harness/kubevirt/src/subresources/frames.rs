//! The server's end of a WebSocket, as a stream of bytes needs it: what is binary goes through as it comes, whatever its
//! size and however it is cut into frames; text is passed over, as KubeVirt's reader does.

use std::io::Cursor;

use bytes::{Buf, Bytes, BytesMut};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Control, Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::frame::{Frame, FrameHeader};
use tokio_util::codec::Decoder;

/// The largest payload of a control frame.
const CONTROL_LIMIT: u64 = 125;
/// The code of an end that the client brought about by breaking the protocol.
const VIOLATION: u16 = 1002;

/// What a client sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Received {
    /// The next bytes, of a frame or a part of one.
    Bytes(Bytes),
    Ping(Bytes),
    Pong,
    /// With the code the client gives, if it gives one.
    Close(Option<u16>),
}

/// The client does not keep to the protocol.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    #[error("{0}")]
    Violation(&'static str),
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// Reads frames.
#[derive(Debug, Default)]
pub struct Frames {
    /// Whether the message under way is binary.
    message: Option<bool>,
    payload: Option<Payload>,
}

/// A data frame of which not everything has been passed on.
#[derive(Debug)]
struct Payload {
    left: u64,
    mask: [u8; 4],
    at: usize,
    binary: bool,
}

fn unmask(bytes: &mut [u8], mask: [u8; 4], from: usize) {
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte ^= mask[(from + at) % 4];
    }
}

impl Frames {
    /// The rest of a data frame; None when there is nothing (more) of it.
    fn rest(&mut self, source: &mut BytesMut) -> Option<Received> {
        let payload = self.payload.as_mut()?;
        let count =
            usize::try_from(payload.left).map_or(source.len(), |left| left.min(source.len()));
        let mut bytes = source.split_to(count);
        unmask(&mut bytes, payload.mask, payload.at);
        payload.at = (payload.at + count) % 4;
        payload.left -= count as u64;
        let binary = payload.binary && count > 0;
        if payload.left == 0 {
            self.payload = None;
        }
        binary.then(|| Received::Bytes(bytes.freeze()))
    }

    /// Starts a data frame.
    fn data(
        &mut self,
        data: Data,
        header: &FrameHeader,
        mask: [u8; 4],
        length: u64,
    ) -> Result<(), FrameError> {
        let binary = match (data, self.message) {
            (Data::Continue, Some(binary)) => binary,
            (Data::Continue, None) => {
                return Err(FrameError::Violation("continuation after FIN"));
            }
            (_, Some(_)) => return Err(FrameError::Violation("data before FIN")),
            (Data::Binary, None) => true,
            (_, None) => false,
        };
        self.message = (!header.is_final).then_some(binary);
        self.payload = Some(Payload {
            left: length,
            mask,
            at: 0,
            binary,
        });
        Ok(())
    }
}

fn close_code(payload: &[u8]) -> Option<u16> {
    payload
        .first_chunk::<2>()
        .map(|code| u16::from_be_bytes(*code))
}

impl Decoder for Frames {
    type Item = Received;
    type Error = FrameError;

    fn decode(&mut self, source: &mut BytesMut) -> Result<Option<Received>, FrameError> {
        loop {
            if let Some(bytes) = self.rest(source) {
                return Ok(Some(bytes));
            }
            if self.payload.is_some() || source.is_empty() {
                return Ok(None);
            }
            let mut cursor = Cursor::new(&source[..]);
            let parsed =
                FrameHeader::parse(&mut cursor).map_err(|_| FrameError::Violation("bad opcode"))?;
            let Some((header, length)) = parsed else {
                return Ok(None);
            };
            let start = usize::try_from(cursor.position()).unwrap_or(usize::MAX);
            if header.rsv1 || header.rsv2 || header.rsv3 {
                return Err(FrameError::Violation("RSV bits are set"));
            }
            let Some(mask) = header.mask else {
                return Err(FrameError::Violation("bad MASK"));
            };
            let control = match header.opcode {
                OpCode::Data(data) => {
                    source.advance(start);
                    self.data(data, &header, mask, length)?;
                    continue;
                }
                OpCode::Control(control) => control,
            };
            if length > CONTROL_LIMIT {
                return Err(FrameError::Violation("len > 125 for control"));
            }
            if !header.is_final {
                return Err(FrameError::Violation("FIN not set on control"));
            }
            let end = start + usize::try_from(length).unwrap_or(usize::MAX);
            if source.len() < end {
                return Ok(None);
            }
            let mut payload = source.split_to(end).split_off(start);
            unmask(&mut payload, mask, 0);
            return match control {
                Control::Close => Ok(Some(Received::Close(close_code(&payload)))),
                Control::Ping => Ok(Some(Received::Ping(payload.freeze()))),
                Control::Pong => Ok(Some(Received::Pong)),
                Control::Reserved(_) => Err(FrameError::Violation("bad opcode")),
            };
        }
    }
}

fn written(frame: Frame) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(frame.len());
    // Writing to memory cannot fail.
    if let Err(error) = frame.format(&mut bytes) {
        tracing::error!(%error, "frame cannot be written");
    }
    bytes
}

/// One binary message.
pub fn binary(payload: Bytes) -> Vec<u8> {
    written(Frame::message(payload, OpCode::Data(Data::Binary), true))
}

pub fn ping(payload: &'static [u8]) -> Vec<u8> {
    written(Frame::ping(payload))
}

pub fn pong(payload: Bytes) -> Vec<u8> {
    written(Frame::pong(payload))
}

/// The answer to a close: its code and no reason.
pub fn close(code: Option<u16>) -> Vec<u8> {
    written(Frame::close(code.map(|code| CloseFrame {
        code: code.into(),
        reason: "".into(),
    })))
}

/// The end of a connection whose client does not keep to the protocol.
pub fn violation(why: &'static str) -> Vec<u8> {
    written(Frame::close(Some(CloseFrame {
        code: VIOLATION.into(),
        reason: why.into(),
    })))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mask = [7, 77, 177, 200];
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
        let mut payload = payload.to_vec();
        unmask(&mut payload, mask, 0);
        bytes.extend(payload);
        bytes
    }

    /// Everything there is in bytes that come in pieces of this size.
    fn read(bytes: &[u8], piece: usize) -> Result<Vec<Received>, FrameError> {
        let mut frames = Frames::default();
        let mut source = BytesMut::new();
        let mut all: Vec<Received> = Vec::new();
        for piece in bytes.chunks(piece) {
            source.extend_from_slice(piece);
            while let Some(received) = frames.decode(&mut source)? {
                match (all.last_mut(), received) {
                    (Some(Received::Bytes(last)), Received::Bytes(more)) => {
                        *last = [&last[..], &more[..]].concat().into();
                    }
                    (_, received) => all.push(received),
                }
            }
        }
        Ok(all)
    }

    #[test]
    fn messages_of_any_size_and_cut_come_whole() {
        let long: Vec<u8> = (0..70_000_u32).map(|n| n.to_le_bytes()[0]).collect();
        let mut bytes = frame(0x02, &long[..300]);
        bytes.extend(frame(0x89, b"are you there"));
        bytes.extend(frame(0x00, &long[300..]));
        bytes.extend(frame(0x80, b""));
        bytes.extend(frame(0x81, b"text is passed over"));
        bytes.extend(frame(0x82, b"end"));
        bytes.extend(frame(0x88, b"\x03\xe8bye"));
        for piece in [1, 7, 1000, bytes.len()] {
            let received = read(&bytes, piece).unwrap();
            let expected = [
                Received::Bytes(long[..300].to_vec().into()),
                Received::Ping(Bytes::from_static(b"are you there")),
                Received::Bytes([&long[300..], b"end"].concat().into()),
                Received::Close(Some(1000)),
            ];
            assert_eq!(received, expected, "in pieces of {piece}");
        }
    }

    #[test]
    fn what_breaks_the_protocol_is_named() {
        let why = |bytes: &[u8]| match read(bytes, 3) {
            Err(FrameError::Violation(why)) => why,
            other => panic!("{other:?}"),
        };
        assert_eq!(why(&[0x82, 0x01, b'a']), "bad MASK");
        assert_eq!(why(&frame(0xc2, b"a")), "RSV bits are set");
        assert_eq!(why(&frame(0x83, b"a")), "bad opcode");
        assert_eq!(why(&frame(0x80, b"a")), "continuation after FIN");
        assert_eq!(why(&frame(0x09, b"a")), "FIN not set on control");
        assert_eq!(why(&frame(0x88, &[0; 126])), "len > 125 for control");
        let twice = [frame(0x02, b"a"), frame(0x82, b"b")].concat();
        assert_eq!(why(&twice), "data before FIN");
    }

    #[test]
    fn a_close_is_answered_with_its_code_alone() {
        assert_eq!(close(Some(1000)), [0x88, 2, 0x03, 0xe8]);
        assert_eq!(close(None), [0x88, 0]);
    }
}
