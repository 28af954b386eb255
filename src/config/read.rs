//! Parses the text of each setting, and collects the faults.

use std::{
    collections::HashMap,
    fmt::Display,
    fs,
    io::{ErrorKind, Read},
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
/// Most bytes of a file with a secret.
const MAX_SECRET_BYTES: u64 = 64 * 1024;
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

    /// Reads a secret from `key`, or from the file that `key` with `_FILE` names; `None` if neither is set.
    pub(super) fn secret(&mut self, key: &str) -> Option<Secret> {
        let file_key = format!("{key}_FILE");
        let (text, path) = (self.text(key), self.text(&file_key));
        if path.is_empty() {
            return Some(text).filter(|text| !text.is_empty()).map(Secret);
        }
        if !text.is_empty() {
            let fault = format!("{key} and {file_key} are both set: unset one of them");
            self.faults.push(fault);
            return None;
        }
        match secret_file(path.as_ref()) {
            Ok(secret) => Some(secret),
            Err(why) => {
                // The value itself, set in place of the path, must not be shown.
                let shown = if path.contains("://") {
                    "…"
                } else {
                    path.as_str()
                };
                self.faults
                    .push(format!("{file_key}={shown} can't be used: {why}"));
                None
            }
        }
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

    pub(super) fn flag(&mut self, key: &str) -> bool {
        self.parsed(key, "true or false", |text| text.parse().ok())
    }

    /// Reads host names without ports, in lower case.
    pub(super) fn host_names(&mut self, key: &str) -> Vec<String> {
        let accepted =
            "a list of host names without scheme and port, such as tally.example.org, or *";
        self.list(key, accepted, |name| {
            let is_name = |c: char| c.is_ascii_alphanumeric() || "-._[]:".contains(c);
            let is_address = name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
            let has_port = name.contains(':') && !is_address;
            (name == "*" || !has_port && name.chars().all(is_name)).then(|| match name {
                v6 if is_address && v6.contains(':') && !v6.starts_with('[') => format!("[{v6}]"),
                name => name.trim_end_matches('.').to_owned(),
            })
        })
    }

    /// Reads origins, as a browser sends them, in lower case.
    pub(super) fn origins(&mut self, key: &str) -> Vec<String> {
        let accepted =
            "a list of origins, such as https://wiki.example.org or http://localhost:8080";
        self.list(key, accepted, |origin| {
            let (scheme, authority) = origin.split_once("://")?;
            let is_origin = ["http", "https"].contains(&scheme)
                && !authority.is_empty()
                && !authority.contains(['/', '?', '#', '@', '*', ' ']);
            is_origin.then(|| {
                let default = if scheme == "http" { ":80" } else { ":443" };
                origin.strip_suffix(default).unwrap_or(origin).to_owned()
            })
        })
    }

    /// Reads a list separated by commas, in lower case.
    fn list(
        &mut self,
        key: &str,
        accepted: &str,
        entry: impl Fn(&str) -> Option<String>,
    ) -> Vec<String> {
        self.parsed(key, accepted, |text| {
            let text = text.to_ascii_lowercase();
            let entries = text.split(',').map(str::trim);
            entries
                .filter(|text| !text.is_empty())
                .map(&entry)
                .collect()
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

/// Reads a secret without the line end after it.
fn secret_file(path: &Path) -> Result<Secret, String> {
    let mut text = String::new();
    let file = fs::File::open(path).map_err(|why| why.to_string())?;
    let read = file.take(MAX_SECRET_BYTES + 1).read_to_string(&mut text);
    // The error of text that is not UTF-8 does not show it.
    read.map_err(|why| why.to_string())?;
    if text.len() as u64 > MAX_SECRET_BYTES {
        return Err(format!("it has more than {MAX_SECRET_BYTES} bytes"));
    }
    let secret = text.strip_suffix('\n').unwrap_or(&text);
    let secret = secret.strip_suffix('\r').unwrap_or(secret);
    if secret.is_empty() {
        return Err("it is empty".into());
    }
    Ok(Secret(secret.to_owned()))
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
