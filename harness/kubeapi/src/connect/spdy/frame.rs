//! Frames: what goes over the connection.
//!
//! A control frame has a version, a type, flags and a length; a data frame the number of its stream instead of the first
//! two. Everything is big-endian.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio_util::codec::{Decoder, Encoder};

use super::SpdyError;
use super::header_block::{Headers, Packer, Unpacker};

/// The number of a stream; a client's are odd.
pub type StreamId = u32;

/// The stream is refused.
pub const REFUSED_STREAM: u32 = 3;
/// The stream is no longer wanted.
pub const CANCEL: u32 = 5;

const SYN_STREAM: u16 = 1;
const SYN_REPLY: u16 = 2;
const RST_STREAM: u16 = 3;
const PING: u16 = 6;
const GOAWAY: u16 = 7;
const HEADERS: u16 = 8;
const WINDOW_UPDATE: u16 = 9;

const CONTROL: u32 = 0x8000_0000;
const VERSION: u16 = 3;
const FIN: u8 = 1;
const HEAD: usize = 8;
/// The longest frame that is accepted. Peers send pieces of a few ten KiB.
const LIMIT: usize = 1 << 20;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    SynStream {
        id: StreamId,
        /// The sender sends nothing on it.
        fin: bool,
        headers: Headers,
    },
    SynReply {
        id: StreamId,
        fin: bool,
        headers: Headers,
    },
    Reset {
        id: StreamId,
        status: u32,
    },
    Ping(u32),
    GoAway {
        last: StreamId,
        status: u32,
    },
    Headers {
        id: StreamId,
        fin: bool,
        headers: Headers,
    },
    WindowUpdate {
        id: StreamId,
        delta: u32,
    },
    Data {
        id: StreamId,
        fin: bool,
        data: Bytes,
    },
    /// A control frame that needs no answer: settings and what later versions added.
    Other(u16),
}

/// Frames of a connection to bytes and back. Header compression has a state, so each direction needs its own.
#[derive(Debug)]
pub struct Codec {
    packer: Packer,
    unpacker: Unpacker,
}

impl Codec {
    pub fn new() -> Result<Self, SpdyError> {
        Ok(Self {
            packer: Packer::new()?,
            unpacker: Unpacker::new(),
        })
    }

    fn control(&mut self, kind: u16, fin: bool, body: &[u8]) -> Result<Frame, SpdyError> {
        let mut rest = body;
        let mut numbers = |count: usize| -> Result<[u32; 2], SpdyError> {
            let mut read = [0; 2];
            for number in &mut read[..count] {
                *number = rest.try_get_u32().map_err(|_| {
                    SpdyError::Frame(format!("a frame of type {kind} is cut short"))
                })?;
            }
            Ok(read)
        };
        Ok(match kind {
            SYN_STREAM => {
                // The stream it belongs to, which no client of ours uses, is followed by priority and slot.
                let [id, _] = numbers(2)?;
                let block = rest.get(2..).unwrap_or_default();
                let headers = self.unpacker.unpack(block)?;
                Frame::SynStream {
                    id: id & !CONTROL,
                    fin,
                    headers,
                }
            }
            SYN_REPLY | HEADERS => {
                let [id, _] = numbers(1)?;
                let (id, headers) = (id & !CONTROL, self.unpacker.unpack(rest)?);
                if kind == SYN_REPLY {
                    Frame::SynReply { id, fin, headers }
                } else {
                    Frame::Headers { id, fin, headers }
                }
            }
            RST_STREAM => {
                let [id, status] = numbers(2)?;
                Frame::Reset {
                    id: id & !CONTROL,
                    status,
                }
            }
            PING => Frame::Ping(numbers(1)?[0]),
            GOAWAY => {
                let [last, status] = numbers(2)?;
                Frame::GoAway {
                    last: last & !CONTROL,
                    status,
                }
            }
            WINDOW_UPDATE => {
                let [id, delta] = numbers(2)?;
                Frame::WindowUpdate {
                    id: id & !CONTROL,
                    delta: delta & !CONTROL,
                }
            }
            other => Frame::Other(other),
        })
    }
}

impl Decoder for Codec {
    type Item = Frame;
    type Error = SpdyError;

