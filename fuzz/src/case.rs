//! Decodes one input of the fuzzer: options in its first bytes, a file in the rest. Every input is valid, and a changed
//! byte changes one option or one byte of the file.

use std::io::Write;

use flate2::{
    Compression, Crc,
    write::{DeflateEncoder, GzEncoder},
};
use tallymill::{ingest::UploadOptions, parse, receive};

/// Bytes of an input that encode options.
const OPTION_BYTES: usize = 12;
/// Maximum bytes of a body, also unpacked: enough for two blocks, and a limit that every bomb exceeds.
const BODY_BYTES: u64 = 256 * 1024;
/// Prepended to the file by an option, so that the fuzzer reaches the rows at once.
const HEADER: &[u8] = b"event_id,user_id,event_type,timestamp,note,plan\n";

const ENCODINGS: [&str; 12] = [
    "",
    "utf-8",
    "utf-16le",
    "utf-16be",
    "windows-1252",
    "shift_jis",
    "gb18030",
    "iso-2022-jp",
    "big5",
    "euc-kr",
    "x-user-defined",
    "no-such-encoding",
];
const DELIMITERS: [&str; 10] = ["", "comma", ";", "tab", "|", "space", "^", "\\", "x", "^A"];
const QUOTES: [&str; 7] = ["", "\"", "'", "`", ",", "\\", "none"];
const ESCAPES: [&str; 3] = ["", "doubled", "backslash"];
const FORMATS: [&str; 16] = [
    "",
    "%d/%m/%Y",
    "%m/%d/%Y %I:%M %p",
    "excel",
    "%s",
    "%Y-%m-%dT%H:%M:%S%.f%z",
    "%Y-%m-%d %H:%M:%S %Z",
    "%a, %d %b %Y %T %z",
    "%G-W%V-%u",
    "%Y-%j",
    "%y%m%d",
    "%Q",
    "%d/%m/%Y|auto",
    "%d.%m.%y %I.%M.%S.%f %p",
    "%a %d %b %Y %H:%M %Z",
    "[\"%Y-%m-%d\",\"excel\"]",
];
const ZONES: [&str; 7] = [
    "",
    "Europe/Berlin",
    "America/New_York",
    "Asia/Kolkata",
    "Pacific/Apia",
    "Africa/Monrovia",
    "Mars/Olympus",
];
const COLUMNS: [&str; 8] = [
    "",
    "user_id:a,event_type:b,timestamp:c",
    "event_id:note",
    "timestamp:plan",
    "user_id:",
    "timestamp:note+plan,event_type:=\"x\"",
    "user_id:#2,event_type:#3,timestamp:#4",
    "{\"timestamp\":[\"note\",\"plan\"],\"user_id\":1}",
];
const HEADERS: [&str; 5] = ["", "auto", "none", "unnamed-first", "unnamed-last"];
const NULLS: [&str; 3] = ["", "-", "a,b"];
const ANONYMOUS: [&str; 3] = ["", "keep", "reject"];
/// Bytes of a record, bytes of a cell, columns, lines of a record.
const LIMITS: [(usize, usize, usize, u32); 5] = [
    (1024 * 1024, 256 * 1024, 512, 10_000),
    (128, 64, 8, 5),
    (64, 64, 512, 10_000),
    (4096, 16, 512, 2),
    (200_000, 100_000, 3, 100),
];

/// A body, and how it is received and parsed.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) body: Vec<u8>,
    pub(crate) receive: receive::Options,
    pub(crate) parse: parse::Options,
    pub(crate) body_limit: receive::Limits,
    pub(crate) limits: parse::Limits,
    /// Bytes of the body that arrive at a time.
    pub(crate) chunk_bytes: usize,
}

