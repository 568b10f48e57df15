//! Benchmarks of the parts of a command: `cargo bench`, or `cargo bench -- sha256` for some of them.
//!
//! `compare.py` compares whole commands with those of other tools.

use std::fs;
use std::hint::black_box;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use modelseal_format::archive::{ArchiveFile, ArchiveWriter, Compression, Entry, Frame};
use modelseal_format::canonical::{Canonical, Counted};
use modelseal_format::context::Context;
use modelseal_format::digest::{
    Algorithms, Consumer, Digest, Error, FileRead, Job, Symlinks, directory_hash, hash_file, hash_files,
    sha256_of_both, walk,
};
use modelseal_format::manifest::{
    ExternalParameters, FORMAT, FileFacts, InternalParameters, Manifest, Missing, Model, Origin, Subject,
    check_collisions, parse,
};
use modelseal_format::release::Seal;
use modelseal_format::sign::{KeyAlgorithm, PrivateKey, SignedBundle};
use tempfile::TempDir;

const MEBI: usize = 1 << 20;

/// Number of files in a model with a long manifest.
const FILES: usize = 20_000;

/// Bytes that no compressor can reduce, the same in every run.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 1u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..length).map(|_| next()).collect()
}

fn digests(criterion: &mut Criterion) {
    let bytes = noise(MEBI);
    let mut group = criterion.benchmark_group("digests");
    group.throughput(Throughput::Bytes(MEBI as u64));
    group.bench_function("sha256, one chain", |bencher| bencher.iter(|| Digest::sha256(black_box(&bytes))));
    group.bench_function("blake3, one thread", |bencher| bencher.iter(|| Digest::blake3(black_box(&bytes))));
    group.throughput(Throughput::Bytes(2 * MEBI as u64));
    group.bench_function("sha256, two chains", |bencher| {
        bencher.iter(|| sha256_of_both([black_box(&bytes), black_box(&bytes)]));
    });
    group.finish();
}

/// A directory of `count` files, each `length` bytes long.
fn directory(count: usize, length: usize) -> (TempDir, Vec<PathBuf>) {
    let directory = tempfile::tempdir().expect("a directory");
    let bytes = noise(length + count);
    let write = |number: usize| {
        let path = directory.path().join(format!("part-{:02}/file-{number:06}", number % 50));
        fs::create_dir_all(path.parent().expect("a parent")).expect("creates");
        fs::write(&path, &bytes[number..number + length]).expect("writes");
        path
    };
    let paths = (0..count).map(write).collect();
    (directory, paths)
}

struct Hash<'a>(&'a Path);

impl Job for Hash<'_> {
    type Output = FileRead;
    type Error = Error;

    fn path(&self) -> &Path {
        self.0
    }

    fn consumer(&mut self) -> Option<&mut dyn Consumer> {
        None
    }

    fn finish(self, read: Result<FileRead, Error>) -> Result<FileRead, Error> {
        read
    }
}

fn files(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("files");
    let (large, paths) = directory(1, 256 * MEBI);
    group.throughput(Throughput::Bytes(256 * MEBI as u64)).sample_size(10);
    for algorithms in [Algorithms::BLAKE3, Algorithms::SHA256, Algorithms::ALL] {
        group.bench_function(format!("one of 256 MiB, {}", algorithms.name()), |bencher| {
            let hash = || hash_file(&paths[0], algorithms, Symlinks::Refuse, &mut [], &Context::default());
            bencher.iter(|| hash().expect("hashes"));
        });
    }
    drop(large);

    let (small, paths) = directory(2_000, 17_300);
    group.throughput(Throughput::Elements(2_000));
    group.bench_function("a walk over 2,000", |bencher| {
        bencher.iter(|| {
            walk(small.path(), Symlinks::Refuse, &|_, _| false, &Context::default()).expect("walks")
        });
    });
    for algorithms in [Algorithms::BLAKE3, Algorithms::SHA256] {
        group.bench_function(format!("2,000 of 17 KB, {}", algorithms.name()), |bencher| {
            let begin = |path| Hash(PathBuf::as_path(path));
            let hash = || hash_files(&paths, algorithms, Symlinks::Refuse, begin, &Context::default());
            bencher.iter(|| hash().expect("hashes"));
        });
    }
    group.finish();
}