    fn decode(&mut self, buffer: &mut BytesMut) -> Result<Option<Frame>, SpdyError> {
        let Some((head, _)) = buffer.split_first_chunk::<HEAD>() else {
            return Ok(None);
        };
        let mut head = &head[..];
        let (first, second) = (head.get_u32(), head.get_u32());
        let [flags, length @ ..] = second.to_be_bytes();
        let length = u32::from_be_bytes([0, length[0], length[1], length[2]]);
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length > LIMIT {
            return Err(SpdyError::Frame(format!("a frame has {length} bytes")));
        }
        if buffer.len() < HEAD + length {
            buffer.reserve(HEAD + length - buffer.len());
            return Ok(None);
        }
        buffer.advance(HEAD);
        let body = buffer.split_to(length).freeze();
        if first & CONTROL == 0 {
            return Ok(Some(Frame::Data {
                id: first,
                fin: flags & FIN != 0,
                data: body,
            }));
        }
        let [version_high, version_low, kind_high, kind_low] = (first & !CONTROL).to_be_bytes();
        let version = u16::from_be_bytes([version_high, version_low]);
        if version != VERSION {
            return Err(SpdyError::Frame(format!("a frame has version {version}")));
        }
        let kind = u16::from_be_bytes([kind_high, kind_low]);
        self.control(kind, flags & FIN != 0, &body).map(Some)
    }
}

impl Encoder<Frame> for Codec {
    type Error = SpdyError;

    fn encode(&mut self, frame: Frame, buffer: &mut BytesMut) -> Result<(), SpdyError> {
        let numbers =
            |numbers: &[u32]| -> Vec<u8> { numbers.iter().flat_map(|n| n.to_be_bytes()).collect() };
        let (kind, fin, body) = match frame {
            Frame::Data { id, fin, data } => {
                put(buffer, id, fin, &data);
                return Ok(());
            }
            Frame::SynStream { id, fin, headers } => {
                let mut body = numbers(&[id, 0]);
                body.extend_from_slice(&[0, 0]);
                body.extend(self.packer.pack(&headers)?);
                (SYN_STREAM, fin, body)
            }
            Frame::SynReply { id, fin, headers } => {
                let mut body = numbers(&[id]);
                body.extend(self.packer.pack(&headers)?);
                (SYN_REPLY, fin, body)
            }
            Frame::Headers { id, fin, headers } => {
                let mut body = numbers(&[id]);
                body.extend(self.packer.pack(&headers)?);
                (HEADERS, fin, body)
            }
            Frame::Reset { id, status } => (RST_STREAM, false, numbers(&[id, status])),
            Frame::Ping(id) => (PING, false, numbers(&[id])),
            Frame::GoAway { last, status } => (GOAWAY, false, numbers(&[last, status])),
            Frame::WindowUpdate { id, delta } => (WINDOW_UPDATE, false, numbers(&[id, delta])),
            Frame::Other(kind) => (kind, false, numbers(&[0])),
        };
        put(
            buffer,
            CONTROL | u32::from(VERSION) << 16 | u32::from(kind),
            fin,
            &body,
        );
        Ok(())
    }
}