impl Case {
    /// Decodes an input; none if its options are invalid.
    pub(crate) fn decode(input: &[u8]) -> Option<Self> {
        let mut head = [0; OPTION_BYTES];
        let option_bytes = input.len().min(OPTION_BYTES);
        head[..option_bytes].copy_from_slice(&input[..option_bytes]);
        let [
            packing,
            damage,
            encoding,
            delimiter,
            quote,
            escape,
            format,
            zone,
            columns,
            limits,
            chunk,
            shape,
        ] = head;
        let pairs = [
            ("encoding", pick(&ENCODINGS, encoding & 0x7f)),
            ("delimiter", pick(&DELIMITERS, delimiter)),
            ("quote", pick(&QUOTES, quote)),
            ("escape", pick(&ESCAPES, escape)),
            ("timestamp_format", pick(&FORMATS, format)),
            ("time_zone", pick(&ZONES, zone)),
            ("columns", pick(&COLUMNS, columns)),
            // The higher bits of bytes whose lists are short.
            ("header", pick(&HEADERS, columns >> 4)),
            ("null_values", pick(&NULLS, escape >> 4)),
            ("anonymous", pick(&ANONYMOUS, zone >> 4)),
        ];
        let stated = pairs.into_iter().filter(|(_, value)| !value.is_empty());
        let mut options = UploadOptions::from_pairs(stated).ok()?;
        let file = file(&input[option_bytes..], shape, encoding);
        let (mut body, coding) = pack(&file, packing);
        options.receive.coding = coding;
        damage_body(&mut body, damage);
        let (record_bytes, cell_bytes, columns, record_lines) = pick(&LIMITS, limits);
        Some(Self {
            body,
            receive: options.receive,
            parse: options.parse,
            body_limit: receive::Limits { body: BODY_BYTES },
            limits: parse::Limits {
                record_bytes,
                cell_bytes,
                columns,
                record_lines,
                ..parse::Limits::default()
            },
            chunk_bytes: usize::from(chunk) + 1,
        })
    }
}

fn pick<T: Copy>(all: &[T], at: u8) -> T {
    all[usize::from(at) % all.len()]
}

/// Returns the file: with a prepended header, repeated, or in UTF-16.
fn file(bytes: &[u8], shape: u8, encoding: u8) -> Vec<u8> {
    // Long files are rare, since they take long.
    let repetitions = match shape >> 1 & 15 {
        13 => 10,
        14 => 1_000,
        15 => 20_000,
        _ => 1,
    };
    let max_repetitions =
        usize::try_from(BODY_BYTES).unwrap_or(usize::MAX) / bytes.len().max(1) + 2;
    let header = if shape & 1 == 1 { HEADER } else { b"" };
    let file = [header, &bytes.repeat(repetitions.min(max_repetitions))].concat();
    if encoding & 0x80 == 0 {
        return file;
    }
    let text = String::from_utf8_lossy(&file);
    let is_big_endian = pick(&ENCODINGS, encoding & 0x7f) == "utf-16be";
    text.encode_utf16()
        .flat_map(|unit| {
            if is_big_endian {
                unit.to_be_bytes()
            } else {
                unit.to_le_bytes()
            }
        })
        .collect()
}

/// Returns the body, and its `Content-Encoding`.
fn pack(file: &[u8], packing: u8) -> (Vec<u8>, Option<receive::Packing>) {
    let (gzip_sent, zstd_sent) = (Some(receive::Packing::Gzip), Some(receive::Packing::Zstd));
    match packing % 9 {
        1 => (gzip(file), None),
        2 => (zstd(file), None),
        3 => (zip(file), None),
        4 => (gzip(file), gzip_sent),
        5 => (zstd(file), zstd_sent),
        6 => (gzip(&zip(file)), gzip_sent),
        7 => (zstd(&gzip(file)), zstd_sent),
        8 => (file.to_vec(), gzip_sent),
        _ => (file.to_vec(), None),
    }
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::best());
    packed.write_all(bytes).expect("in memory");
    packed.finish().expect("in memory")
}

pub(crate) fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).expect("in memory")
}

/// Returns a zip archive of one deflated file.
pub(crate) fn zip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = DeflateEncoder::new(Vec::new(), Compression::best());
    packed.write_all(bytes).expect("in memory");
    let packed = packed.finish().expect("in memory");
    let mut crc = Crc::new();
    crc.update(bytes);
    let name = b"e.csv";
    let mut common = vec![20, 0, 0, 0, 8, 0, 0, 0, 0, 0];
    common.extend(crc.sum().to_le_bytes());
    for length in [packed.len(), bytes.len()] {
        let length = u32::try_from(length).expect("a small file");
        common.extend(length.to_le_bytes());
    }
    common.extend([5, 0, 0, 0]);
    let local = [b"PK\x03\x04", &common[..], name, &packed].concat();
    let central = [b"PK\x01\x02\x14\x00", &common[..], &[0; 14], name].concat();
    let at = |bytes: &[u8]| u32::try_from(bytes.len()).expect("small").to_le_bytes();
    let end = [
        &b"PK\x05\x06\0\0\0\0\x01\0\x01\0"[..],
        &at(&central),
        &at(&local),
        &[0, 0],
    ];
    [&local[..], &central, &end.concat()].concat()
}

/// Changes a byte of the body, or truncates the body there.
fn damage_body(body: &mut Vec<u8>, damage: u8) {
    let at = body.len() * usize::from(damage >> 1) / 128;
    match body.get_mut(at) {
        Some(byte) if damage > 1 && damage & 1 == 0 => *byte ^= damage,
        Some(_) if damage > 1 => body.truncate(at),
        _ => {}
    }
}
