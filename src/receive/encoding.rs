//! Detects the encoding of a file and decodes it to UTF-8. A stated encoding wins, then a byte-order mark, the NULs of
//! UTF-16, and valid UTF-8. The last resort is a guess (chardetng) by the first 64 KiB, which the receipt reports as one.

use std::fmt;

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::{Decoder, DecoderResult, MACINTOSH, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252};

use super::accents::{Accents, accents};

/// Replaces bytes that are not text. It is not UTF-8, so the parser rejects the cell.
const INVALID_BYTE: u8 = 0xff;

/// An encoding of the Encoding Standard: <https://encoding.spec.whatwg.org/#names-and-labels>.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Encoding(&'static encoding_rs::Encoding);

impl Encoding {
    /// The encoding that is passed on unchanged.
    pub const UTF_8: Self = Self(UTF_8);

    /// Returns the encoding with a label such as `windows-1252`, `latin1` or `utf-16le`.
    #[must_use]
    pub fn of_label(label: &str) -> Option<Self> {
        encoding_rs::Encoding::for_label_no_replacement(label.as_bytes()).map(Self)
    }

    /// Returns the name that users see.
    #[must_use]
    pub fn name(self) -> String {
        self.0.name().to_ascii_lowercase()
    }

    /// Returns a text in this encoding; none if the encoding lacks a character, or is UTF-16.
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

/// How the encoding of a file is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EncodingSource {
    /// The upload states it.
    Stated,
    /// The byte-order mark or the bytes of the file prove it.
    Detected,
    /// It is the most likely one.
    Guessed,
}

impl EncodingSource {
    /// Returns the name that users see.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stated => "set",
            Self::Detected => "detected",
            Self::Guessed => "guessed",
        }
    }
}

/// Decodes one file to UTF-8.
pub(super) struct TextDecoder {
    encoding: Encoding,
    source: EncodingSource,
    /// Length of the byte-order mark.
    bom: Option<usize>,
    /// None for UTF-8, which is passed on unchecked: the parser checks each cell anyway.
    decoder: Option<Decoder>,
    out: Vec<u8>,
    finished: bool,
}

impl TextDecoder {
    /// Creates a decoder for a file that starts with `head`; `is_complete` means that the file ends with it.
    pub(super) fn new(head: &[u8], is_complete: bool, stated: Option<Encoding>) -> Self {
        let marked = encoding_rs::Encoding::for_bom(head);
        let (encoding, source) = match (stated, marked) {
            (Some(stated), _) => (stated, EncodingSource::Stated),
            (None, Some((encoding, _))) => (Encoding(encoding), EncodingSource::Detected),
            (None, None) => detect(head, is_complete),
        };
        let bom = marked
            .filter(|(of, _)| *of == encoding.0)
            .map(|(_, length)| length);
        let decoder = (!encoding.is_utf_8()).then(|| encoding.0.new_decoder_without_bom_handling());
        Self {
            encoding,
            source,
            bom,
            decoder,
            out: Vec::new(),
            finished: false,
        }
    }

    /// Returns the length of the byte-order mark.
    pub(super) fn bom_bytes(&self) -> usize {
        self.bom.unwrap_or(0)
    }

    /// Whether the encoding is a guess, and the letters are those of DOS, which no encoding of the Encoding Standard has.
    pub(super) fn is_of_dos(&self, head: &[u8]) -> bool {
        self.source == EncodingSource::Guessed
            && self.encoding.0 == WINDOWS_1252
            && accents(head) == Accents::Dos
    }

    /// Returns the encoding, how it is known, and whether there is a byte-order mark.
    pub(super) fn properties(&self) -> (Encoding, EncodingSource, bool) {
        (self.encoding, self.source, self.bom.is_some())
    }

    /// Returns the text of the next bytes.
    pub(super) fn decode<'a>(&'a mut self, bytes: &'a [u8]) -> &'a [u8] {
        let Some(decoder) = &mut self.decoder else {
            return bytes;
        };
        transcode(decoder, bytes, false, &mut self.out);
        &self.out
    }

    /// Returns the text that remains at the end of the file: a replaced half of a character, if the file ends in one.
    pub(super) fn finish(&mut self) -> Option<&[u8]> {
        let decoder = self.decoder.as_mut()?;
        if std::mem::replace(&mut self.finished, true) {
            return None;
        }
        transcode(decoder, b"", true, &mut self.out);
        (!self.out.is_empty()).then_some(&*self.out)
    }
}

