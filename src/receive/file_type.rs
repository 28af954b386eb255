//! Detects by the first bytes of a file that it is not CSV text.

const EXPORT: &str = "open it in the program that made it and export it as CSV";
const UNPACK: &str = "unpack it and send the CSV file inside";

/// First bytes that no CSV text has, with the type of the file and a hint for the user.
const SIGNATURES: [(&[u8], &str, &str); 10] = [
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
