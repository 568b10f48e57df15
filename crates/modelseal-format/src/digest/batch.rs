//! Hashes many files. One thread reads and hashes each file, or two files at a time where that is faster.

use std::fs::{File, Metadata};
use std::io;
use std::ops::Range;
use std::path::Path;

use super::buffer::Buffer;
use super::parallel::{Done, Queue, distribute, map_files};
use super::sha256_x2::{Block, Chain};
use super::tee::fill;
use super::{Algorithms, Consumer, Error, FileDigests, FileRead, Hasher, Symlinks, hash_file, open_regular};
use crate::context::{Context, threads};

/// Number of bytes read of a file at a time: whole blocks of SHA-256. For two files, they fit into a core's cache.
const CHUNK: usize = 64 << 10;

/// The work to do with one of many files.
pub trait Job {
    type Output: Send;
    type Error: Send;

    fn path(&self) -> &Path;

    /// Another consumer of the file's bytes, if any.
    fn consumer(&mut self) -> Option<&mut dyn Consumer>;

    /// Receives the result of reading the file, or the reason why it could not be read.
    ///
    /// # Errors
    /// Any error of the job; it stops [`hash_files`].
    fn finish(self, read: Result<FileRead, Error>) -> Result<Self::Output, Self::Error>;
}

/// Hashes a file for every item on all threads, and returns the outputs of the jobs in the items' order.
///
/// # Errors
/// The error of the earliest job that failed among those that were tried. After an error, no other item is begun.
pub fn hash_files<'a, T: Sync, J: Job>(
    items: &'a [T],
    algorithms: Algorithms,
    symlinks: Symlinks,
    begin: impl Fn(&'a T) -> J + Sync,
    context: &Context,
) -> Result<Vec<J::Output>, J::Error> {
    // BLAKE3 has no chain, so two files at a time bring nothing. With fewer files than threads, several threads work on
    // one file.
    if !algorithms.sha256 || items.len() < threads() {
        return map_files(items, context, |item| {
            let mut job = begin(item);
            // Copied, because the job lends its consumer in the meantime.
            let path = job.path().to_path_buf();
            let mut also = Vec::from_iter(job.consumer());
            let read = hash_file(&path, algorithms, symlinks, &mut also, context);
            job.finish(read)
        });
    }
    distribute(items.len(), context, |queue| {
        let begin = |index: usize| begin(&items[index]);
        let worker = Worker { queue, begin: &begin, algorithms, symlinks, context };
        // With one file for every thread, each thread takes only one.
        worker.run(if items.len() == threads() { 1 } else { 2 })
    })
}

/// The result of the item with this index.
type Finished<J> = (usize, Result<<J as Job>::Output, <J as Job>::Error>);

/// The results of the items of one thread.
type Results<J> = Done<<J as Job>::Output, <J as Job>::Error>;

/// The share of the work that one thread does.
struct Worker<'a, J> {
    queue: &'a Queue,
    begin: &'a dyn Fn(usize) -> J,
    algorithms: Algorithms,
    symlinks: Symlinks,
    context: &'a Context,
}

impl<J: Job> Worker<'_, J> {
    fn run(&self, lanes: usize) -> Results<J> {
        let mut done = Done::new();
        let mut lanes = Vec::from_iter((0..lanes).map(|_| Lane::new()));
        loop {
            for lane in &mut lanes {
                self.supply(lane, &mut done);
            }
            lanes.retain(|lane| lane.reading.is_some());
            match lanes.as_mut_slice() {
                [] => return done,
                [lane] => lane.hash(),
                [first, second, ..] => first.hash_with(second),
            }
        }
    }

    /// Ensures that the lane has a block to hash, from its file or from the next file that has one. If there is none,
    /// the lane has no file afterwards.
    fn supply(&self, lane: &mut Lane<J>, done: &mut Results<J>) {
        while lane.blocks().is_empty() {
            let (index, result) = match lane.reading.take() {
                None => {
                    let Some(index) = self.queue.next() else { return };
                    let job = (self.begin)(index);
                    match open_regular(job.path(), self.symlinks) {
                        Ok((file, before)) => {
                            lane.reading = Some(Reading::new(index, job, file, before, self.algorithms));
                            continue;
                        }
                        Err(error) => (index, job.finish(Err(error))),
                    }
                }
                Some(mut reading) if !reading.has_ended => {
                    match reading.read_chunk(&mut lane.buffer, self.context) {
                        Ok(length) => {
                            lane.rest = 0..length;
                            lane.reading = Some(reading);
                            continue;
                        }
                        Err(source) => {
                            let error = Error::io(reading.job.path(), source);
                            (reading.index, reading.job.finish(Err(error)))
                        }
                    }
                }
                Some(reading) => reading.finish(&lane.buffer[std::mem::take(&mut lane.rest)], self.symlinks),
            };
            done.add(self.queue, index, result);
        }
    }
}