/// A frame's head and body. Bodies are pieces of our own making, far below what the length can say.
fn put(buffer: &mut BytesMut, first: u32, fin: bool, body: &[u8]) {
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX) & 0x00ff_ffff;
    buffer.reserve(HEAD + body.len());
    buffer.put_u32(first);
    buffer.put_u32(u32::from(u8::from(fin)) << 24 | length);
    buffer.put_slice(body);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn headers() -> impl Strategy<Value = Headers> {
        prop::collection::vec(("[a-z-]{1,20}", ".{0,60}"), 0..5)
    }

    fn frame() -> impl Strategy<Value = Frame> {
        let id = 1u32..0x7fff_ffff;
        prop_oneof![
            (id.clone(), any::<bool>(), headers())
                .prop_map(|(id, fin, headers)| Frame::SynStream { id, fin, headers }),
            (id.clone(), any::<bool>(), headers()).prop_map(|(id, fin, headers)| Frame::SynReply {
                id,
                fin,
                headers
            }),
            (id.clone(), any::<bool>(), headers()).prop_map(|(id, fin, headers)| Frame::Headers {
                id,
                fin,
                headers
            }),
            (id.clone(), any::<u32>()).prop_map(|(id, status)| Frame::Reset { id, status }),
            any::<u32>().prop_map(Frame::Ping),
            (id.clone(), any::<u32>()).prop_map(|(last, status)| Frame::GoAway { last, status }),
            (id.clone(), 1u32..0x7fff_ffff)
                .prop_map(|(id, delta)| Frame::WindowUpdate { id, delta }),
            (
                id,
                any::<bool>(),
                prop::collection::vec(any::<u8>(), 0..3000)
            )
                .prop_map(|(id, fin, data)| Frame::Data {
                    id,
                    fin,
                    data: data.into()
                }),
        ]
    }

    proptest! {
        /// Frames survive the way, in whatever pieces they arrive.
        #[test]
        fn frames_survive_the_way(frames in prop::collection::vec(frame(), 1..12), piece in 1usize..64) {
            let mut wire = BytesMut::new();
            let mut codec = Codec::new().unwrap();
            for frame in &frames {
                codec.encode(frame.clone(), &mut wire).unwrap();
            }
            let (mut buffer, mut seen, mut codec) = (BytesMut::new(), Vec::new(), Codec::new().unwrap());
            for piece in wire.chunks(piece) {
                buffer.extend_from_slice(piece);
                while let Some(frame) = codec.decode(&mut buffer).unwrap() {
                    seen.push(frame);
                }
            }
            prop_assert_eq!(seen, frames);
            prop_assert!(buffer.is_empty());
        }

        #[test]
        fn rubbish_is_refused_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let mut buffer = BytesMut::from(bytes.as_slice());
            let mut codec = Codec::new().unwrap();
            while let Ok(Some(_)) = codec.decode(&mut buffer) {}
        }
    }

    /// Two frames as moby/spdystream writes them: the second block continues the first one's compression.
    #[test]
    fn frames_of_another_implementation_are_read() {
        const FRAMES: &[u8] = &[
            0x80, 0x03, 0x00, 0x01, 0x00, 0x00, 0x00, 0x29, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00,
            0x00, 0x00, 0x00, 0x00, 0x78, 0xf9, 0xe3, 0xc6, 0xa7, 0xc2, 0x62, 0x60, 0x60, 0x60,
            0x04, 0xa7, 0xb3, 0x92, 0xa2, 0xd4, 0xc4, 0x5c, 0x68, 0x51, 0xc2, 0x9a, 0x0a, 0x0a,
            0x68, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, //
            0x80, 0x03, 0x00, 0x01, 0x00, 0x00, 0x00, 0x21, 0x00, 0x00, 0x00, 0x03, 0x00, 0x00,
            0x00, 0x00, 0x00, 0x00, 0x02, 0x65, 0x1c, 0x48, 0xd1, 0x5c, 0x04, 0x4a, 0xc6, 0x4c,
            0x16, 0x06, 0x18, 0x0a, 0x41, 0x65, 0x4e, 0x22, 0x00, 0x00, 0x00, 0xff, 0xff,
        ];
        let mut buffer = BytesMut::from(FRAMES);
        let mut codec = Codec::new().unwrap();
        let mut next = || match codec.decode(&mut buffer).unwrap() {
            Some(Frame::SynStream { id, fin, headers }) => {
                let mut headers: Vec<String> = headers
                    .into_iter()
                    .map(|(name, value)| format!("{name}={value}"))
                    .collect();
                headers.sort();
                (id, fin, headers)
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(next(), (1, false, vec!["streamtype=error".to_owned()]));
        assert_eq!(
            next(),
            (
                3,
                false,
                vec!["port=80".to_owned(), "streamtype=data".to_owned()]
            )
        );
    }

    #[test]
    fn what_is_no_spdy_3_is_refused() {
        let refused = |bytes: &[u8]| {
            let mut buffer = BytesMut::from(bytes);
            Codec::new()
                .unwrap()
                .decode(&mut buffer)
                .unwrap_err()
                .to_string()
        };
        let version_two = [0x80, 2, 0, 6, 0, 0, 0, 4, 0, 0, 0, 1];
        assert!(refused(&version_two).contains("version 2"));
        let sixteen_megabytes = [0, 0, 0, 1, 0, 0xff, 0xff, 0xff];
        assert!(refused(&sixteen_megabytes).contains("16777215 bytes"));
        let short_ping = [0x80, 3, 0, 6, 0, 0, 0, 2, 0, 0];
        assert!(refused(&short_ping).contains("cut short"));
    }
}