fn statement(files: usize) -> Manifest {
    let file = |number: usize| {
        let name = format!("part-{:04}/file-{number:06}.bin", number / 100);
        let (sha256, blake3) = (Digest::sha256(name.as_bytes()), Digest::blake3(name.as_bytes()));
        Subject::file(name, sha256, blake3, FileFacts { size: 17_300, executable: false, content: None })
    };
    let external = ExternalParameters {
        model: Model { name: "bench".into(), version: "1.0.0".into(), release: None },
        hyperparameters: Default::default(),
        command: Vec::new(),
        env: Default::default(),
        caches: Vec::new(),
        pass_env: Vec::new(),
        network: None,
        reproduce: None,
    };
    let internal = InternalParameters {
        format: FORMAT,
        origin: Origin::Adopted,
        source_date_epoch: 0,
        excluded: Vec::new(),
        model_signature: true,
        missing: Missing::ALL.to_vec(),
        environment: Vec::new(),
        outside: Vec::new(),
    };
    Manifest::new((0..files).map(file).collect(), external, internal, Vec::new(), Vec::new(), "0.1.0")
}

fn manifests(criterion: &mut Criterion) {
    let statement = statement(FILES);
    let text = statement.to_vec();
    let key = PrivateKey::generate(KeyAlgorithm::P256).expect("makes a key").into();
    let seal = SignedBundle::sign(Counted::of(&statement), &key).expect("signs").to_vec();

    let mut group = criterion.benchmark_group(format!("a manifest of {FILES} files"));
    group.throughput(Throughput::Elements(FILES as u64)).sample_size(20);
    group.bench_function("written", |bencher| bencher.iter(|| statement.write_to(&mut io::sink())));
    group.bench_function("written and hashed", |bencher| bencher.iter(|| statement.measure()));
    group.bench_function("signed", |bencher| {
        bencher.iter(|| SignedBundle::sign(Counted::of(&statement), &key).expect("signs").to_vec());
    });
    group.bench_function("read", |bencher| bencher.iter(|| parse(&text).expect("reads")));
    group.bench_function("read from its seal", |bencher| {
        bencher.iter(|| Seal::read(&mut seal.as_slice()).expect("reads").expect("is a seal"));
    });
    group.bench_function("compared by names", |bencher| {
        bencher.iter(|| check_collisions(statement.files().iter().map(|file| file.name.as_str())));
    });
    group.bench_function("hashed as a directory", |bencher| {
        let digests = || statement.files().iter().map(|file| (file.name.as_str(), file.digest.sha256));
        bencher.iter(|| directory_hash(digests()));
    });
    group.finish();
}

fn archives(criterion: &mut Criterion) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("bench.tar");
    let text = b"The same words again, and some that are not the same: ".repeat(16 * MEBI / 54);
    let mut group = criterion.benchmark_group("an archive");
    group.sample_size(10);
    for (name, content) in [("noise", noise(16 * MEBI)), ("text", text)] {
        group.throughput(Throughput::Bytes(content.len() as u64));
        let entry = Entry { path: "weights", size: content.len() as u64, executable: false };
        for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
            group.bench_function(format!("of 16 MiB of {name}, {compression:?}"), |bencher| {
                bencher.iter(|| {
                    let file = ArchiveFile::create(&path, compression, &Context::default()).expect("creates");
                    let frame = Frame { directory: "bench-1.0.0".into(), epoch: 0 };
                    let mut archive = ArchiveWriter::new(file, frame);
                    archive.append(&entry, &content).expect("appends");
                    archive.finish().expect("ends").flush().expect("flushes");
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, digests, files, manifests, archives);
criterion_main!(benches);