/// A slot for one file at a time.
struct Lane<J> {
    reading: Option<Reading<J>>,
    buffer: Buffer,
    /// The range of the buffer that SHA-256 has not hashed yet.
    rest: Range<usize>,
}

impl<J> Lane<J> {
    fn new() -> Self {
        Self { reading: None, buffer: Buffer::new(CHUNK), rest: 0..0 }
    }

    fn blocks(&self) -> &[Block] {
        self.buffer[self.rest.clone()].as_chunks().0
    }

    fn hash(&mut self) {
        let (blocks, _) = self.buffer[self.rest.clone()].as_chunks();
        if let Some(reading) = &mut self.reading {
            reading.chain.update(blocks);
        }
        self.rest.start += blocks.as_flattened().len();
    }

    /// Hashes the same number of blocks of both lanes: as many as the lane with fewer blocks has.
    fn hash_with(&mut self, other: &mut Self) {
        let (Some(one), Some(another)) = (&mut self.reading, &mut other.reading) else { return };
        let mine = self.buffer[self.rest.clone()].as_chunks().0;
        let others = other.buffer[other.rest.clone()].as_chunks().0;
        let count = Chain::update_both([&mut one.chain, &mut another.chain], [mine, others]);
        let length = count * size_of::<Block>();
        self.rest.start += length;
        other.rest.start += length;
    }
}

/// A file that is being read.
struct Reading<J> {
    index: usize,
    job: J,
    file: File,
    before: Metadata,
    chain: Chain,
    /// Computes the other digests.
    beside: Hasher,
    size: u64,
    has_ended: bool,
}

impl<J: Job> Reading<J> {
    fn new(index: usize, job: J, file: File, before: Metadata, algorithms: Algorithms) -> Self {
        let beside = Hasher::new(Algorithms { sha256: false, ..algorithms });
        Self { index, job, file, before, chain: Chain::new(), beside, size: 0, has_ended: false }
    }

    /// Reads the next bytes and passes them to every consumer except SHA-256. Returns their number.
    fn read_chunk(&mut self, buffer: &mut [u8], context: &Context) -> io::Result<usize> {
        let length = fill(&mut self.file, buffer, context)?;
        self.size += length as u64;
        // After a file has returned the expected number of bytes, it is not read again.
        self.has_ended = length < buffer.len() || self.size == self.before.len();
        context.advance(length as u64);
        let chunk = &buffer[..length];
        self.beside.update(chunk);
        if let Some(consumer) = self.job.consumer() {
            consumer.consume(chunk)?;
        }
        Ok(length)
    }

