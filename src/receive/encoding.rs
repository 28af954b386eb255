//! Which encoding a file is in, and its text in UTF-8. What is stated wins; else a byte-order mark, the NULs of UTF-16,
//! sound UTF-8, or a guess (chardetng) over the first 64 KiB, which the receipt calls one.

use std::fmt;

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::{Decoder, DecoderResult, UTF_8, UTF_16BE, UTF_16LE};

/// Stands for bytes that are no text: not UTF-8, so that the cell they are in is rejected.
const NOT_TEXT: u8 = 0xff;

/// An encoding of the Encoding Standard: <https://encoding.spec.whatwg.org/#names-and-labels>.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Encoding(&'static encoding_rs::Encoding);

impl Encoding {
    /// What files should be in.
    pub const UTF_8: Self = Self(UTF_8);

    /// The encoding of a label, such as `windows-1252`, `latin1` or `utf-16le`.
    #[must_use]
    pub fn of_label(label: &str) -> Option<Self> {
        encoding_rs::Encoding::for_label_no_replacement(label.as_bytes()).map(Self)
    }

    /// The name users see.
    #[must_use]
    pub fn name(self) -> String {
        self.0.name().to_ascii_lowercase()
    }

    /// A text in this encoding, if it has all its characters; UTF-16, which nothing here writes, is left out.
    #[cfg(test)]
    pub fn encode(self, text: &str) -> Option<Vec<u8>> {
        let (bytes, used, lossy) = self.0.encode(text);
        (used == self.0 && !lossy).then(|| bytes.into_owned())
    }

    pub(super) fn is_utf_8(self) -> bool {
        self.0 == UTF_8
    }
}

impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())
    }
}

/// How an encoding is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// The sender stated it.
    Set,
    /// The file says so by its byte-order mark, or could not be anything else.
    Detected,
    /// It is the likeliest one.
    Guessed,
}

impl Known {
    /// The name users see.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Set => "set",
            Self::Detected => "detected",
            Self::Guessed => "guessed",
        }
    }
}

/// Turns one file into UTF-8.
pub(super) struct Decoding {
    encoding: Encoding,
    known: Known,
    bom: Option<usize>,
    /// None for UTF-8, which passes as it is: the parser looks at each cell anyway.
    decoder: Option<Decoder>,
    out: Vec<u8>,
    ended: bool,
}

impl Decoding {
    /// The decoding of a file that begins with `head`, or is no longer than that if `whole`.
    pub(super) fn of(head: &[u8], whole: bool, stated: Option<Encoding>) -> Self {
        let marked = encoding_rs::Encoding::for_bom(head);
        let (encoding, known) = match (stated, marked) {
            (Some(stated), _) => (stated, Known::Set),
            (None, Some((encoding, _))) => (Encoding(encoding), Known::Detected),
            (None, None) => detect(head, whole),
        };
        let bom = marked
            .filter(|(of, _)| *of == encoding.0)
            .map(|(_, length)| length);
        let decoder = (!encoding.is_utf_8()).then(|| encoding.0.new_decoder_without_bom_handling());
        Self {
            encoding,
            known,
            bom,
            decoder,
            out: Vec::new(),
            ended: false,
        }
    }

    pub(super) fn bom_bytes(&self) -> usize {
        self.bom.unwrap_or(0)
    }

    pub(super) fn described(&self) -> (Encoding, Known, bool) {
        (self.encoding, self.known, self.bom.is_some())
    }

    /// The text of some bytes.
    pub(super) fn decode<'a>(&'a mut self, bytes: &'a [u8]) -> &'a [u8] {
        let Some(decoder) = &mut self.decoder else {
            return bytes;
        };
        transcode(decoder, bytes, false, &mut self.out);
        &self.out
    }

    /// What is left when there are no more bytes: half a character, if the file ends in one.
    pub(super) fn end(&mut self) -> Option<&[u8]> {
        let decoder = self.decoder.as_mut()?;
        if std::mem::replace(&mut self.ended, true) {
            return None;
        }
        transcode(decoder, b"", true, &mut self.out);
        (!self.out.is_empty()).then_some(&*self.out)
    }
}

fn transcode(decoder: &mut Decoder, mut bytes: &[u8], last: bool, out: &mut Vec<u8>) {
    // Room for all of it, were none of it text. Made once: bytes that are no text may be many.
    let room = decoder
        .max_utf8_buffer_length(bytes.len())
        .unwrap_or(bytes.len() * 3 + 16);
    out.clear();
    out.resize(room, 0);
    let mut end = 0;
    loop {
        let (result, read, written) =
            decoder.decode_to_utf8_without_replacement(bytes, &mut out[end..], last);
        bytes = &bytes[read..];
        end += written;
        match result {
            DecoderResult::InputEmpty => return out.truncate(end),
            DecoderResult::OutputFull => out.resize(out.len() + room, 0),
            DecoderResult::Malformed(..) => {
                out[end] = NOT_TEXT;
                end += 1;
            }
        }
    }
}

