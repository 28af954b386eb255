//! Detects by the first bytes of a file that it is not CSV text.

const EXPORT: &str = "open it in the program that made it and export it as CSV";
const UNPACK_OR_GZIP: &str = "unpack it, or pack it with gzip, zstd or zip instead";
const CONVERT: &str =
    "convert it to CSV, for example with DuckDB: COPY (FROM 'FILE') TO 'FILE.csv'";
const UNPACK: &str = "unpack it and send the CSV file inside";

/// Where a tar archive names its format.
const TAR_MAGIC: usize = 257;

/// First bytes that no CSV text has, with the type of the file and a hint for the user.
const SIGNATURES: &[(&[u8], &str, &str)] = &[
    (b"\x1f\x8b", "packed with gzip twice", UNPACK),
    (
        b"PK\x03\x04",
        "an archive or a spreadsheet (xlsx, ods) that is packed again",
        "export the sheet as CSV, or unpack the archive",
    ),
    (b"PK\x05\x06", "an empty zip archive", UNPACK),
    (b"\x28\xb5\x2f\xfd", "packed with zstd twice", UNPACK),
    (b"BZh91AY&SY", "packed with bzip2", UNPACK_OR_GZIP),
    (b"\xfd7zXZ\x00", "packed with xz", UNPACK_OR_GZIP),
    (b"Rar!\x1a\x07", "a rar archive", UNPACK),
    (b"\x04\x22\x4d\x18", "packed with lz4", UNPACK_OR_GZIP),
    (b"{\\rtf", "a text document in RTF", EXPORT),
    (b"PAR1\x15", "a Parquet file", CONVERT),
    (b"Obj\x01", "an Avro file", CONVERT),
    (b"ARROW1", "an Arrow file", CONVERT),
    (
        b"SQLite format 3\x00",
        "an SQLite database",
        "export the table as CSV: sqlite3 -header -csv FILE 'SELECT * FROM …'",
    ),
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
    // The other byte order. Its byte-order mark starts with that of UTF-16, which `head` lacks already.
    (b"\x00\x00", "text in UTF-32", "save it as CSV in UTF-8"),
];

/// Returns the type of a file that is certainly not CSV text, and a hint for the user. `head` has no byte-order mark.
pub(super) fn detect_other_than_csv(head: &[u8]) -> Option<(&'static str, &'static str)> {
    let mut signatures = SIGNATURES.iter();
    let known = signatures.find(|(signature, ..)| head.starts_with(signature));
    if let Some((_, found, hint)) = known {
        return Some((found, hint));
    }
    if head.get(TAR_MAGIC..TAR_MAGIC + 5) == Some(b"ustar") {
        return Some(("a tar archive", UNPACK));
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
    fn other_file_types_are_detected() {
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
            let (found, hint) = detect_other_than_csv(head).expect("not a CSV file");
            assert!(found.contains(name), "{found}");
            assert!(!hint.is_empty());
        }
    }

    #[test]
    fn csv_text_is_accepted() {
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
            assert_eq!(detect_other_than_csv(head.as_bytes()), None, "{head:?}");
        }
    }
}
