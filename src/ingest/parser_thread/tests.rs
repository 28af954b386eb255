//! Property: a table in any stated dialect and encoding is parsed cell by cell, however its bytes are cut into chunks.

use proptest::prelude::*;

use super::*;
use crate::{
    ingest::UploadOptions,
    model::EventBlock,
    parse::{Dialect, Escape},
    receive::Encoding,
};

/// The form in which a table is written.
#[derive(Debug, Clone)]
struct Writing {
    dialect: Dialect,
    /// Whether every cell is quoted.
    always_quoted: bool,
    line_end: &'static str,
    encoding: &'static str,
    bom: bool,
    /// Whether the last line has a line end.
    last_line_end: bool,
}

impl Writing {
    /// Returns the text of a cell, quoted where the dialect needs it.
    fn cell(&self, cell: &str) -> String {
        let Dialect {
            delimiter,
            quote,
            escape,
        } = self.dialect;
        let (delimiter, quote) = (char::from(delimiter), char::from(quote));
        if !self.always_quoted && !cell.contains([delimiter, quote, '\n', '\r']) {
            return cell.to_owned();
        }
        let inner = match escape {
            Escape::Doubled => cell.replace(quote, &format!("{quote}{quote}")),
            Escape::Backslash => cell
                .replace('\\', "\\\\")
                .replace(quote, &format!("\\{quote}")),
        };
        format!("{quote}{inner}{quote}")
    }

    fn file(&self, table: &[Vec<String>]) -> Vec<u8> {
        let header = ["user_id", "event_type", "timestamp", "note", "plan"].map(str::to_owned);
        let rows = table.iter().map(|cells| {
            let fixed = ["u", "login", "2025-11-10"].map(str::to_owned);
            [&fixed[..], cells].concat()
        });
        let delimiter = char::from(self.dialect.delimiter).to_string();
        let lines: Vec<String> = std::iter::once(header.to_vec())
            .chain(rows)
            .map(|cells| {
                let cells: Vec<_> = cells.iter().map(|cell| self.cell(cell)).collect();
                cells.join(&delimiter)
            })
            .collect();
        let mut text = lines.join(self.line_end);
        if self.last_line_end {
            text += self.line_end;
        }
        self.encode(&text)
    }

    fn encode(&self, text: &str) -> Vec<u8> {
        let marked = match self.encoding {
            "utf-8" | "utf-16le" | "utf-16be" if self.bom => format!("\u{feff}{text}"),
            _ => text.to_owned(),
        };
        match self.encoding {
            "utf-16le" => marked.encode_utf16().flat_map(u16::to_le_bytes).collect(),
            "utf-16be" => marked.encode_utf16().flat_map(u16::to_be_bytes).collect(),
            label => Encoding::of_label(label)
                .and_then(|encoding| encoding.encode(&marked))
                .expect("the encoding has every character of the table"),
        }
    }

    fn options(&self) -> Vec<(&'static str, String)> {
        vec![
            ("delimiter", char::from(self.dialect.delimiter).to_string()),
            ("quote", char::from(self.dialect.quote).to_string()),
            ("escape", self.dialect.escape.as_str().to_owned()),
            ("encoding", self.encoding.to_owned()),
        ]
    }
}

fn writing() -> impl Strategy<Value = Writing> {
    let bytes = (
        prop::sample::select(&b",;\t|^ ~x"[..]),
        prop::sample::select(&b"\"'"[..]),
        prop::sample::select(&[Escape::Doubled, Escape::Backslash][..]),
    );
    let encodings = [
        "utf-8",
        "utf-16le",
        "utf-16be",
        "windows-1252",
        "windows-1251",
        "shift_jis",
        "gb18030",
    ];
    let encoding = prop::sample::select(encodings.to_vec());
    let line_end = prop::sample::select(vec!["\n", "\r\n", "\r"]);
    (
        bytes,
        any::<bool>(),
        line_end,
        encoding,
        any::<bool>(),
        any::<bool>(),
    )
        .prop_map(
            |(
                (delimiter, quote, escape),
                always_quoted,
                line_end,
                encoding,
                bom,
                last_line_end,
            )| Writing {
                dialect: Dialect {
                    delimiter,
                    quote,
                    escape,
                },
                // A cell of the header may contain this delimiter.
                always_quoted: always_quoted || delimiter == b'x',
                line_end,
                encoding,
                bom,
                last_line_end,
            },
        )
}

