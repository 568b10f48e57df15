//! What builds cache about data. An unchanged file is not read again. Anything else in the cache costs a read but never
//! changes the result.

use std::fs::{self, File, FileTimes};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use modelseal_build::cache::Cache;
use modelseal_build::inputs::{SourceFacts, read_source};
use modelseal_build::profile::Columns;
use modelseal_format::context::{Context, Progress};
use modelseal_format::digest::Symlinks;
use tempfile::TempDir;

/// How long a file must be left alone before its digest is cached, plus a margin.
pub const SETTLED: Duration = Duration::from_secs(61);

/// A data set of several files and its cache. Both are on the disk that the tests were built on, because files on
/// memory file systems are not cached.
pub struct Scene {
    directory: TempDir,
}

/// Counts the bytes that are read.
#[derive(Default)]
struct Read(AtomicU64);

impl Progress for Read {
    fn advance(&self, bytes: u64) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// The result of one build.
#[derive(Debug)]
struct Seen {
    facts: SourceFacts,
    /// Number of bytes that were read.
    read: u64,
    /// Number of files that the cache knew.
    found: u64,
}

impl Scene {
    pub fn new(files: &[(&str, &[u8])]) -> Self {
        let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
        let scene = Self { directory };
        fs::create_dir(scene.data("")).expect("creates");
        for (name, content) in files {
            fs::create_dir_all(scene.data(name).parent().expect("a parent")).expect("creates");
            fs::write(scene.data(name), content).expect("writes");
        }
        scene
    }

    pub fn data(&self, name: &str) -> PathBuf {
        self.directory.path().join("data").join(name)
    }

    fn cache_directory(&self) -> PathBuf {
        self.directory.path().join("cache")
    }

    fn secret(&self) -> PathBuf {
        self.directory.path().join("secret/cache.key")
    }

    fn open(&self, now: SystemTime) -> Cache {
        Cache::open(&self.cache_directory(), &self.secret(), now).expect("opens")
    }

    /// Hashes the data with the cache, like a build that runs `time` from now.
    fn hash_in(&self, time: Duration) -> Seen {
        self.hash(Some(&self.open(SystemTime::now() + time)), None)
    }

    fn hash(&self, cache: Option<&Cache>, columns: Option<&Columns>) -> Seen {
        let read = Arc::new(Read::default());
        let context = Context::default().with_progress(read.clone());
        let facts = read_source(&self.data(""), Symlinks::Refuse, columns, cache, &context).expect("hashes");
        Seen { facts, read: read.0.load(Ordering::Relaxed), found: cache.map_or(0, Cache::found) }
    }

    /// The only file of records.
    fn records(&self) -> PathBuf {
        let found =
            fs::read_dir(self.cache_directory()).expect("reads").map(|entry| entry.expect("reads").path());
        let found = Vec::from_iter(found);
        assert_eq!(found.len(), 1, "{found:?}");
        found[0].clone()
    }

