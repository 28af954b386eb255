//! Recognises, by the first bytes, what people send in place of a CSV file.

const EXPORT: &str = "open it in the program that made it and export it as CSV";
const UNPACK: &str = "unpack it and send the CSV file inside";

/// First bytes that no CSV text has, what they stand for, and what to do.
const MAGIC: [(&[u8], &str, &str); 10] = [
    (b"\x1f\x8b", "packed with gzip twice", UNPACK),
    (
        b"PK\x03\x04",
        "an archive or a spreadsheet (xlsx, ods) that is packed again",
        "export the sheet as CSV, or unpack the archive",
    ),
    (b"PK\x05\x06", "an empty zip archive", UNPACK),
    (b"\x28\xb5\x2f\xfd", "packed with zstd twice", UNPACK),
    (b"\xfd7zXZ\x00", "an xz archive", UNPACK),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", UNPACK),
    (b"%PDF-", "a PDF document", EXPORT),
    (
        b"\xd0\xcf\x11\xe0",
        "an old spreadsheet or document (xls, doc)",
        EXPORT,
    ),
    (
        b"\x00\x00\xfe\xff",
        "text in UTF-32",
        "save it as CSV in UTF-8",
    ),
    // The other byte order, behind what is also the mark of UTF-16.
    (b"\x00\x00", "text in UTF-32", "save it as CSV in UTF-8"),
];

/// What a file is, and what to do about it, if it is clear that it is no CSV text; `head` is without its
/// byte-order mark.
pub(super) fn foreign(head: &[u8]) -> Option<(&'static str, &'static str)> {
    let magic = MAGIC.iter().find(|(magic, ..)| head.starts_with(magic));
    if let Some((_, found, hint)) = magic {
        return Some((found, hint));
    }
    match head.trim_ascii_start().first() {
        Some(b'{' | b'[') => Some(("JSON", "convert it to CSV with a header line")),
        Some(b'<') => Some((
            "a web page or XML",
            "download the CSV file itself, or export it as CSV",
        )),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_files_are_told_by_name() {
        for (head, name) in [
            (&b"\x1f\x8b\x08\x00"[..], "gzip"),
            (b"PK\x03\x04\x14\x00\x06\x00", "xlsx"),
            (b"\x28\xb5\x2f\xfd\x04", "zstd"),
            (b"%PDF-1.7\n", "PDF"),
            (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "xls"),
            (b" \r\n{\"event_type\": 1}", "JSON"),
            (b"[1,2]", "JSON"),
            (b"<!doctype html>", "web page"),
            (b"\n<?xml version", "XML"),
        ] {
            let (found, hint) = foreign(head).expect("not a CSV file");
            assert!(found.contains(name), "{found}");
            assert!(!hint.is_empty());
        }
    }

    #[test]
    fn tables_pass() {
        for head in [
            "",
            "\n\n",
            "a",
            "\"a\",b",
            "event_type,user_id",
            "größe,日付",
            "a\0b,c",
            "(x),y",
            "PK,sk",
        ] {
            assert_eq!(foreign(head.as_bytes()), None, "{head:?}");
        }
    }
}
