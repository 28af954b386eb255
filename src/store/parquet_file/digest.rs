//! The digest of an event file: XXH3-128 over all its bytes, at several gigabytes a second.
//! It notices damage, not forgery.

use std::{
    fs::File,
    io::{Read, Seek, Write},
    path::Path,
};

use bytes::Bytes;
use xxhash_rust::xxh3::Xxh3Default;

use super::{open, read_failed};
use crate::{
    model::EventDigest,
    store::{Result, corrupt, needs_operator},
};

/// Bytes read in one step.
const STEP_BYTES: usize = 256 << 10;

/// What is wrong with a file whose digest is another one.
const DIFFERS: &str = "its bytes are not those that were stored";

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
            // A bad sector stays bad: no wait mends it.
            Err(why) if !needs_operator(&why) => {
                return Err(corrupt(&super::name(path), &why));
            }
            Err(why) => return Err(read_failed(why)),
        }
    }
    if digest(&hash) != *expected {
        return Err(corrupt(&super::name(path), &DIFFERS));
    }
    file.rewind().map_err(read_failed)?;
    Ok(file)
}

/// Reads a complete file in chunks, and returns the last one only if the digest of all is the expected one.
pub(in crate::store) struct CheckedChunks {
    file: File,
    name: String,
    expected: Option<EventDigest>,
    hash: Xxh3Default,
    /// The chunk that was read ahead.
    next: Option<Bytes>,
}

impl CheckedChunks {
    pub(in crate::store) fn open(path: &Path, expected: Option<EventDigest>) -> Result<Self> {
        let mut chunks = Self {
            file: open(path)?,
            name: super::name(path),
            expected,
            hash: Xxh3Default::new(),
            next: None,
        };
        chunks.next = chunks.read()?;
        Ok(chunks)
    }

    /// Returns the length of the file.
    pub(in crate::store) fn length(&self) -> Result<u64> {
        Ok(self.file.metadata().map_err(read_failed)?.len())
    }

    /// Returns the next chunk, or none at the end.
    pub(in crate::store) fn next(&mut self) -> Result<Option<Bytes>> {
        let Some(chunk) = self.next.take() else {
            return Ok(None);
        };
        self.next = self.read()?;
        let expected = self.expected.as_ref();
        if self.next.is_none() && expected.is_some_and(|e| *e != digest(&self.hash)) {
            return Err(corrupt(&self.name, &DIFFERS));
        }
        Ok(Some(chunk))
    }

    fn read(&mut self) -> Result<Option<Bytes>> {
        let mut bytes = vec![0; STEP_BYTES];
        let read = self.file.read(&mut bytes).map_err(read_failed)?;
        bytes.truncate(read);
        self.hash.update(&bytes);
        Ok((read > 0).then(|| bytes.into()))
    }
}

fn digest(hash: &Xxh3Default) -> EventDigest {
    EventDigest(format!("{:032x}", hash.digest128()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{Columns, EventBlock},
        store::{StoreError, parquet_file::BlockWriter},
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