    /// Checks that the digest is the same as without the cache, for any content of the cache.
    #[track_caller]
    fn tells_the_truth(&self) -> Seen {
        let seen = self.hash_in(SETTLED);
        assert_eq!(seen.facts.digest, self.hash(None, None).facts.digest);
        assert_eq!(seen.facts.bytes, self.hash(None, None).facts.bytes);
        seen
    }
}

/// Replaces the content and removes every trace that a program can remove: same length, same times.
pub fn overwrite(path: &Path, content: &[u8]) {
    let before = fs::metadata(path).expect("is there");
    assert_eq!(before.len(), content.len() as u64);
    let times = FileTimes::new()
        .set_modified(before.modified().expect("a time"))
        .set_accessed(before.accessed().expect("a time"));
    fs::write(path, content).expect("writes");
    File::options().write(true).open(path).expect("opens").set_times(times).expect("sets the times");
    let after = fs::metadata(path).expect("is there");
    assert_eq!((after.mtime(), after.mtime_nsec()), (before.mtime(), before.mtime_nsec()));
}

pub const FILES: [(&str, &[u8]); 4] =
    [("a", b"first"), ("b", b"other"), ("empty", b""), ("sub/c", b"third one")];
const BYTES: u64 = 19;

#[test]
fn cache_skips_unchanged_files_and_reads_new_ones() {
    let scene = Scene::new(&FILES);
    let first = scene.hash_in(SETTLED);
    assert_eq!((first.read, first.found), (BYTES, 0));
    let second = scene.tells_the_truth();
    assert_eq!((second.read, second.found), (0, 4));
    assert_eq!(second.facts.bytes, BYTES);

    // One file is new, one has grown and one is gone. Only unknown files are read, and the removed file is forgotten.
    fs::write(scene.data("new"), "new").expect("writes");
    fs::write(scene.data("a"), "first, and more").expect("writes");
    fs::remove_file(scene.data("b")).expect("removes");
    let third = scene.tells_the_truth();
    assert_eq!((third.read, third.found), (18, 2));
    let fourth = scene.tells_the_truth();
    assert_eq!((fourth.read, fourth.found), (0, 4));
    assert_eq!(fs::metadata(scene.records()).expect("is there").len(), 16 + 4 * 64);
}

#[test]
fn cache_does_not_record_a_file_that_was_just_written() {
    let scene = Scene::new(&FILES);
    for _ in 0..2 {
        let seen = scene.hash_in(Duration::ZERO);
        assert_eq!((seen.read, seen.found), (BYTES, 0));
    }
    assert_eq!(fs::read_dir(scene.cache_directory()).expect("reads").count(), 0);
    // Nor is a file whose times are in the future from the build's point of view.
    scene.hash(Some(&scene.open(SystemTime::now() - SETTLED)), None);
    assert_eq!(scene.hash_in(SETTLED).found, 0);
}

#[test]
fn cache_detects_an_edit_that_keeps_size_and_modification_time() {
    let scene = Scene::new(&FILES);
    scene.hash_in(SETTLED);
    overwrite(&scene.data("a"), b"FIRST");
    let seen = scene.tells_the_truth();
    assert_eq!((seen.read, seen.found), (5, 3));
}

#[test]
fn cache_detects_files_that_exchange_their_names() {
    let scene = Scene::new(&FILES);
    let before = scene.hash_in(SETTLED).facts.digest;
    let (a, b, aside) = (scene.data("a"), scene.data("b"), scene.data("aside"));
    for (from, to) in [(&a, &aside), (&b, &a), (&aside, &b)] {
        fs::rename(from, to).expect("renames");
    }
    assert_ne!(scene.tells_the_truth().facts.digest, before);

    // A file under another name in the same directory, and a directory replaced by another.
    fs::remove_file(&a).expect("removes");
    fs::hard_link(&b, &a).expect("links");
    scene.tells_the_truth();
    let (here, there) = (scene.data(""), scene.directory.path().join("other"));
    fs::create_dir(&there).expect("creates");
    fs::write(there.join("a"), "first").expect("writes");
    fs::rename(&here, scene.directory.path().join("away")).expect("renames");
    fs::rename(&there, &here).expect("renames");
    assert_eq!(scene.tells_the_truth().found, 0);
}

#[test]
fn cache_ignores_records_that_were_changed() {
    let scene = Scene::new(&FILES);
    scene.hash_in(SETTLED);
    let records = scene.records();
    let good = fs::read(&records).expect("reads");
    for index in 0..good.len() {
        let mut bad = good.clone();
        bad[index] ^= 1 << (index % 8);
        fs::write(&records, bad).expect("writes");
        assert!(scene.tells_the_truth().found < 4, "byte {index} does not matter");
    }
    for length in [0, 1, 15, 16, 17, 79, 80, good.len() - 1] {
        fs::write(&records, &good[..length]).expect("writes");
        assert!(scene.tells_the_truth().found < 4, "{length} bytes are enough");
    }
    // The digest of another file, with everything that authenticates it for that file.
    let mut bad = good.clone();
    let (first, second) = (16..16 + 64, 16 + 64..16 + 2 * 64);
    bad.copy_within(second.start + 16..second.end, first.start + 16);
    fs::write(&records, bad).expect("writes");
    assert!(scene.tells_the_truth().found < 4);
    // A duplicated record list, records in another order, and far more records than there are files.
    for bad in [[&good, &good[16..]].concat(), [&good[..16], &good[80..], &good[16..80]].concat()] {
        fs::write(&records, bad).expect("writes");
        scene.tells_the_truth();
    }
    fs::write(&records, [&good[..], &vec![0; 64 * 5000]].concat()).expect("writes");
    assert_eq!(scene.tells_the_truth().found, 0);
}

#[test]
fn cache_ignores_a_fifo_link_or_directory_in_place_of_its_records() {
    let scene = Scene::new(&FILES);
    scene.hash_in(SETTLED);
    let records = scene.records();
    let elsewhere = scene.directory.path().join("elsewhere");
    fs::rename(&records, &elsewhere).expect("renames");
    rustix::fs::mkfifoat(rustix::fs::CWD, &records, rustix::fs::Mode::RWXU).expect("a FIFO");
    assert_eq!(scene.tells_the_truth().found, 0);
    fs::remove_file(&records).expect("removes");
    symlink(&elsewhere, &records).expect("links");
    assert_eq!(scene.tells_the_truth().found, 0);
    assert!(!records.is_symlink(), "what is written follows no link");
    fs::remove_file(&records).expect("removes");
    fs::create_dir(&records).expect("creates");
    let cache = scene.open(SystemTime::now() + SETTLED);
    assert_eq!(scene.hash(Some(&cache), None).read, BYTES);
    assert!(cache.failure().is_some(), "nobody says that nothing is remembered");
}

#[test]
fn cache_ignores_records_made_with_another_secret() {
    let scene = Scene::new(&FILES);
    scene.hash_in(SETTLED);
    let mode = fs::metadata(scene.secret()).expect("is there").permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    fs::write(scene.secret(), [7; 32]).expect("writes");
    assert_eq!(scene.tells_the_truth().found, 0);
    // An incomplete secret is replaced by a new one.
    fs::write(scene.secret(), [7; 31]).expect("writes");
    assert_eq!(scene.tells_the_truth().found, 0);
    assert_eq!(fs::read(scene.secret()).expect("reads").len(), 32);
}

#[test]
fn cache_refuses_a_directory_or_secret_that_other_users_can_access() {
    let refused = |scene: &Scene| {
        let outcome = Cache::open(&scene.cache_directory(), &scene.secret(), SystemTime::now());
        outcome.err().expect("is refused").to_string()
    };
    let set_mode = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("sets the mode");
    };
    let scene = Scene::new(&FILES);
    scene.hash_in(SETTLED);
    set_mode(&scene.cache_directory(), 0o770);
    assert!(refused(&scene).contains("other users can access it"));
    set_mode(&scene.cache_directory(), 0o700);
    set_mode(&scene.secret(), 0o640);
    assert!(refused(&scene).contains("cache.key`: other users can access it"));
    set_mode(&scene.secret(), 0o600);
    assert_eq!(scene.tells_the_truth().found, 4);

