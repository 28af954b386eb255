//! Property tests: for any text, divided anywhere, all rows are accounted for and cells keep their text.

use proptest::prelude::*;

use super::*;

/// Writes a cell as CSV writers do.
fn write(cell: &str, always: bool) -> String {
    if always || cell.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", cell.replace('"', "\"\""))
    } else {
        cell.to_owned()
    }
}

fn cell() -> impl Strategy<Value = String> {
    let character = prop_oneof![
        Just('a'),
        Just(','),
        Just('"'),
        Just('\n'),
        Just('\r'),
        Just(' '),
        Just('é')
    ];
    prop::collection::vec(character, 0..8).prop_map(String::from_iter)
}

proptest! {
    #[test]
    fn cells_of_any_table_keep_their_text(
        table in prop::collection::vec((cell(), cell()), 1..40),
        always: bool,
        crlf: bool,
        last: bool,
        size in prop_oneof![Just(1_usize), 2_usize..50],
    ) {
        let end = if crlf { "\r\n" } else { "\n" };
        let mut text = HEADER.replace('\n', end);
        for (note, plan) in &table {
            let (note, plan) = (write(note, always), write(plan, always));
            text += &format!("e,u,login,2025-11-10,{note},{plan}{end}");
        }
        let text = if last { text.as_str() } else { text.strip_suffix(end).expect("ends so") };
        let parsed = parse_with(text.as_bytes(), size, Options::default(), Limits::default()).expect("parses");
        let cells = |(_, _, mut cells): (u32, u32, Vec<Vec<u8>>)| {
            let plan = String::from_utf8(cells.pop().expect("six cells"));
            (String::from_utf8(cells.pop().expect("six cells")).expect("text"), plan.expect("text"))
        };
        prop_assert_eq!(parsed.events.into_iter().map(cells).collect::<Vec<_>>(), table);
    }

    #[test]
    fn results_do_not_depend_on_how_the_text_is_divided(
        parts in prop::collection::vec(prop_oneof![
            Just(row(7)), Just("e,u,login,\"2025-11-10\",\"a\nb\",p\r\n".to_owned()),
            "[ae,\"\n\r\u{0}é]{0,12}", Just("\n".to_owned()), Just("e,\"u,login\n".to_owned()),
            Just("e,u,login,2025-11-10,n,p\r\n".to_owned()),
        ], 0..30),
        bytes in prop::collection::vec(any::<u8>(), 0..20),
        size in 2_usize..40,
        record_bytes in prop_oneof![Just(1024_usize), 48_usize..80],
    ) {
        let text = [HEADER.as_bytes(), parts.concat().as_bytes(), &bytes].concat();
        let limits = Limits { record_bytes, record_lines: 5, ..Limits::default() };
        let parsed = parse_with(&text, usize::MAX, Options::default(), limits);
        prop_assert_eq!(&parse_with(&text, 1, Options::default(), limits), &parsed);
        prop_assert_eq!(&parse_with(&text, size, Options::default(), limits), &parsed);
    }

    #[test]
    fn parsing_any_bytes_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..300), size in 1_usize..40) {
        let _ = parse_with(&bytes, size, Options::default(), Limits::default());
        let below = [HEADER.as_bytes(), &bytes].concat();
        let _ = parse_with(&below, size, Options::default(), Limits::default());
    }
}
