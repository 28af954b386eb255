//! External sort: orders fixed-size records by their bytes in bounded memory. Spills records beyond the memory limit to
//! unnamed temporary files as sorted runs, and merges these while they are read. Uses no other module.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    fs::File,
    io::{self, BufReader, BufWriter, Read, Seek, Write},
    path::PathBuf,
};

/// Read buffer of each run, in bytes.
const RUN_BUFFER: usize = 128 << 10;

/// Accepts records of `N` bytes in any order.
#[derive(Debug)]
pub struct Sorter<const N: usize> {
    dir: PathBuf,
    /// Most records in memory.
    limit: usize,
    /// Records that are not spilled yet.
    buffer: Vec<[u8; N]>,
    /// Spilled runs.
    runs: Vec<File>,
}

impl<const N: usize> Sorter<N> {
    /// Returns a sorter that buffers at most `memory` bytes of records and spills to `dir`.
    #[must_use]
    pub fn new(dir: PathBuf, memory: usize) -> Self {
        Self {
            dir,
            limit: (memory / N).max(1),
            buffer: Vec::new(),
            runs: Vec::new(),
        }
    }

    /// Adds a record.
    ///
    /// # Errors
    /// An error of the disk while a run is spilled.
    #[inline]
    pub fn push(&mut self, record: [u8; N]) -> io::Result<()> {
        if self.buffer.len() == self.limit {
            self.spill()?;
        }
        self.buffer.push(record);
        Ok(())
    }

    /// Writes the buffer as a sorted run.
    fn spill(&mut self) -> io::Result<()> {
        self.buffer.sort_unstable();
        // The file has no name: the system deletes it with its handle, even if the process dies.
        let mut out = BufWriter::with_capacity(1 << 20, tempfile::tempfile_in(&self.dir)?);
        for record in &self.buffer {
            out.write_all(record)?;
        }
        let mut run = out.into_inner().map_err(io::IntoInnerError::into_error)?;
        run.rewind()?;
        self.runs.push(run);
        self.buffer.clear();
        Ok(())
    }

    /// Returns all records in order.
    ///
    /// # Errors
    /// An error of the disk while the first records of the runs are read.
    pub fn finish(mut self) -> io::Result<Sorted<N>> {
        self.buffer.sort_unstable();
        let mut sources: Vec<Source<N>> = self
            .runs
            .into_iter()
            .map(|run| Source::Spilled(BufReader::with_capacity(RUN_BUFFER, run)))
            .collect();
        sources.push(Source::Memory(self.buffer.into_iter()));
        let mut heads = BinaryHeap::with_capacity(sources.len());
        for (at, source) in sources.iter_mut().enumerate() {
            heads.extend(source.next()?.map(|record| Reverse((record, at))));
        }
        Ok(Sorted { sources, heads })
    }
}

/// A sorted run in memory or on disk.
#[derive(Debug)]
enum Source<const N: usize> {
    Memory(std::vec::IntoIter<[u8; N]>),
    Spilled(BufReader<File>),
}

impl<const N: usize> Source<N> {
    fn next(&mut self) -> io::Result<Option<[u8; N]>> {
        match self {
            Self::Memory(records) => Ok(records.next()),
            Self::Spilled(run) => {
                let mut record = [0; N];
                match run.read_exact(&mut record) {
                    Ok(()) => Ok(Some(record)),
                    // A run has only complete records, so this is its end.
                    Err(end) if end.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
                    Err(why) => Err(why),
                }
            }
        }
    }
}

/// Iterates over the records in order.
#[derive(Debug)]
pub struct Sorted<const N: usize> {
    sources: Vec<Source<N>>,
    /// The next record of each source.
    heads: BinaryHeap<Reverse<([u8; N], usize)>>,
}

impl<const N: usize> Iterator for Sorted<N> {
    type Item = io::Result<[u8; N]>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut head = self.heads.peek_mut()?;
        let Reverse((record, at)) = *head;
        match self.sources[at].next() {
            Ok(Some(next)) => *head = Reverse((next, at)),
            Ok(None) => drop(std::collections::binary_heap::PeekMut::pop(head)),
            Err(why) => return Some(Err(why)),
        }
        Some(Ok(record))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn records_are_sorted_in_memory_and_in_spilled_runs(records in prop::collection::vec(any::<[u8; 5]>(), 0..300), limit in 1usize..400) {
            let mut sorter = Sorter::<5>::new(std::env::temp_dir(), limit * 5);
            for record in &records {
                sorter.push(*record).expect("temporary file");
            }
            let sorted: Vec<_> = sorter.finish().expect("runs").map(|r| r.expect("run")).collect();
            let mut expected = records;
            expected.sort_unstable();
            prop_assert_eq!(sorted, expected);
        }
    }

    #[test]
    fn spilled_runs_have_no_file_names() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let mut sorter = Sorter::<1>::new(dir.path().into(), 4);
        (0..100).for_each(|n| sorter.push([n]).expect("temporary file"));
        assert_eq!(
            std::fs::read_dir(dir.path()).expect("directory").count(),
            0,
            "runs have no names"
        );
    }
}
