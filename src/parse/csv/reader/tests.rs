//! Files whose lines come to the end of the numbers.

use chrono_tz::Tz;

use super::*;

/// The lines of events and of rejections, or the error of the file.
type Lines = Result<(Vec<u32>, Vec<(u32, u32)>), ParseError>;

/// Reads rows of a file whose first row is on a given line.
fn read_from(line: u32, rows: &str) -> Lines {
    let options = CsvReaderOptions {
        columns: Vec::new(),
        header: HeaderOption::Detect,
        from_errors_csv: false,
        limits: Limits::default(),
        dialect: DialectOptions::default(),
        timestamps: TimestampParser::new(Tz::UTC, Tz::UTC, Vec::new()),
        timestamp_format: None,
        values: ValueOptions::default(),
    };
    let mut head = b"user_id,event_type,timestamp\n".to_vec();
    let (mut reader, _) = CsvReader::new(options, &mut head)?;
    reader.feed_lines(&head)?;
    reader.framer.set_line(line);
    reader.feed_lines(rows.as_bytes())?;
    reader.finish()?;
    let (mut events, mut rejections) = (Vec::new(), Vec::new());
    while let Some(block) = reader.next_rows() {
        events.extend(block.events.lines);
        let lines = block.rejections.iter().map(|r| (r.line, r.last_line));
        rejections.extend(lines);
    }
    Ok((events, rejections))
}

#[test]
fn the_last_line_that_can_be_numbered_is_a_row() {
    const LAST: u32 = u32::MAX;
    let row = "u1,a,2025-11-10\n";
    for rows in [row.repeat(2), row.repeat(2).trim_end().to_owned()] {
        let lines = read_from(LAST - 1, &rows).expect("fits");
        assert_eq!(lines, (vec![LAST - 1, LAST], vec![]));
    }
    let lines = read_from(LAST - 2, "\"u\n1\",a,2025-11-10\nu1,a\n").expect("fits");
    assert_eq!(lines, (vec![LAST - 2], vec![(LAST, LAST)]));
    let lines = read_from(LAST - 2, "u1,\"a\n\n\",2025-11-10,b\n").expect("fits");
    assert_eq!(lines, (vec![], vec![(LAST - 2, LAST)]));
}

#[test]
fn files_with_more_lines_than_can_be_numbered_are_refused() {
    let row = "u1,a,2025-11-10\n";
    let limit = u32::MAX;
    for rows in [
        row.repeat(3),
        format!("{row}\n{row}"),
        format!("{row}{row}\n"),
        format!("{row}\"u\n1\",a,2025-11-10\n"),
        format!("{row}u1,\"a\n\",2025-11-10,b\n"),
        format!("{row}u1,\"a\n{row}"),
    ] {
        let refused = read_from(limit - 1, &rows);
        assert_eq!(refused, Err(ParseError::TooManyLines { limit }), "{rows}");
    }
}