/// Cells of characters that are special in some dialect, and of two that are not ASCII.
fn cell(writing: &Writing) -> impl Strategy<Value = String> + use<> {
    let mut characters: Vec<char> = "ab ,;\t|^~x\"'\\=".chars().collect();
    // If lines end in CR, no cell can contain a line end.
    if writing.line_end != "\r" {
        characters.extend(['\n', '\r']);
    }
    characters.extend(
        match writing.encoding {
            "windows-1252" => "é–",
            "windows-1251" => "Ж№",
            "shift_jis" => "ソ表",
            _ => "é😀",
        }
        .chars(),
    );
    prop::collection::vec(prop::sample::select(characters), 0..8).prop_map(String::from_iter)
}

fn table() -> impl Strategy<Value = (Writing, Vec<Vec<String>>)> {
    writing().prop_flat_map(|writing| {
        let row = prop::collection::vec(cell(&writing), 2);
        (Just(writing), prop::collection::vec(row, 1..20))
    })
}

fn limits() -> Limits {
    Limits {
        time_zone: chrono_tz::Tz::UTC,
        receive: receive::Limits::default(),
        parse: crate::parse::Limits::default(),
        rejections: 100,
        event_types: 100,
        days: 100,
        batch_ttl: None,
        lease: std::time::Duration::from_secs(1),
    }
}

/// Returns the attributes of all rows, and the summary, of a body received in chunks of `chunk_bytes`.
fn parse(
    body: &[u8],
    options: &UploadOptions,
    chunk_bytes: usize,
) -> (Vec<Vec<String>>, ParseSummary) {
    let (chunks, received_chunks) = mpsc::channel(body.len() + 1);
    for chunk in body.chunks(chunk_bytes) {
        let chunk = Bytes::copy_from_slice(chunk);
        chunks.blocking_send(chunk).expect("the channel is open");
    }
    let end = chunks.blocking_send(Bytes::new());
    end.expect("the channel is open");
    let (messages, mut received) = mpsc::channel(1_000);
    let parser = ParserThread::new(options, Survey::new(1_000, 4_000, i64::MAX / 2), &limits())
        .expect("valid options");
    parser.run(received_chunks, &messages);
    drop(messages);
    let (mut rows, mut summary) = (Vec::new(), None);
    while let Some(message) = received.blocking_recv() {
        match message.expect("a valid file") {
            ParserMessage::Header(..) => {}
            ParserMessage::Rows(ParsedRows { events, rejections }) => {
                assert_eq!(rejections, []);
                rows.extend((0..events.len()).map(|at| attributes(&events, at)));
            }
            ParserMessage::End(end) => summary = Some(end.summary),
        }
    }
    (rows, summary.expect("an end"))
}

fn attributes(events: &EventBlock, at: usize) -> Vec<String> {
    let columns = events.attributes.iter();
    columns
        .map(|column| String::from_utf8(column.get(at).to_vec()).expect("text"))
        .collect()
}

proptest! {
    #[test]
    fn tables_are_parsed_cell_by_cell((writing, table) in table(), chunk_bytes in 1_usize..40) {
        let file = writing.file(&table);
        let options = UploadOptions::from_pairs(writing.options()).expect("options");
        for chunk_bytes in [1, chunk_bytes, file.len()] {
            let (rows, summary) = parse(&file, &options, chunk_bytes);
            prop_assert_eq!(&rows, &table);
            prop_assert_eq!(summary.received, summary.inserted + summary.failed + summary.blank);
            prop_assert_eq!(summary.inserted, table.len() as u64);
            prop_assert_eq!(summary.dialect, writing.dialect);
        }
    }
}

#[test]
fn the_thread_ends_with_its_upload_even_if_the_text_has_no_rows() {
    let (chunks, received_chunks) = mpsc::channel(4);
    let (messages, received) = mpsc::channel(1_000);
    let options = UploadOptions::default();
    let parser = ParserThread::new(&options, Survey::new(1_000, 4_000, i64::MAX / 2), &limits());
    let parser = parser.expect("valid options");
    drop(received);
    let thread = std::thread::spawn(move || parser.run(received_chunks, &messages));
    let head = Bytes::from("user_id,event_type,timestamp\nu,a,2025-11-10\n");
    let mut sent = chunks.blocking_send(head).map(|()| 0);
    // Fewer than the blank lines that every file may have.
    let blank = Bytes::from("\n".repeat(64 << 10));
    while let Ok(count @ 0..20) = sent {
        sent = chunks.blocking_send(blank.clone()).map(|()| count + 1);
    }
    assert!(sent.is_err(), "it goes on without anybody");
    thread.join().expect("no panic");
}