    let away = scene.directory.path().join("away");
    fs::rename(scene.cache_directory(), &away).expect("renames");
    symlink(&away, scene.cache_directory()).expect("links");
    assert!(refused(&scene).contains("not a directory"));
    fs::remove_file(scene.cache_directory()).expect("removes");
    fs::rename(scene.secret(), away.join("cache.key")).expect("renames");
    symlink(away.join("cache.key"), scene.secret()).expect("links");
    refused(&scene);
}

#[test]
fn cache_never_skips_a_file_whose_rows_are_counted() {
    let scene = Scene::new(&[("rows.csv", b"class\nyes\n"), ("picture", b"pixels")]);
    let columns = Columns { label: Some("class".into()), timestamp: None };
    for (columns, read, found) in
        [(Some(&columns), 16, 0), (None, 10, 1), (None, 0, 2), (Some(&columns), 10, 1)]
    {
        let cache = scene.open(SystemTime::now() + SETTLED);
        let seen = scene.hash(Some(&cache), columns);
        assert_eq!((seen.read, seen.found), (read, found));
        assert_eq!(seen.facts.profile.map(|profile| profile.rows), columns.map(|_| 1));
    }
}

#[test]
fn cache_removes_old_leftovers_and_keeps_records_in_use() {
    let scene = Scene::new(&FILES);
    scene.hash_in(SETTLED);
    let age = |path: &Path, days: u64| {
        let time = SystemTime::now() - Duration::from_secs(days * 86_400);
        File::options().write(true).open(path).expect("opens").set_modified(time).expect("sets the time");
    };
    let left = scene.cache_directory().join(".tmp-of-a-killed-build");
    for days in [29, 31] {
        fs::write(&left, "half").expect("writes");
        age(&left, days);
        // A new file, so that the cache is written.
        fs::write(scene.data("new"), days.to_string()).expect("writes");
        scene.hash_in(SETTLED);
        assert_eq!(left.exists(), days < 30, "{days} days");
    }
    // Records in use are kept, even if nothing new is written to them.
    age(&scene.records(), 31);
    assert_eq!(scene.hash_in(SETTLED).read, 0);
    let noted = fs::metadata(scene.records()).expect("is there").modified().expect("a time");
    assert!(noted > SystemTime::now() - SETTLED);
}
