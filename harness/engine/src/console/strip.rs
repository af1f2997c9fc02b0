//! Terminal control taken out of a stream of text: colours, bracketed paste, questions about the cursor.

/// Where in a control sequence the last chunk ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Text,
    /// After ESC.
    Escape,
    /// `ESC [` parameters until a final byte.
    Csi,
    /// `ESC ]` or another string, until BEL or `ESC \`.
    String,
    /// ESC within such a string.
    StringEscape,
    /// ESC and an intermediate byte, as in `ESC ( B`.
    Intermediate,
}

/// Takes control sequences and control characters out, across chunks. Newlines and tabs stay.
#[derive(Debug, Default)]
pub(super) struct Strip {
    state: State,
}

impl Strip {
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut text = Vec::with_capacity(bytes.len());
        for &byte in bytes {
            self.state = match (self.state, byte) {
                (State::Text | State::Escape | State::StringEscape, 0x1b) => State::Escape,
                (State::Text, byte) => {
                    if byte >= 0x20 && byte != 0x7f || matches!(byte, b'\n' | b'\t') {
                        text.push(byte);
                    }
                    State::Text
                }
                (State::Escape, b'[') => State::Csi,
                (State::Escape, b']' | b'P' | b'X' | b'^' | b'_') => State::String,
                (State::Escape, 0x20..=0x2f) => State::Intermediate,
                // A sequence that is cut off by the end of a line was none.
                (State::Csi | State::Intermediate | State::String, b'\n') => {
                    text.push(b'\n');
                    State::Text
                }
                (State::String, 0x1b) => State::StringEscape,
                (State::Csi, 0x40..=0x7e)
                | (State::Intermediate, 0x30..=0x7e)
                | (State::String, 0x07)
                | (State::Escape | State::StringEscape, _) => State::Text,
                (state, _) => state,
            };
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strip(text: &str) -> String {
        String::from_utf8(Strip::default().feed(text.as_bytes())).unwrap()
    }

    #[rstest::rstest]
    #[case("/root # \x1b[6n", "/root # ")]
    #[case("\x1b[?2004h[fedora@vm ~]$ ", "[fedora@vm ~]$ ")]
    #[case("\x1b]0;fedora@vm:~\x07$ ", "$ ")]
    #[case("\x1b]0;title\x1b\\$ ", "$ ")]
    #[case("\x1b[32m[  OK  ]\x1b[0m Started\r\n", "[  OK  ] Started\n")]
    #[case("\x1b(Bplain\x1b7", "plain")]
    #[case("\x1b[31cut\nnext", "ut\nnext")]
    #[case("tab\there\x08\x07", "tab\there")]
    fn control_goes_and_text_stays(#[case] raw: &str, #[case] text: &str) {
        assert_eq!(strip(raw), text);
        // The same in pieces of one byte.
        let mut strip = Strip::default();
        let pieces = raw.bytes().flat_map(|byte| strip.feed(&[byte])).collect();
        assert_eq!(String::from_utf8(pieces).unwrap(), text);
    }
}
