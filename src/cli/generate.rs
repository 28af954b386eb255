//! `generate`: writes sample events as CSV. Equal options give equal bytes. About 1 % of the rows repeat an earlier
//! one, 0.1 % are invalid.

use std::{
    fs::File,
    io::{self, ErrorKind, Write},
    path::PathBuf,
    process::ExitCode,
};

use super::failed;

const HEADER: &[u8] = b"event_id,user_id,event_type,timestamp,test_id,country\n";
const EVENT_TYPES: [&str; 12] = [
    "page_view",
    "login",
    "search",
    "video_played",
    "test_started",
    "question_answered",
    "test_completed",
    "test_abandoned",
    "share",
    "signup",
    "purchase",
    "logout",
];
const COUNTRIES: [&str; 8] = ["IN", "US", "DE", "BR", "JP", "GB", "FR", "NG"];
const DAY_MILLIS: u64 = 86_400_000;
/// Length of November 2025 in milliseconds.
const SPAN_MILLIS: u64 = 30 * DAY_MILLIS;
/// Number of users; a few of them have most of the events.
const USERS: f64 = 100_000.0;
/// Longest distance from a repeated row to its original.
const REPEAT_DISTANCE: u64 = 100_000;
/// Bytes of one write.
const BUFFER_BYTES: usize = 256 * 1024;
const HEX: &[u8; 16] = b"0123456789abcdef";
/// Offset of each byte of a UUID in its text.
const UUID_OFFSETS: [usize; 16] = [0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34];
/// Upper bound of the length of a row.
const MAX_ROW_BYTES: usize = 256;

/// Options of `generate`.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "\
Columns: event_id,user_id,event_type,timestamp,test_id,country. 30 days from 2025-11-01, up to 100,000 users,
12 event types; about 1 % of the rows repeat an earlier one, 0.1 % are invalid (no event type, month 13, cut short).

Examples:
  tallymill generate --rows 1000 --seed 1 > events.csv
  tallymill generate --rows 5000000 --seed 7 --output big.csv")]
pub struct Generate {
    /// Data rows to write
    #[arg(long, value_name = "N")]
    pub rows: u64,
    /// Seed of the pseudo-random content; equal seeds give equal files
    #[arg(long, value_name = "S", default_value_t = 1)]
    pub seed: u64,
    /// Write event ids that increase with time, as `UUIDv7` do, instead of random ones
    #[arg(long)]
    pub ordered_ids: bool,
    /// Write to this file instead of stdout
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// Writes the sample.
pub fn run(options: &Generate) -> ExitCode {
    let written = match &options.output {
        Some(path) => File::create(path).and_then(|mut file| write(options, &mut file)),
        None => write(options, &mut io::stdout().lock()),
    };
    match written {
        Ok(()) => ExitCode::SUCCESS,
        // The reader closed the pipe, as `head` does.
        Err(why) if why.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(why) => {
            let output = options.output.as_ref();
            let name = output.map_or("stdout".into(), |path| path.display().to_string());
            failed(&format!("can't write to {name}: {why}"))
        }
    }
}

fn write(options: &Generate, out: &mut dyn Write) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(BUFFER_BYTES + MAX_ROW_BYTES);
    buffer.extend_from_slice(HEADER);
    for at in 0..options.rows {
        row(options, at, &mut buffer);
        if buffer.len() >= BUFFER_BYTES {
            out.write_all(&buffer)?;
            buffer.clear();
        }
    }
    out.write_all(&buffer)?;
    out.flush()
}

fn row(options: &Generate, at: u64, out: &mut Vec<u8>) {
    let seed = mix(options.seed);
    let dice = mix(at ^ seed ^ 0x0D1C_E000_0000_0000);
    let repeats = dice.is_multiple_of(100) && at > 0;
    // The number of the row whose content is written: an earlier one for a repeat.
    let n = if repeats {
        at - 1 - (dice >> 8) % at.min(REPEAT_DISTANCE)
    } else {
        at
    };
    let [a, b, c] = [1, 2, 3].map(|salt| mix(n.wrapping_mul(4).wrapping_add(salt) ^ seed));
    // Of 3,000 rows, one has no event type (0), one is cut short (1), and one has month 13 (2).
    let fault = if repeats {
        u64::MAX
    } else {
        (dice >> 32) % 3_000
    };
    // Events of many devices are out of order by up to a minute.
    let step = SPAN_MILLIS / options.rows.max(1);
    let at = (n * step + c % 60_000).min(SPAN_MILLIS - 1);
    let high = if options.ordered_ids {
        (0x019A_3CE0_0000 + n) << 16 | 0x7000 | b & 0xFFF
    } else {
        b & !0xF000 | 0x4000
    };
    uuid(high, a & !(0b11 << 62) | 1 << 63, out);
    out.extend_from_slice(b",user-");
    digits(user(a >> 11), 6, out);
    out.push(b',');
    if fault != 0 {
        out.extend_from_slice(EVENT_TYPES[(c >> 32) as usize % EVENT_TYPES.len()].as_bytes());
    }
    if fault == 1 {
        out.push(b'\n');
        return;
    }
    out.extend_from_slice(if fault == 2 {
        b",2025-13-"
    } else {
        b",2025-11-"
    });
    instant(at, out);
    out.extend_from_slice(b",T");
    digits((b >> 20) & 0xFFF, 4, out);
    out.push(b',');
    out.extend_from_slice(COUNTRIES[(a >> 8) as usize % COUNTRIES.len()].as_bytes());
    out.push(b'\n');
}

