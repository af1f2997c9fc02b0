//! The checksum of the POSIX program `cksum`, which every guest has.

/// The polynomial of Ethernet, most significant bit first.
const POLYNOMIAL: u32 = 0x04c1_1db7;

const TABLE: [u32; 256] = table();

const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        // There is no checked cast in a constant; 255 fits.
        #[allow(clippy::cast_possible_truncation, reason = "at most 255")]
        let mut remainder = (index as u32) << 24;
        let mut bit = 0;
        while bit < 8 {
            let carry = remainder & 0x8000_0000 != 0;
            remainder <<= 1;
            if carry {
                remainder ^= POLYNOMIAL;
            }
            bit += 1;
        }
        table[index] = remainder;
        index += 1;
    }
    table
}

/// What `cksum` prints first: a CRC over the bytes and then their number, lowest byte first.
pub(super) fn cksum(bytes: &[u8]) -> u32 {
    let step = |crc: u32, byte: u8| (crc << 8) ^ TABLE[usize::from((crc >> 24) as u8 ^ byte)];
    let mut crc = bytes.iter().fold(0, |crc, byte| step(crc, *byte));
    let mut length = bytes.len();
    while length > 0 {
        crc = step(crc, length.to_le_bytes()[0]);
        length >>= 8;
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::*;

    // From coreutils: `printf … | cksum`.
    #[rstest::rstest]
    #[case(b"", 4_294_967_295)]
    #[case(b"123456789", 930_766_865)]
    fn as_the_program_says(#[case] bytes: &[u8], #[case] crc: u32) {
        assert_eq!(cksum(bytes), crc);
    }
}
