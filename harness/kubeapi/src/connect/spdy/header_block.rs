//! Header blocks: names and values, compressed with one zlib stream per direction that lasts as long as the session.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::SpdyError;
use super::dictionary::DICTIONARY;

/// Names in lower case with their values, in the order of the block.
pub type Headers = Vec<(String, String)>;

/// What a block may have when it is unpacked.
const LIMIT: usize = 64 * 1024;
/// Room that is offered to zlib at a time.
const ROOM: usize = 4 * 1024;

/// The value of a header; None where there is none.
pub fn find<'a>(headers: &'a Headers, name: &str) -> Option<&'a str> {
    headers
        .iter()
        .find(|(n, _)| n == name)
        .map(|(_, value)| value.as_str())
}

/// Packs the blocks of one direction.
#[derive(Debug)]
pub struct Packer(Compress);

impl Packer {
    pub fn new() -> Result<Self, SpdyError> {
        let mut zlib = Compress::new(Compression::default(), true);
        zlib.set_dictionary(&DICTIONARY)
            .map_err(|e| SpdyError::Headers(e.to_string()))?;
        Ok(Self(zlib))
    }

    pub fn pack(&mut self, headers: &Headers) -> Result<Vec<u8>, SpdyError> {
        let plain = write(headers)?;
        let mut packed = Vec::with_capacity(ROOM);
        let start = self.0.total_in();
        loop {
            let done = consumed(self.0.total_in(), start);
            self.0
                .compress_vec(&plain[done..], &mut packed, FlushCompress::Sync)
                .map_err(|e| SpdyError::Headers(e.to_string()))?;
            // Room that is left says that everything has been flushed.
            if packed.len() < packed.capacity() {
                return Ok(packed);
            }
            packed.reserve(ROOM);
        }
    }
}

/// Unpacks the blocks of one direction.
#[derive(Debug)]
pub struct Unpacker(Decompress);

impl Unpacker {
    pub fn new() -> Self {
        Self(Decompress::new(true))
    }

    pub fn unpack(&mut self, packed: &[u8]) -> Result<Headers, SpdyError> {
        let broken = |why: &str| SpdyError::Headers(why.to_owned());
        let mut plain = Vec::with_capacity(ROOM);
        let start = self.0.total_in();
        loop {
            let done = consumed(self.0.total_in(), start);
            let before = (self.0.total_in(), plain.len());
            let step = self
                .0
                .decompress_vec(&packed[done..], &mut plain, FlushDecompress::Sync);
            match step {
                Err(error) if error.needs_dictionary().is_some() => {
                    self.0
                        .set_dictionary(&DICTIONARY)
                        .map_err(|e| broken(&e.to_string()))?;
                    continue;
                }
                Err(error) => return Err(broken(&error.to_string())),
                Ok(Status::StreamEnd) => return Err(broken("the compressed stream has ended")),
                Ok(Status::Ok | Status::BufError) => {}
            }
            if plain.len() > LIMIT {
                return Err(broken("the block is too large"));
            }
            let all = consumed(self.0.total_in(), start) == packed.len();
            if all && plain.len() < plain.capacity() {
                return read(&plain);
            }
            if before == (self.0.total_in(), plain.len()) && plain.len() < plain.capacity() {
                return Err(broken("the block is cut short"));
            }
            plain.reserve(ROOM);
        }
    }
}

fn consumed(now: u64, start: u64) -> usize {
    // A block is smaller than the memory it lies in.
    usize::try_from(now - start).unwrap_or(usize::MAX)
}

fn write(headers: &Headers) -> Result<Vec<u8>, SpdyError> {
    let number = |length: usize| {
        u32::try_from(length)
            .map(u32::to_be_bytes)
            .map_err(|_| SpdyError::Headers("a header is too long".to_owned()))
    };
    let mut plain = number(headers.len())?.to_vec();
    for (name, value) in headers {
        for text in [name, value] {
            plain.extend_from_slice(&number(text.len())?);
            plain.extend_from_slice(text.as_bytes());
        }
    }
    Ok(plain)
}

fn read(plain: &[u8]) -> Result<Headers, SpdyError> {
    let short = || SpdyError::Headers("the block is cut short".to_owned());
    let mut rest = plain;
    let count = take_number(&mut rest).ok_or_else(short)?;
    let mut headers = Headers::new();
    for _ in 0..count {
        let name = take_text(&mut rest).ok_or_else(short)?;
        let value = take_text(&mut rest).ok_or_else(short)?;
        headers.push((name.to_ascii_lowercase(), value));
    }
    Ok(headers)
}

fn take_number(rest: &mut &[u8]) -> Option<usize> {
    let (number, after) = rest.split_first_chunk()?;
    *rest = after;
    usize::try_from(u32::from_be_bytes(*number)).ok()
}

fn take_text(rest: &mut &[u8]) -> Option<String> {
    let length = take_number(rest)?;
    let (text, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(String::from_utf8_lossy(text).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Whatever is packed comes out again, block after block of one stream.
        #[test]
        fn blocks_survive_the_way(
            blocks in prop::collection::vec(prop::collection::vec(("[a-z-]{1,20}", ".{0,200}"), 0..6), 1..6)
        ) {
            let (mut packer, mut unpacker) = (Packer::new().unwrap(), Unpacker::new());
            for block in blocks {
                let packed = packer.pack(&block).unwrap();
                prop_assert_eq!(unpacker.unpack(&packed).unwrap(), block);
            }
        }

        #[test]
        fn rubbish_is_refused_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = Unpacker::new().unpack(&bytes);
        }
    }

    #[test]
    fn a_block_that_unpacks_to_too_much_is_refused() {
        let bomb = Packer::new()
            .unwrap()
            .pack(&vec![("bomb".to_owned(), "0".repeat(LIMIT))])
            .unwrap();
        assert!(bomb.len() < 1024);
        let error = Unpacker::new().unpack(&bomb).unwrap_err();
        assert!(error.to_string().contains("too large"), "{error}");
    }

    #[test]
    fn half_a_block_is_refused() {
        let packed = Packer::new()
            .unwrap()
            .pack(&vec![("port".to_owned(), "8080".to_owned())])
            .unwrap();
        assert!(Unpacker::new().unpack(&packed[..packed.len() / 2]).is_err());
    }
}