fn transcode(decoder: &mut Decoder, mut bytes: &[u8], last: bool, out: &mut Vec<u8>) {
    // Capacity for the worst case, allocated once, since there may be many invalid bytes.
    let capacity = decoder
        .max_utf8_buffer_length(bytes.len())
        .unwrap_or(bytes.len() * 3 + 16);
    out.clear();
    out.resize(capacity, 0);
    let mut end = 0;
    loop {
        let (result, read, written) =
            decoder.decode_to_utf8_without_replacement(bytes, &mut out[end..], last);
        bytes = &bytes[read..];
        end += written;
        match result {
            DecoderResult::InputEmpty => return out.truncate(end),
            DecoderResult::OutputFull => out.resize(out.len() + capacity, 0),
            DecoderResult::Malformed(..) => {
                out[end] = INVALID_BYTE;
                end += 1;
            }
        }
    }
}

fn detect(head: &[u8], is_complete: bool) -> (Encoding, EncodingSource) {
    if let Some(utf_16) = utf_16_by_nuls(head) {
        return (Encoding(utf_16), EncodingSource::Detected);
    }
    match std::str::from_utf8(head) {
        Ok(_) => (Encoding::UTF_8, EncodingSource::Detected),
        // The head may end within a character.
        Err(why) if why.error_len().is_none() && !is_complete => {
            (Encoding::UTF_8, EncodingSource::Detected)
        }
        Err(_) if is_mostly_utf_8(head) => (Encoding::UTF_8, EncodingSource::Guessed),
        Err(_) => {
            let mut detector = EncodingDetector::new(Iso2022JpDetection::Deny);
            detector.feed(head, is_complete);
            let guess = detector.guess(None, Utf8Detection::Deny);
            let is_mac = guess == WINDOWS_1252 && accents(head) == Accents::Mac;
            (
                Encoding(if is_mac { MACINTOSH } else { guess }),
                EncodingSource::Guessed,
            )
        }
    }
}

/// Detects UTF-16 by its NULs: text of mostly ASCII letters has one in every other byte.
fn utf_16_by_nuls(head: &[u8]) -> Option<&'static encoding_rs::Encoding> {
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

/// Whether there are at least as many valid characters beyond ASCII as invalid bytes. This is UTF-8 with a few invalid
/// cells: letters of another encoding are hardly ever valid UTF-8.
fn is_mostly_utf_8(head: &[u8]) -> bool {
    let (mut valid, mut invalid) = (0_usize, 0_usize);
    for chunk in head.utf8_chunks() {
        valid += chunk.valid().chars().filter(|c| !c.is_ascii()).count();
        invalid += usize::from(!chunk.invalid().is_empty());
    }
    valid >= invalid
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detected(head: &[u8]) -> (String, EncodingSource) {
        let (encoding, source, _) = TextDecoder::new(head, true, None).properties();
        (encoding.name(), source)
    }

    #[test]
    fn encodings_are_detected() {
        let utf_16le: Vec<u8> = "event_type,user_id\n"
            .encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect();
        let utf_16be: Vec<u8> = "event_type,user_id\n"
            .encode_utf16()
            .flat_map(u16::to_be_bytes)
            .collect();
        for (head, name, source) in [
            (&b""[..], "utf-8", EncodingSource::Detected),
            (b"event_type,user_id\n", "utf-8", EncodingSource::Detected),
            ("größe,日付".as_bytes(), "utf-8", EncodingSource::Detected),
            (b"\xff\xfea\0", "utf-16le", EncodingSource::Detected),
            (b"\xfe\xff\0a", "utf-16be", EncodingSource::Detected),
            (&utf_16le, "utf-16le", EncodingSource::Detected),
            (&utf_16be, "utf-16be", EncodingSource::Detected),
            (
                b"user,note\n1,caf\xe9 \x96 na\xefve\n",
                "windows-1252",
                EncodingSource::Guessed,
            ),
            (
                "id,größe\n1,straße \u{fffd}\n2,x".as_bytes(),
                "utf-8",
                EncodingSource::Detected,
            ),
            (
                &["größe ä ö".as_bytes(), b"\xff"].concat(),
                "utf-8",
                EncodingSource::Guessed,
            ),
        ] {
            assert_eq!(detected(head), (name.to_owned(), source), "{head:?}");
        }
    }

    #[test]
    fn invalid_bytes_are_replaced_by_an_invalid_byte() {
        let shift_jis = Encoding::of_label("shift_jis").expect("known");
        let mut decoder = TextDecoder::new(b"", true, Some(shift_jis));
        let expected = ["aテ".as_bytes(), &[INVALID_BYTE], b"b"].concat();
        assert_eq!(decoder.decode(b"a\x83\x65\xffb"), expected);
        assert_eq!(decoder.decode(b"\x83"), b"");
        assert_eq!(decoder.finish(), Some(&[INVALID_BYTE][..]));
        assert_eq!(decoder.finish(), None);
    }

    #[test]
    fn labels_follow_the_encoding_standard() {
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
