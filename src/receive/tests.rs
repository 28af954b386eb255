//! Tests of complete bodies: packed, divided, encoded, damaged, and over the limit.

use std::io::{Read, Write};

use flate2::{
    Compression,
    write::{DeflateEncoder, GzEncoder},
};
use proptest::prelude::*;

use super::*;

const TABLE: &[u8] =
    b"event_type,timestamp,user_id\nlogin,2025-11-10,u1\nlogout,2025-11-10,u1\nlogin,2025-11-11,u2\n";

/// A source that provides at most `chunk_bytes` at a time.
struct ChunkedSource {
    bytes: Vec<u8>,
    at: usize,
    chunk_bytes: usize,
}

impl Read for ChunkedSource {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        unreachable!("only read through its buffer")
    }
}

impl BufRead for ChunkedSource {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let end = self.bytes.len().min(self.at + self.chunk_bytes);
        Ok(&self.bytes[self.at..end])
    }

    fn consume(&mut self, amount: usize) {
        self.at += amount;
    }
}

fn receive_with(
    bytes: &[u8],
    chunk_bytes: usize,
    options: Options,
    body: u64,
) -> Result<(Vec<u8>, ReceivedFile), ReceiveError> {
    let source = ChunkedSource {
        bytes: bytes.to_vec(),
        at: 0,
        chunk_bytes,
    };
    let mut text = TextReader::open(source, options, Limits { body })?;
    let mut all = Vec::new();
    while let Some(chunk) = text.next_chunk()? {
        assert!(chunk.len() <= 3 * CHUNK_BYTES);
        all.extend_from_slice(chunk);
    }
    Ok((all, text.received_file()))
}

fn receive(bytes: &[u8], chunk_bytes: usize) -> Result<(Vec<u8>, ReceivedFile), ReceiveError> {
    receive_with(bytes, chunk_bytes, Options::default(), 1 << 20)
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(bytes).expect("in memory");
    packed.finish().expect("in memory")
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    ::zstd::encode_all(bytes, 1).expect("in memory")
}

/// Returns an archive as written by programs that stream: the sizes follow the data.
fn zip(files: &[(&str, &[u8])]) -> Vec<u8> {
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    for (name, bytes) in files {
        let offset = out.len() as u32;
        let mut packed = DeflateEncoder::new(Vec::new(), Compression::fast());
        packed.write_all(bytes).expect("in memory");
        let packed = packed.finish().expect("in memory");
        let mut crc = flate2::Crc::new();
        crc.update(bytes);
        let (method, flags) = if name.ends_with('/') && !name.starts_with("deflated") {
            (0_u16, 0_u16)
        } else {
            (8, 8)
        };
        let packed = if method == 0 { Vec::new() } else { packed };
        let common = |flags: u16, sizes: bool| {
            let mut head = Vec::new();
            head.extend(20_u16.to_le_bytes());
            head.extend(flags.to_le_bytes());
            head.extend(method.to_le_bytes());
            head.extend([0; 4]);
            for value in [crc.sum(), packed.len() as u32, bytes.len() as u32] {
                head.extend(if sizes { value } else { 0 }.to_le_bytes());
            }
            head.extend((name.len() as u16).to_le_bytes());
            head.extend([0; 2]);
            head
        };
        out.extend(b"PK\x03\x04");
        out.extend(common(flags, false));
        out.extend(name.as_bytes());
        out.extend(&packed);
        if flags & 8 != 0 {
            out.extend(b"PK\x07\x08");
            for value in [crc.sum(), packed.len() as u32, bytes.len() as u32] {
                out.extend(value.to_le_bytes());
            }
        }
        directory.extend(b"PK\x01\x02");
        directory.extend([20, 0]);
        directory.extend(common(flags, true));
        directory.extend([0; 10]);
        directory.extend(offset.to_le_bytes());
        directory.extend(name.as_bytes());
    }
    let (count, offset, size) = (files.len() as u16, out.len() as u32, directory.len() as u32);
    out.extend(directory);
    out.extend(b"PK\x05\x06\0\0\0\0");
    out.extend(count.to_le_bytes());
    out.extend(count.to_le_bytes());
    out.extend(size.to_le_bytes());
    out.extend(offset.to_le_bytes());
    out.extend([0; 2]);
    out
}

#[test]
fn text_does_not_depend_on_how_the_body_is_divided() {
    for length in 0..TABLE.len() {
        for size in [1, 2, 3, 63, 1000] {
            let (text, received) = receive(&TABLE[..length], size).expect("text");
            assert_eq!(text, &TABLE[..length]);
            assert_eq!((received.bytes, received.bom), (length as u64, false));
            assert_eq!(received.sha256[..], Sha256::digest(&TABLE[..length])[..]);
        }
    }
}

