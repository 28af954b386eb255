//! Parses the text of each setting, and collects the faults.

use std::{
    collections::HashMap,
    fmt::Display,
    fs,
    io::ErrorKind,
    net::{IpAddr, Ipv4Addr},
    path::Path,
    str::FromStr,
    time::Duration,
};

use chrono_tz::Tz;
use ipnet::IpNet;

use super::{ConfigFaults, LogFormat, Secret, Setting, table::settings};

/// Longest duration in seconds: ten years.
const LONGEST_SECONDS: u64 = 10 * 366 * 86_400;
/// Characters of a wrong value that a fault shows.
const SHOWN_CHARS: usize = 100;
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// Reads settings one by one. A faulty setting has its default until `finish` reports the fault.
pub(super) struct Reader<'a> {
    lookup: &'a dyn Fn(&str) -> Option<String>,
    faults: Vec<String>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(lookup: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self {
            lookup,
            faults: Vec::new(),
        }
    }

    pub(super) fn finish<T>(self, config: T) -> Result<T, ConfigFaults> {
        if self.faults.is_empty() {
            Ok(config)
        } else {
            Err(ConfigFaults(self.faults))
        }
    }

    fn set(&self, key: &str) -> Option<String> {
        (self.lookup)(key)
            .map(|value| value.trim().to_owned())
            .filter(|value| !value.is_empty())
    }

    pub(super) fn text(&self, key: &str) -> String {
        self.set(key)
            .unwrap_or_else(|| table_entry(key).default.to_owned())
    }

    /// Reads a secret; `None` if it is not set.
    pub(super) fn secret(&self, key: &str) -> Option<Secret> {
        Some(self.text(key))
            .filter(|text| !text.is_empty())
            .map(Secret)
    }

    /// Adds a fault of a combination of settings.
    pub(super) fn fault(&mut self, fault: &str) {
        self.faults.push(fault.into());
    }

    fn parsed<T>(&mut self, key: &str, accepted: &str, parse: impl Fn(&str) -> Option<T>) -> T {
        let text = self.text(key);
        parse(&text).unwrap_or_else(|| {
            let shown: String = text.chars().take(SHOWN_CHARS).collect();
            self.faults.push(format!("{key}={shown} is not {accepted}"));
            parse(table_entry(key).default).expect("a test parses every default")
        })
    }

    pub(super) fn number<T>(&mut self, key: &str, min: T, max: T) -> T
    where
        T: FromStr + PartialOrd + Display,
    {
        let accepted = format!("a whole number from {min} to {max}");
        self.parsed(key, &accepted, |text| {
            text.parse().ok().filter(|n| (&min..=&max).contains(&n))
        })
    }

    pub(super) fn seconds(&mut self, key: &str, min: u64) -> Duration {
        let accepted = format!("a whole number of seconds from {min} to {LONGEST_SECONDS}");
        self.parsed(key, &accepted, |text| {
            let seconds = text.parse().ok()?;
            (min..=LONGEST_SECONDS)
                .contains(&seconds)
                .then(|| Duration::from_secs(seconds))
        })
    }

    pub(super) fn host(&mut self, key: &str) -> IpAddr {
        let accepted = "an IP address, such as 127.0.0.1, or 0.0.0.0 for all interfaces";
        self.parsed(key, accepted, |text| match text {
            "localhost" => Some(Ipv4Addr::LOCALHOST.into()),
            other => other.parse().ok(),
        })
    }

    pub(super) fn networks(&mut self, key: &str) -> Vec<IpNet> {
        let accepted = "a list of IP addresses and networks, such as 127.0.0.1,10.0.0.0/8";
        self.parsed(key, accepted, |text| {
            let networks = text.split(',').map(str::trim).map(|part| {
                let network = part.parse().ok();
                network.or_else(|| Some(part.parse::<IpAddr>().ok()?.into()))
            });
            if text.is_empty() {
                return Some(Vec::new());
            }
            networks.collect()
        })
    }

    pub(super) fn zone(&mut self, key: &str) -> Tz {
        let accepted = "a time zone by its IANA name, such as UTC or Europe/Berlin";
        self.parsed(key, accepted, |text| text.parse().ok())
    }

    pub(super) fn log_format(&mut self, key: &str) -> LogFormat {
        self.parsed(key, "text or json", |text| match text {
            "text" => Some(LogFormat::Text),
            "json" => Some(LogFormat::Json),
            _ => None,
        })
    }

    pub(super) fn log_level(&mut self, key: &str) -> String {
        let accepted = format!(
            "one of {}, or such a list as info,tallymill=debug",
            LEVELS.join(", ")
        );
        self.parsed(key, &accepted, |text| {
            let known = text.split(',').all(|part| {
                let (target, level) = part.split_once('=').unwrap_or(("all", part));
                let named = target
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || "_:".contains(c));
                named && !target.is_empty() && LEVELS.contains(&level)
            });
            known.then(|| text.to_owned())
        })
    }
}

fn table_entry(key: &str) -> &'static Setting {
    settings()
        .find(|setting| setting.key == key)
        .expect("a test reads every key of the table")
}

/// Returns the settings of a `.env` file; none if there is no such file.
pub(super) fn env_file(path: &Path) -> Result<HashMap<String, String>, ConfigFaults> {
    let name = path.display();
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(why) if why.kind() == ErrorKind::NotFound => return Ok(HashMap::new()),
        Err(why) => return Err(ConfigFaults(vec![format!("{name} can't be read: {why}")])),
    };
    dotenvy::from_read_iter(text.as_slice())
        .collect::<Result<_, _>>()
        .map_err(|why| {
            // The line may hold a secret, so only its number is shown.
            let line = match &why {
                dotenvy::Error::LineParse(rest, _) => line_of(&text, rest.trim_end()),
                _ => None,
            };
            let place = line.map_or(String::new(), |line| format!(" at line {line}"));
            let fault = format!(
                "{name} can't be read{place}: write KEY=value, with quotes around values that hold spaces"
            );
            ConfigFaults(vec![fault])
        })
}

fn line_of(text: &[u8], rest: &str) -> Option<usize> {
    let text = String::from_utf8_lossy(text);
    let at = text
        .lines()
        .position(|line| line.trim_end().ends_with(rest));
    at.map(|at| at + 1)
}