/// Writes day of month, time and `Z` for the milliseconds since the month began.
fn instant(millis: u64, out: &mut Vec<u8>) {
    let second = millis / 1_000 % 86_400;
    digits(1 + millis / DAY_MILLIS, 2, out);
    out.push(b'T');
    digits(second / 3_600, 2, out);
    out.push(b':');
    digits(second / 60 % 60, 2, out);
    out.push(b':');
    digits(second % 60, 2, out);
    out.push(b'.');
    digits(millis % 1_000, 3, out);
    out.push(b'Z');
}

/// Chooses a user by 53 random bits. The frequency of the n-th user is about proportional to 1/n.
fn user(bits: u64) -> u64 {
    let share = bits as f64 / (1_u64 << 53) as f64;
    (USERS.ln() * share).exp() as u64
}

fn uuid(high: u64, low: u64, out: &mut Vec<u8>) {
    let mut text = [b'-'; 36];
    for (half, offsets) in [(high, &UUID_OFFSETS[..8]), (low, &UUID_OFFSETS[8..])] {
        for (byte, place) in half.to_be_bytes().into_iter().zip(offsets) {
            text[*place] = HEX[usize::from(byte >> 4)];
            text[*place + 1] = HEX[usize::from(byte & 15)];
        }
    }
    out.extend_from_slice(&text);
}

fn digits(mut value: u64, width: usize, out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + width, b'0');
    for place in out[start..].iter_mut().rev() {
        *place = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

/// One step of `SplitMix64` (Steele, Lea, Flood 2014), which maps neighbours to unrelated numbers.
fn mix(n: u64) -> u64 {
    let n = n.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let n = (n ^ n >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let n = (n ^ n >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    n ^ n >> 31
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn text(rows: u64, seed: u64, ordered_ids: bool) -> String {
        let options = Generate {
            rows,
            seed,
            ordered_ids,
            output: None,
        };
        let mut out = Vec::new();
        write(&options, &mut out).expect("memory");
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn equal_seeds_give_equal_bytes() {
        assert_eq!(text(5_000, 7, false), text(5_000, 7, false));
        assert_ne!(text(5_000, 7, false), text(5_000, 8, false));
        assert_eq!(text(0, 7, false).as_bytes(), HEADER);
    }

    #[test]
    fn samples_have_the_documented_shares() {
        let text = text(100_000, 1, false);
        let rows: Vec<&str> = text.lines().skip(1).collect();
        assert_eq!(rows.len(), 100_000);
        let short = rows.iter().filter(|r| r.split(',').count() != 6).count();
        let month = rows.iter().filter(|r| r.contains(",2025-13-")).count();
        let typeless = rows.iter().filter(|r| r.contains(",,")).count();
        assert!((60..140).contains(&(short + month + typeless)));
        assert!(short > 0 && month > 0 && typeless > 0);
        let distinct: HashSet<_> = rows.iter().map(|r| &r[..36]).collect();
        let repeats = rows.len() - distinct.len();
        assert!((800..1_200).contains(&repeats), "{repeats}");
        let days: HashSet<_> = rows
            .iter()
            .filter_map(|r| r.split(',').nth(3)?.get(..10))
            .collect();
        let good = days
            .iter()
            .filter(|day| day.starts_with("2025-11-"))
            .count();
        assert_eq!(good, 30);
        let users: HashSet<_> = rows.iter().filter_map(|r| r.split(',').nth(1)).collect();
        assert!(users.len() > 10_000, "{}", users.len());
        assert!(rows.iter().all(|r| uuid::Uuid::try_parse(&r[..36]).is_ok()));
    }

    #[test]
    fn ordered_ids_increase_from_row_to_row() {
        let text = text(2_000, 3, true);
        let mut ids: Vec<&str> = text.lines().skip(1).map(|r| &r[..36]).collect();
        ids.dedup();
        let falls = ids.windows(2).filter(|w| w[0] >= w[1]).count();
        // Ids fall only where a row repeats an earlier one.
        assert!(falls < 60, "{falls}");
    }
}