#[test]
fn byte_order_marks_are_removed_but_hashed() {
    for table in [TABLE, &TABLE[..10], b""] {
        let marked = [b"\xef\xbb\xbf", table].concat();
        for size in [1, 2, 3, 4, 1000] {
            let (text, received) = receive(&marked, size).expect("text");
            assert_eq!(text, table);
            assert!(received.bom);
            assert_eq!(received.bytes, marked.len() as u64);
            assert_eq!(received.sha256[..], Sha256::digest(&marked)[..]);
        }
    }
}

#[test]
fn packed_files_are_received_as_the_unpacked_file() {
    let members = [gzip(&TABLE[..40]), gzip(&TABLE[40..])].concat();
    let frames = [zstd(&TABLE[..40]), zstd(&TABLE[40..])].concat();
    let archive = zip(&[
        ("data/", b""),
        ("data/events.csv", TABLE),
        ("__MACOSX/._events.csv", b"x"),
    ]);
    // As macOS and streaming programs write an archive.
    let hidden_first = zip(&[
        ("deflated/", b""),
        ("__MACOSX/._events.csv", b"not the file"),
        (".DS_Store", b""),
        ("deflated/events.csv", TABLE),
    ]);
    // As tapes and `dd` pad a file.
    let padded = [
        gzip(&TABLE[..40]),
        vec![0; 9],
        gzip(&TABLE[40..]),
        vec![0; 700],
    ]
    .concat();
    for (packed, packing) in [
        (gzip(TABLE), Packing::Gzip),
        (padded, Packing::Gzip),
        (hidden_first, Packing::Zip),
        (members, Packing::Gzip),
        (zstd(TABLE), Packing::Zstd),
        (frames, Packing::Zstd),
        (archive, Packing::Zip),
    ] {
        for size in [1, 5, 1 << 20] {
            let (text, received) = receive(&packed, size).expect("text");
            assert_eq!(text, TABLE, "{packing}");
            assert_eq!(received.packing, Some(packing));
            assert_eq!(received.sha256[..], Sha256::digest(TABLE)[..]);
            assert_eq!(received.bytes, TABLE.len() as u64);
        }
    }
}

#[test]
fn content_encoding_is_decoded_before_the_packing_of_the_file() {
    let options = Options {
        coding: Some(Packing::Gzip),
        encoding: None,
    };
    for body in [gzip(TABLE), gzip(&zstd(TABLE))] {
        let (text, _) = receive_with(&body, 7, options, 1 << 20).expect("text");
        assert_eq!(text, TABLE);
    }
    let thrice = gzip(&gzip(&gzip(TABLE)));
    let error = receive_with(&thrice, 700, options, 1 << 20).expect_err("packed three times");
    assert!(
        error.to_string().contains("packed with gzip twice"),
        "{error}"
    );
}

#[test]
fn damaged_or_truncated_packed_files_are_rejected() {
    for packed in [gzip(TABLE), zstd(TABLE), zip(&[("a.csv", TABLE)])] {
        for length in 5..packed.len() {
            assert!(
                receive(&packed[..length], 1000).is_err(),
                "{length} of {}",
                packed.len()
            );
        }
    }
    let mut damaged = zip(&[("a.csv", TABLE)]);
    let at = damaged
        .windows(4)
        .position(|w| w == b"PK\x01\x02")
        .expect("a directory");
    damaged[at + 16] ^= 1;
    let error = receive(&damaged, 1000).expect_err("another check sum");
    assert!(error.to_string().contains("check sum"), "{error}");
    let mut renamed = zip(&[("a.csv", TABLE)]);
    renamed[at + 46] = b'b';
    let error = receive(&renamed, 1000).expect_err("another name");
    assert!(
        error
            .to_string()
            .contains("`a.csv` at its head and `b.csv`"),
        "{error}"
    );
    for garbage in [&b"x"[..], b"\0\0x"] {
        let followed = [&gzip(TABLE), garbage].concat();
        assert!(receive(&followed, 1000).is_err(), "{garbage:?}");
    }
}

#[test]
fn archives_without_exactly_one_csv_file_are_rejected() {
    for (files, message) in [
        (
            &[("a.csv", TABLE), ("b.csv", TABLE)][..],
            "2 files (a.csv, b.csv)",
        ),
        (
            &[("[Content_Types].xml", TABLE), ("xl/workbook.xml", TABLE)],
            "spreadsheet",
        ),
    ] {
        let error = receive(&zip(files), 64).expect_err("is rejected");
        assert!(error.to_string().contains(message), "{error}");
    }
}