fn detect(head: &[u8], whole: bool) -> (Encoding, Known) {
    if let Some(utf_16) = by_nuls(head) {
        return (Encoding(utf_16), Known::Detected);
    }
    match std::str::from_utf8(head) {
        Ok(_) => (Encoding::UTF_8, Known::Detected),
        // A character that goes on behind the head is no fault.
        Err(why) if why.error_len().is_none() && !whole => (Encoding::UTF_8, Known::Detected),
        Err(_) if mostly_utf_8(head) => (Encoding::UTF_8, Known::Guessed),
        Err(_) => {
            let mut detector = EncodingDetector::new(Iso2022JpDetection::Deny);
            detector.feed(head, whole);
            let guess = detector.guess(None, Utf8Detection::Deny);
            (Encoding(guess), Known::Guessed)
        }
    }
}

/// Text in UTF-16 of mostly ASCII letters has a NUL in every other byte.
fn by_nuls(head: &[u8]) -> Option<&'static encoding_rs::Encoding> {
    let pairs = head.chunks_exact(2);
    let all = pairs.len();
    if all < 2 {
        return None;
    }
    let (mut low, mut high) = (0, 0);
    for pair in pairs {
        low += usize::from(pair[0] != 0 && pair[1] == 0);
        high += usize::from(pair[0] == 0 && pair[1] != 0);
    }
    if low * 10 >= all * 6 {
        Some(UTF_16LE)
    } else if high * 10 >= all * 6 {
        Some(UTF_16BE)
    } else {
        None
    }
}

/// Whether there are as many sound characters beyond ASCII as unsound bytes: a file in UTF-8 with a few bad cells, not one
/// in another encoding, whose letters are hardly ever sound UTF-8.
fn mostly_utf_8(head: &[u8]) -> bool {
    let (mut sound, mut unsound) = (0_usize, 0_usize);
    for chunk in head.utf8_chunks() {
        sound += chunk.valid().chars().filter(|c| !c.is_ascii()).count();
        unsound += usize::from(!chunk.invalid().is_empty());
    }
    sound >= unsound
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(head: &[u8]) -> (String, Known) {
        let (encoding, known, _) = Decoding::of(head, true, None).described();
        (encoding.name(), known)
    }

    #[test]
    fn encodings_are_told_apart() {
        let utf_16le: Vec<u8> = "event_type,user_id\n"
            .encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect();
        let utf_16be: Vec<u8> = "event_type,user_id\n"
            .encode_utf16()
            .flat_map(u16::to_be_bytes)
            .collect();
        for (head, name, known) in [
            (&b""[..], "utf-8", Known::Detected),
            (b"event_type,user_id\n", "utf-8", Known::Detected),
            ("größe,日付".as_bytes(), "utf-8", Known::Detected),
            (b"\xff\xfea\0", "utf-16le", Known::Detected),
            (b"\xfe\xff\0a", "utf-16be", Known::Detected),
            (&utf_16le, "utf-16le", Known::Detected),
            (&utf_16be, "utf-16be", Known::Detected),
            (
                b"user,note\n1,caf\xe9 \x96 na\xefve\n",
                "windows-1252",
                Known::Guessed,
            ),
            (
                "id,größe\n1,straße \u{fffd}\n2,x".as_bytes(),
                "utf-8",
                Known::Detected,
            ),
            (
                &["größe ä ö".as_bytes(), b"\xff"].concat(),
                "utf-8",
                Known::Guessed,
            ),
        ] {
            assert_eq!(found(head), (name.to_owned(), known), "{head:?}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_stay_recognisable() {
        let shift_jis = Encoding::of_label("shift_jis").expect("known");
        let mut decoding = Decoding::of(b"", true, Some(shift_jis));
        let expected = ["aテ".as_bytes(), &[NOT_TEXT], b"b"].concat();
        assert_eq!(decoding.decode(b"a\x83\x65\xffb"), expected);
        assert_eq!(decoding.decode(b"\x83"), b"");
        assert_eq!(decoding.end(), Some(&[NOT_TEXT][..]));
        assert_eq!(decoding.end(), None);
    }

    #[test]
    fn labels_are_those_of_the_standard() {
        for (label, name) in [
            ("latin1", "windows-1252"),
            ("UTF8", "utf-8"),
            ("utf-16le", "utf-16le"),
            ("sjis", "shift_jis"),
        ] {
            assert_eq!(
                Encoding::of_label(label).map(Encoding::name).as_deref(),
                Some(name)
            );
        }
        assert_eq!(Encoding::of_label("klingon"), None);
    }
}
