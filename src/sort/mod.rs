//! Sorts fixed-size records by their bytes, in bounded memory: what does not fit goes to unnamed
//! temporary files as sorted runs, which are merged while they are read. Knows nothing of ours.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    fs::File,
    io::{self, BufReader, BufWriter, Read, Seek, Write},
    path::PathBuf,
};

/// Bytes read ahead of each run while merging.
const READ_AHEAD: usize = 128 << 10;

/// Takes records of `N` bytes in any order.
#[derive(Debug)]
pub struct Sorter<const N: usize> {
    dir: PathBuf,
    limit: usize,
    held: Vec<[u8; N]>,
    runs: Vec<File>,
}

impl<const N: usize> Sorter<N> {
    /// A sorter that holds at most `memory` bytes of records and spills into `dir`.
    #[must_use]
    pub fn new(dir: PathBuf, memory: usize) -> Self {
        Self {
            dir,
            limit: (memory / N).max(1),
            held: Vec::new(),
            runs: Vec::new(),
        }
    }

    /// Adds a record.
    ///
    /// # Errors
    /// What the disk says when a run is spilled.
    #[inline]
    pub fn push(&mut self, record: [u8; N]) -> io::Result<()> {
        if self.held.len() == self.limit {
            self.spill()?;
        }
        self.held.push(record);
        Ok(())
    }

    fn spill(&mut self) -> io::Result<()> {
        self.held.sort_unstable();
        // The file has no name: it goes away with its handle, also when the process dies.
        let mut out = BufWriter::with_capacity(1 << 20, tempfile::tempfile_in(&self.dir)?);
        for record in &self.held {
            out.write_all(record)?;
        }
        let mut run = out.into_inner().map_err(io::IntoInnerError::into_error)?;
        run.rewind()?;
        self.runs.push(run);
        self.held.clear();
        Ok(())
    }

    /// All records in order.
    ///
    /// # Errors
    /// What the disk says when the first records of the runs are read.
    pub fn finish(mut self) -> io::Result<Sorted<N>> {
        self.held.sort_unstable();
        let mut sources: Vec<Source<N>> = self
            .runs
            .into_iter()
            .map(|run| Source::Spilled(BufReader::with_capacity(READ_AHEAD, run)))
            .collect();
        sources.push(Source::Held(self.held.into_iter()));
        let mut heads = BinaryHeap::with_capacity(sources.len());
        for (at, source) in sources.iter_mut().enumerate() {
            heads.extend(source.next()?.map(|record| Reverse((record, at))));
        }
        Ok(Sorted { sources, heads })
    }
}

#[derive(Debug)]
enum Source<const N: usize> {
    Held(std::vec::IntoIter<[u8; N]>),
    Spilled(BufReader<File>),
}

impl<const N: usize> Source<N> {
    fn next(&mut self) -> io::Result<Option<[u8; N]>> {
        match self {
            Self::Held(records) => Ok(records.next()),
            Self::Spilled(run) => {
                let mut record = [0; N];
                match run.read_exact(&mut record) {
                    Ok(()) => Ok(Some(record)),
                    // A run is written whole, so it ends between two records.
                    Err(end) if end.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
                    Err(why) => Err(why),
                }
            }
        }
    }
}

/// Gives the records in order.
#[derive(Debug)]
pub struct Sorted<const N: usize> {
    sources: Vec<Source<N>>,
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
        fn any_records_come_back_in_order_whether_they_fit_or_not(records in prop::collection::vec(any::<[u8; 5]>(), 0..300), limit in 1usize..400) {
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
    fn nothing_stays_on_disk() {
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
