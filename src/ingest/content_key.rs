//! The digests that identify uploads: of the content of a batch, and of a request.

use chrono_tz::Tz;
use sha2::{Digest, Sha256};

use super::{ErrorTolerance, UploadOptions};
use crate::{
    parse::{self, Dialect, HeaderOption},
    receive,
};

impl UploadOptions {
    /// Returns the digest of a request: its content key, error tolerance and parent. Requests with the same digest may
    /// share an idempotency key.
    pub(super) fn request_digest(&self, sha256: &[u8; 32], zone: Tz) -> [u8; 32] {
        let content = self.content_key(sha256, zone);
        if self.tolerance == ErrorTolerance::default() && self.parent.is_none() {
            return content;
        }
        let parent = self.parent.map(|id| id.to_string()).unwrap_or_default();
        let mut hash = Sha256::new();
        hash.update(content);
        hash.update(format!("{}\n{parent}", self.tolerance));
        hash.finalize().into()
    }

    /// Returns the digest of a file with every option that changes its stored events. A file with the content key of a live
    /// batch is a duplicate. `zone` is that of the service.
    #[must_use]
    pub fn content_key(&self, sha256: &[u8; 32], zone: Tz) -> [u8; 32] {
        let Self {
            source,
            key,
            dedupe,
            // Its options are among the others.
            profile: _,
            file_name: _,
            receive,
            parse,
            // Determines whether events are stored, but not which.
            tolerance: _,
            parent: _,
            dry_run: _,
            meaning: _,
        } = self;
        // `sha256` is that of the unpacked file.
        let receive::Options {
            coding: _,
            encoding,
        } = receive;
        let parse::Options {
            columns,
            header,
            timestamp_format,
            time_zone,
            dialect,
            from_errors_csv: _,
            // It never changes while a store has batches.
            service_zone: _,
            null_values,
            keeps_anonymous,
        } = parse;
        let mut hash = Sha256::new();
        // Digests are stored, so their form never changes. Another form needs another number.
        hash.update(b"tallymill content 1\0");
        hash.update(sha256);
        let mut add = |text: &str| {
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text.as_bytes());
        };
        add(source);
        add(dedupe.as_str());
        add(timestamp_format.as_deref().unwrap_or_default());
        add(time_zone.unwrap_or(zone).name());
        let mut columns: Vec<String> = columns
            .iter()
            .map(|(field, label)| format!("{}:{label}", field.name()))
            .collect();
        columns.sort_unstable();
        add(&columns.join("\n"));
        // The only dialect of the first version. A detected dialect follows from the bytes; a stated one is added below.
        let Dialect {
            delimiter,
            quote,
            escape: _,
        } = Dialect::default();
        add(&format!("{delimiter},{quote}"));
        // Options added since then are part of the digest only if stated.
        if let Some(encoding) = encoding {
            add(&format!("encoding={}", encoding.name()));
        }
        for (name, stated) in [("delimiter", dialect.delimiter), ("quote", dialect.quote)] {
            if let Some(byte) = stated {
                add(&format!("{name}={byte}"));
            }
        }
        if let Some(escape) = dialect.escape {
            add(&format!("escape={}", escape.as_str()));
        }
        if let Some(nulls) = null_values {
            add(&format!("null_values={}", nulls.join("\n")));
        }
        if *keeps_anonymous {
            add("anonymous=keep");
        }
        if *header != HeaderOption::Detect {
            add(&format!("header={}", header.as_str()));
        }
        if !key.is_empty() {
            let mut key: Vec<_> = key
                .iter()
                .map(|label| parse::normalize_label(label))
                .collect();
            key.sort_unstable();
            add(&format!("key={}", key.join("\n")));
        }
        hash.finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_keys_differ_if_the_stored_events_may_differ() {
        let key = |pairs: &[(&str, &str)]| {
            UploadOptions::from_pairs(pairs.iter().copied())
                .expect("known")
                .content_key(&[1; 32], Tz::UTC)
        };
        assert_eq!(key(&[]), key(&[("name", "a.csv")]));
        assert_eq!(
            key(&[("columns", "user_id:a,event_type:b")]),
            key(&[("columns", "event_type:b,user_id:a")])
        );
        assert_ne!(key(&[]), key(&[("source", "x")]));
        assert_ne!(key(&[]), key(&[("dedupe", "none")]));
        assert_ne!(key(&[("dedupe", "row")]), key(&[("dedupe", "none")]));
        assert_ne!(key(&[]), key(&[("key", "a")]));
        assert_eq!(key(&[("key", "a,B")]), key(&[("key", "b, A")]));
        assert_ne!(key(&[]), key(&[("time_zone", "Asia/Tokyo")]));
    }

    #[test]
    fn content_keys_of_the_first_version_never_change() {
        let key = |pairs: &[(&str, &str)]| {
            let options = UploadOptions::from_pairs(pairs.iter().copied()).expect("known");
            u64::from_be_bytes(
                *options
                    .content_key(&[1; 32], Tz::UTC)
                    .first_chunk()
                    .expect("32 bytes"),
            )
        };
        assert_eq!(key(&[]), 0xd32b_3a81_bb7e_6e54);
        assert_eq!(
            key(&[("source", "crm"), ("dedupe", "none")]),
            0xcd84_17c1_3a9f_23ce
        );
    }
}
