//! Tells the encodings of old Macs and of DOS from windows-1252 by the accented letters inside words. All three have a
//! character for nearly every byte, so that only what the bytes mean can tell.

/// The encoding whose letters most accented bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Accents {
    /// Those of windows-1252, or no more of another encoding.
    Windows,
    /// Those of Mac OS Roman.
    Mac,
    /// Those of cp437 and cp850.
    Dos,
}

/// á à ä ç é è ö ü ê ô û, as far as they are not common signs of windows-1252.
const MAC_LETTERS: &[u8] = b"\x87\x88\x8a\x8d\x8e\x8f\x90\x99\x9a\x9e\x9f";
/// ü é ä ç ê è ö á í ó ú ñ ß.
const DOS_LETTERS: &[u8] = b"\x81\x82\x84\x87\x88\x8a\x94\xa0\xa1\xa2\xa3\xa4\xe1";

/// Returns the encoding whose letters stand behind letters of ASCII.
pub(super) fn accents(head: &[u8]) -> Accents {
    let (mut windows, mut mac, mut dos) = (0, 0, 0);
    for at in 1..head.len() {
        let (before, byte) = (head[at - 1], head[at]);
        let next = head.get(at + 1).is_some_and(u8::is_ascii_alphabetic);
        // The quotes and dashes of windows-1252 stand at the ends of words.
        let may_be_sign = (0x91..=0x97).contains(&byte);
        if byte.is_ascii() || !before.is_ascii_alphabetic() || (may_be_sign && !next) {
            continue;
        }
        windows += usize::from(byte >= 0xc0);
        mac += usize::from(MAC_LETTERS.contains(&byte));
        dos += usize::from(DOS_LETTERS.contains(&byte));
    }
    if mac > windows && mac > dos {
        Accents::Mac
    } else if dos > windows && dos > mac {
        Accents::Dos
    } else {
        Accents::Windows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_letters_of_each_encoding_are_told_apart() {
        for (text, expected) in [
            (&b"caf\xe9 na\xefve"[..], Accents::Windows),
            (b"\x93quoted\x94 don\x92t \x84so\x93", Accents::Windows),
            (b"plain", Accents::Windows),
            (b"caf\x8e,M\x9fnchen,K\x9aln", Accents::Mac),
            (b"caf\x82,M\x81nchen,K\x94ln", Accents::Dos),
        ] {
            assert_eq!(accents(text), expected, "{text:?}");
        }
    }
}