    /// `rest` is what SHA-256 has not hashed yet.
    fn finish(self, rest: &[u8], symlinks: Symlinks) -> Finished<J> {
        let digests =
            FileDigests { size: self.size, sha256: Some(self.chain.finish(rest)), ..self.beside.finish() };
        let read = FileRead::end(self.job.path(), symlinks, &self.before, digests);
        (self.index, self.job.finish(read))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::path::PathBuf;

    use super::*;
    use crate::digest::Digest;

    /// Keeps what it receives.
    struct Keep {
        path: PathBuf,
        bytes: Vec<u8>,
    }

    impl Consumer for Keep {
        fn consume(&mut self, chunk: &[u8]) -> io::Result<()> {
            self.bytes.extend_from_slice(chunk);
            Ok(())
        }
    }

    impl Job for Keep {
        type Output = (FileRead, Vec<u8>);
        type Error = Error;

        fn path(&self) -> &Path {
            &self.path
        }

        fn consumer(&mut self) -> Option<&mut dyn Consumer> {
            Some(self)
        }

        fn finish(self, read: Result<FileRead, Error>) -> Result<Self::Output, Error> {
            Ok((read?, self.bytes))
        }
    }

    fn hash_all(paths: &[PathBuf], algorithms: Algorithms) -> Result<Vec<(FileRead, Vec<u8>)>, Error> {
        let begin = |path: &PathBuf| Keep { path: path.clone(), bytes: Vec::new() };
        hash_files(paths, algorithms, Symlinks::Refuse, begin, &Context::default())
    }

    /// Files of lengths around the boundaries of blocks and chunks, in several orders, so that each is hashed together
    /// with longer and shorter ones.
    fn write_files(directory: &Path) -> Vec<PathBuf> {
        let lengths =
            [0, 1, 63, 64, 65, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, 3 * CHUNK + 70, 55, 56, 0, 9];
        let write = |(index, length): (usize, usize)| {
            let path = directory.join(index.to_string());
            let bytes: Vec<u8> = (0..length).map(|byte| (byte % 251) as u8 ^ index as u8).collect();
            std::fs::write(&path, bytes).expect("writes");
            path
        };
        lengths.iter().chain(lengths.iter().rev()).copied().enumerate().map(write).collect()
    }

    #[test]
    fn batch_hashing_gives_each_file_its_own_digests() {
        let directory = tempfile::tempdir().expect("a directory");
        let paths = write_files(directory.path());
        for count in [1, threads(), threads() + 1, paths.len()] {
            for algorithms in [Algorithms::SHA256, Algorithms::ALL, Algorithms::BLAKE3] {
                let found = hash_all(&paths[..count], algorithms).expect("hashes");
                assert_eq!(found.len(), count);
                for (path, (read, bytes)) in paths.iter().zip(found) {
                    assert_eq!(bytes, std::fs::read(path).expect("reads"));
                    let expected = FileDigests {
                        size: bytes.len() as u64,
                        sha256: algorithms.sha256.then(|| Digest::sha256(&bytes)),
                        blake3: algorithms.blake3.then(|| Digest::blake3(&bytes)),
                    };
                    assert_eq!(read.digests, expected, "{} bytes", bytes.len());
                }
            }
        }
    }

    #[test]
    fn batch_hashing_names_a_file_that_cannot_be_read() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut paths = write_files(directory.path());
        paths.insert(9, directory.path().join("absent"));
        let error = hash_all(&paths, Algorithms::SHA256).expect_err("one is not there");
        assert!(matches!(&error, Error::Io { path, .. } if path.ends_with("absent")), "{error}");
    }

    /// Writes to its file as soon as it receives some of it.
    struct Meddle<'a> {
        path: &'a Path,
    }

    impl Consumer for Meddle<'_> {
        fn consume(&mut self, _: &[u8]) -> io::Result<()> {
            std::fs::OpenOptions::new().append(true).open(self.path)?.write_all(b"more")
        }
    }

    impl Job for Meddle<'_> {
        type Output = FileRead;
        type Error = Error;

        fn path(&self) -> &Path {
            self.path
        }

        fn consumer(&mut self) -> Option<&mut dyn Consumer> {
            (!self.path.ends_with("untouched")).then_some(self)
        }

        fn finish(self, read: Result<FileRead, Error>) -> Result<FileRead, Error> {
            read
        }
    }

    #[test]
    fn batch_hashing_refuses_a_file_that_changes_while_it_is_read() {
        let directory = tempfile::tempdir().expect("a directory");
        let paths = ["untouched", "touched"].map(|name| directory.path().join(name));
        for path in &paths {
            std::fs::write(path, vec![b'a'; 5 * CHUNK]).expect("writes");
        }
        for count in [threads(), 3 * threads()] {
            let untouched = vec![&paths[0]; count];
            let hash = |paths: &[&PathBuf]| {
                hash_files(
                    paths,
                    Algorithms::SHA256,
                    Symlinks::Refuse,
                    |path| Meddle { path },
                    &Context::default(),
                )
            };
            hash(&untouched).expect("hashes");
            let error = hash(&[&untouched[1..], &[&paths[1]]].concat()).expect_err("one changes");
            assert!(matches!(&error, Error::Changed { path } if path.ends_with("touched")), "{error}");
        }
    }
}
