//! Generated files with overlapping events, an oracle that computes their figures in one pass without jobs, and queries
//! of the figures and batches of a running service.

use std::collections::{BTreeMap, BTreeSet};

use reqwest::Client;
use serde_json::Value;

const EVENT_TYPES: [&str; 3] = ["login", "search", "logout"];
/// On average, one row in this many is invalid.
const INVALID_INTERVAL: u64 = 100;
/// On average, one row in this many has another hour, and so conflicts with the other rows of its event. The hour
/// changes no figure.
const CONFLICT_INTERVAL: u64 = 20;

/// (events, unique users) by (day, event type).
pub(crate) type Figures = BTreeMap<(String, String), (u64, u64)>;

/// The generator `SplitMix64`: equal seeds produce equal numbers.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % bound
    }
}

/// A generated file.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub(crate) name: String,
    pub(crate) csv: String,
    /// Number of rows.
    pub(crate) received: u64,
    /// Number of valid rows.
    pub(crate) inserted: u64,
}

/// Returns the user, type and day of event `n`, which are the same in every file that contains it.
fn event(n: u64) -> (u64, &'static str, u64) {
    (n % 37, EVENT_TYPES[(n / 7 % 3) as usize], n / 11 % 5 + 10)
}

impl Sample {
    /// Returns a file of `rows` + 1 rows, drawn from `events` distinct events.
    pub(crate) fn new(number: u64, rows: u64, events: u64, random: &mut Random) -> Self {
        let mut csv = "event_id,user_id,event_type,timestamp\n".to_owned();
        // The user and time of this row, the only one without an event id, differ in each file: no file is a duplicate.
        let (user, hour, minute) = (number % 37, number / 60 % 24, number % 60);
        csv += &format!(",u{user},login,2025-11-09T{hour:02}:{minute:02}:00Z\n");
        let mut invalid = 0;
        for _ in 0..rows {
            let n = random.below(events);
            let (user, event_type, day) = event(n);
            if random.below(INVALID_INTERVAL) == 0 {
                invalid += 1;
                csv += &format!("e{n},u{user},{event_type},yesterday\n");
            } else {
                let hour = 10 + u64::from(random.below(CONFLICT_INTERVAL) == 0);
                csv += &format!("e{n},u{user},{event_type},2025-11-{day}T{hour}:00:00Z\n");
            }
        }
        Self {
            name: format!("file-{number}.csv"),
            csv,
            received: rows + 1,
            inserted: rows + 1 - invalid,
        }
    }
}

/// Computes the expected figures in one pass over the valid rows: each row without an event id counts, and each event
/// id counts once.
pub(crate) fn oracle<'a>(files: impl IntoIterator<Item = &'a Sample>) -> Figures {
    let mut seen = BTreeSet::new();
    let mut figures: BTreeMap<(String, String), (u64, BTreeSet<String>)> = BTreeMap::new();
    for line in files.into_iter().flat_map(|file| file.csv.lines().skip(1)) {
        let cells: Vec<&str> = line.split(',').collect();
        let [id, user, event_type, time] = cells[..] else {
            panic!("not four cells: {line}")
        };
        if time == "yesterday" || (!id.is_empty() && !seen.insert(id.to_owned())) {
            continue;
        }
        let (count, users) = figures
            .entry((time[..10].into(), event_type.into()))
            .or_default();
        *count += 1;
        users.insert(user.to_owned());
    }
    figures
        .into_iter()
        .map(|(key, (count, users))| (key, (count, users.len() as u64)))
        .collect()
}

/// Returns the JSON at a URL.
pub(crate) async fn json(client: &Client, url: &str) -> Value {
    let reply = client.get(url).send().await.expect("answers");
    assert_eq!(reply.status(), 200, "{url}");
    reply.json().await.expect("JSON")
}

/// Returns every visible batch.
pub(crate) async fn batches(client: &Client, url: &str) -> Vec<Value> {
    let (mut all, mut cursor) = (Vec::new(), String::new());
    loop {
        let mut page = json(client, &format!("{url}/batches?limit=100{cursor}")).await;
        all.extend(page["data"].as_array().expect("a list").iter().cloned());
        match page["next_cursor"].take() {
            Value::String(next) => cursor = format!("&cursor={next}"),
            _ => return all,
        }
    }
}

/// Returns the figures of all days.
pub(crate) async fn figures(client: &Client, url: &str) -> Figures {
    let body = json(client, &format!("{url}/metrics")).await;
    let mut all = BTreeMap::new();
    for day in body["data"].as_array().expect("a list") {
        for figure in day["metrics"].as_array().expect("a list") {
            let text = |value: &Value| value.as_str().expect("text").to_owned();
            let number = |value: &Value| value.as_u64().expect("a number");
            let key = (text(&day["date"]), text(&figure["event_type"]));
            all.insert(
                key,
                (number(&figure["count"]), number(&figure["unique_users"])),
            );
        }
    }
    all
}