#[test]
fn every_encoding_is_decoded_to_the_same_text() {
    let table = "type,user,note\nlogin,u1,größe – naïve\n";
    let utf_16 = |unit: fn(u16) -> [u8; 2], mark: &str| -> Vec<u8> {
        format!("{mark}{table}")
            .encode_utf16()
            .flat_map(unit)
            .collect()
    };
    let (windows, ..) = encoding_rs::WINDOWS_1252.encode(table);
    for (bytes, name, source, bom) in [
        (
            table.as_bytes().to_vec(),
            "utf-8",
            EncodingSource::Detected,
            false,
        ),
        (
            utf_16(u16::to_le_bytes, "\u{feff}"),
            "utf-16le",
            EncodingSource::Detected,
            true,
        ),
        (
            utf_16(u16::to_be_bytes, "\u{feff}"),
            "utf-16be",
            EncodingSource::Detected,
            true,
        ),
        (
            utf_16(u16::to_le_bytes, ""),
            "utf-16le",
            EncodingSource::Detected,
            false,
        ),
        (
            utf_16(u16::to_be_bytes, ""),
            "utf-16be",
            EncodingSource::Detected,
            false,
        ),
        (
            windows.to_vec(),
            "windows-1252",
            EncodingSource::Guessed,
            false,
        ),
    ] {
        for size in [1, 3, 1000] {
            let (text, received) = receive(&bytes, size).expect("text");
            assert_eq!(String::from_utf8_lossy(&text), table, "{name}");
            let properties = (
                received.encoding.name(),
                received.encoding_source,
                received.bom,
            );
            assert_eq!(properties, (name.to_owned(), source, bom));
        }
    }
    let stated = Options {
        coding: None,
        encoding: Encoding::of_label("latin1"),
    };
    let (text, received) = receive_with(&windows, 4, stated, 1000).expect("text");
    assert_eq!(
        (
            String::from_utf8_lossy(&text).as_ref(),
            received.encoding_source
        ),
        (table, EncodingSource::Stated)
    );
}

#[test]
fn the_limit_is_inclusive_for_packed_and_unpacked_files() {
    let receive = |bytes: &[u8]| receive_with(bytes, 300, Options::default(), 1000);
    assert!(receive(&[b'a'; 1000]).is_ok());
    let error = receive(&[b'a'; 1001]).expect_err("too large");
    assert!(
        matches!(
            error,
            ReceiveError::TooLarge {
                limit: 1000,
                unpacked: false
            }
        ),
        "{error:?}"
    );
    for packed in [gzip(&[b'a'; 1000]), zstd(&[b'a'; 1000])] {
        assert!(receive(&packed).is_ok());
    }
    for packed in [
        gzip(&[b'a'; 1001]),
        zstd(&[b'a'; 1001]),
        zip(&[("a.csv", &[b'a'; 1001])]),
    ] {
        let error = receive(&packed).expect_err("too large");
        assert!(
            matches!(
                error,
                ReceiveError::TooLarge {
                    limit: 1000,
                    unpacked: true
                }
            ),
            "{error:?}"
        );
    }
}

#[test]
fn files_that_are_not_text_are_rejected_in_chunks_of_any_size() {
    for size in [1, 7, 1000] {
        let error = receive(b"%PDF-1.7 and more", size).expect_err("a document");
        assert!(
            error.to_string().starts_with("the file is a PDF"),
            "{error}"
        );
    }
}

proptest! {
    #[test]
    fn receiving_any_bytes_never_panics_or_exceeds_the_limit(
        mut bytes in prop::collection::vec(any::<u8>(), 0..400), size in 1usize..50, kind in 0usize..5,
    ) {
        let magic: [&[u8]; 5] = [b"", b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd", b"PK\x03\x04", b"\xff\xfe"];
        bytes.splice(0..0, magic[kind].iter().copied());
        if let Ok((_, received)) = receive_with(&bytes, size, Options::default(), 300) {
            prop_assert!(received.bytes <= 300);
        }
    }

    #[test]
    fn packing_and_division_do_not_change_the_text(
        bytes in prop::collection::vec(0x20u8..0x7f, 0..3000), cut in 0usize..3000, size in 1usize..500,
    ) {
        prop_assume!(file_type::detect_other_than_csv(&bytes).is_none());
        let cut = cut.min(bytes.len());
        let packed = [gzip(&bytes[..cut]), gzip(&bytes[cut..])].concat();
        let (text, _) = receive(&packed, size).expect("text");
        prop_assert_eq!(&text, &bytes);
        let (text, _) = receive(&zip(&[("x.csv", &bytes)]), size).expect("text");
        prop_assert_eq!(&text, &bytes);
    }
}

#[test]
fn a_body_that_unpacks_without_end_is_rejected_by_its_ratio() {
    let row = "u1,login,2025-11-10\n".repeat(10_000);
    let rows = usize::try_from(UNPACKED_BYTES).expect("fits") / row.len() + 2;
    let text = format!("user_id,event_type,timestamp\n{}", row.repeat(rows));
    let bomb = zstd(text.as_bytes());
    assert!(text.len() / bomb.len() > 1_100, "{} bytes", bomb.len());
    let source = std::io::Cursor::new(bomb);
    let mut text = TextReader::open(source, Options::default(), Limits::default()).expect("a file");
    let mut bytes = 0;
    let refused = loop {
        match text.next_chunk() {
            Ok(Some(chunk)) => bytes += chunk.len() as u64,
            Ok(None) => panic!("it was read to its end"),
            Err(why) => break why,
        }
    };
    assert!(
        matches!(refused, ReceiveError::UnpacksTooFar { .. }),
        "{refused}"
    );
    assert!(bytes <= UNPACKED_BYTES);
}
