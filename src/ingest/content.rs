//! What makes two uploads one: the bytes of the file, and every option that changes what they come to.

use sha2::{Digest, Sha256};

use super::{Strictness, UploadOptions};
use crate::{
    parse::{self, Dialect},
    receive,
};

impl UploadOptions {
    /// Names what a request asks for: its content, how many bad rows it allows, and whose rows they are.
    pub(super) fn request_digest(&self, sha256: &[u8; 32]) -> [u8; 32] {
        let content = self.content_key(sha256);
        if self.strictness == Strictness::default() && self.parent.is_none() {
            return content;
        }
        let parent = self.parent.map(|id| id.to_string()).unwrap_or_default();
        let mut hash = Sha256::new();
        hash.update(content);
        hash.update(format!("{}\n{parent}", self.strictness));
        hash.finalize().into()
    }

    /// Names the content of a file together with every option that changes what it comes to.
    #[must_use]
    pub fn content_key(&self, sha256: &[u8; 32]) -> [u8; 32] {
        let Self {
            source,
            key,
            dedupe,
            // What a profile says is in the options themselves.
            profile: _,
            file_name: _,
            receive,
            parse,
            // What is stored does not depend on it, only whether anything is.
            strictness: _,
            parent: _,
            dry_run: _,
            meaning: _,
        } = self;
        // The digest is of the unpacked file, so how it was packed is no part of it.
        let receive::Options {
            coding: _,
            encoding,
        } = receive;
        let parse::Options {
            columns,
            timestamp_format,
            time_zone,
            dialect,
            from_errors_csv: _,
        } = parse;
        let mut hash = Sha256::new();
        // The form is stored, so it never changes; a new one gets a new number.
        hash.update(b"tallymill content 1\0");
        hash.update(sha256);
        let mut part = |text: &str| {
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text.as_bytes());
        };
        part(source);
        part(dedupe.as_str());
        part(timestamp_format.as_deref().unwrap_or_default());
        part(time_zone.name());
        let mut columns: Vec<String> = columns
            .iter()
            .map(|(to, label)| format!("{}:{label}", to.name()))
            .collect();
        columns.sort_unstable();
        part(&columns.join("\n"));
        // The one dialect of the first version: what is found out follows from the bytes, what is stated comes below.
        let Dialect {
            delimiter,
            quote,
            escape: _,
        } = Dialect::default();
        part(&format!("{delimiter},{quote}"));
        // Only if it is stated, so that the form stays what it was.
        if let Some(encoding) = encoding {
            part(&format!("encoding={}", encoding.name()));
        }
        for (name, stated) in [("delimiter", dialect.delimiter), ("quote", dialect.quote)] {
            if let Some(byte) = stated {
                part(&format!("{name}={byte}"));
            }
        }
        if let Some(escape) = dialect.escape {
            part(&format!("escape={}", escape.as_str()));
        }
        if !key.is_empty() {
            let mut key: Vec<_> = key
                .iter()
                .map(|label| parse::normalize_label(label))
                .collect();
            key.sort_unstable();
            part(&format!("key={}", key.join("\n")));
        }
        hash.finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_content_key_changes_with_what_changes_the_result_only() {
        let key = |pairs: &[(&str, &str)]| {
            UploadOptions::from_pairs(pairs.iter().copied())
                .expect("known")
                .content_key(&[1; 32])
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
    fn the_content_key_of_options_that_were_there_before_never_changes() {
        let key = |pairs: &[(&str, &str)]| {
            let options = UploadOptions::from_pairs(pairs.iter().copied()).expect("known");
            u64::from_be_bytes(
                *options
                    .content_key(&[1; 32])
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
