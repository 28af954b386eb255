//! The digest of an event file: XXH3-128 over all its bytes, at several gigabytes a second.
//! It notices damage, not forgery.

use std::{
    fs::File,
    io::{Read, Seek, Write},
    path::Path,
};

use xxhash_rust::xxh3::Xxh3Default;

use super::{open, read_failed};
use crate::{
    model::EventDigest,
    store::{Result, StoreError},
};

/// Bytes read in one step.
const STEP_BYTES: usize = 256 << 10;

/// Passes bytes on, and computes their digest.
pub(in crate::store) struct DigestWriter<W> {
    out: W,
    hash: Xxh3Default,
}

impl<W> DigestWriter<W> {
    pub(in crate::store) fn new(out: W) -> Self {
        Self {
            out,
            hash: Xxh3Default::new(),
        }
    }

    /// Returns the output, and the digest of all bytes written.
    pub(in crate::store) fn finish(self) -> (W, EventDigest) {
        (self.out, digest(&self.hash))
    }
}

impl<W: Write> Write for DigestWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.hash.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.out.flush()
    }
}

/// Opens a complete file, after a check of all its bytes against the digest from its seal. Files of older versions have
/// no digest.
pub(in crate::store) fn open_checked(path: &Path, expected: Option<&EventDigest>) -> Result<File> {
    let mut file = open(path)?;
    let Some(expected) = expected else {
        return Ok(file);
    };
    let mut hash = Xxh3Default::new();
    let mut bytes = vec![0; STEP_BYTES];
    loop {
        match file.read(&mut bytes) {
            Ok(0) => break,
            Ok(read) => hash.update(&bytes[..read]),
            Err(why) => return Err(read_failed(why)),
        }
    }
    if digest(&hash) != *expected {
        return Err(StoreError::Corrupt {
            what: super::name(path),
            why: "its bytes are not those that were stored".into(),
        });
    }
    file.rewind().map_err(read_failed)?;
    Ok(file)
}

fn digest(hash: &Xxh3Default) -> EventDigest {
    EventDigest(format!("{:032x}", hash.digest128()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{Columns, EventBlock},
        store::parquet_file::BlockWriter,
    };

    #[test]
    fn every_flipped_byte_of_a_file_is_noticed() {
        let mut block = EventBlock::default();
        for row in 1..=300 {
            block.rows.push(row);
            block.lines.push(row + 1);
            block.timestamp.push(i64::from(row));
            block.event_id.push(format!("e{row}").as_bytes());
            block.user_id.push(b"ann");
            block.event_type.push(b"login");
        }
        let out = DigestWriter::new(Vec::new());
        let mut writer = BlockWriter::new(out, &Columns::default()).expect("begins");
        writer.write(block).expect("writes");
        let (mut bytes, digest) = writer.finish().expect("finishes").finish();
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("file.parquet");
        let opened = |bytes: &[u8]| {
            std::fs::write(&path, bytes).expect("writes");
            open_checked(&path, Some(&digest))
        };
        assert!(opened(&bytes).is_ok());
        for at in 0..bytes.len() {
            bytes[at] ^= 1;
            let error = opened(&bytes).expect_err("damaged");
            assert!(
                error.to_string().contains("batches/file.parquet"),
                "byte {at}: {error}"
            );
            bytes[at] ^= 1;
        }
        bytes.pop();
        assert!(matches!(opened(&bytes), Err(StoreError::Corrupt { .. })));
    }
}
