use std::{
    fs, io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use cluster::{FormerStart, Incarnation, NodeKind};
use redb::{Builder, StorageBackend, backends::InMemoryBackend};

use super::*;
use crate::{events::Draft, metrics::Metrics};

fn metrics() -> StoreMetrics {
    Metrics::register(&telemetry::metrics::Registry::new()).store
}

fn open(dir: &Path) -> Result<(Store, Contents), OpenError> {
    Store::open(dir, metrics())
}

fn refusal(dir: &Path) -> OpenError {
    open(dir).err().expect("it is refused")
}

fn batch(revision: u64, writes: Vec<Write>) -> Batch {
    Batch { revision, writes, events: vec![], forget_events_through: 0 }
}

fn pool(version: u64) -> PoolRecord {
    PoolRecord { version, ..PoolRecord::new(PoolId::main()) }
}

/// A record that follows the one before it.
fn put_pool(version: u64) -> Write {
    put_pool_after(version - 1, version)
}

fn put_pool_after(after: u64, version: u64) -> Write {
    Write::PutPool { record: pool(version), after }
}

fn file(dir: &Path) -> PathBuf {
    dir.join("control-plane.redb")
}

#[test]
fn what_was_committed_is_there_after_a_restart_with_the_same_id() {
    let dir = tempfile::tempdir().unwrap();
    let (store, first) = open(dir.path()).unwrap();
    assert_eq!(first.revision, 1);
    let event = Draft::info("pool.granted", "originPools/main", "it was").with("epoch", 1).numbered(7);
    let starts = |node: &str| Starts {
        node: NodeId::new(node).unwrap(),
        kind: NodeKind::Origin,
        current: Incarnation::from_bits(2),
        former: [FormerStart { incarnation: Incarnation::from_bits(1), replaced_unix_ms: 5 }].into(),
    };
    let started = [Write::PutStarts(starts("o1")), Write::PutStarts(starts("o2"))];
    store.commit(&batch(2, started.to_vec())).unwrap();
    let gone = Write::DeleteStarts(NodeId::new("o2").unwrap());
    let writes = vec![put_pool(1), Write::Seed("a".into(), "d".into()), gone];
    let with_event = Batch { events: vec![event.clone()], ..batch(3, writes) };
    store.commit(&with_event).unwrap();
    drop(store);
    let (_, second) = open(dir.path()).unwrap();
    let seeded = BTreeMap::from([("a".to_owned(), "d".to_owned())]);
    let expected = Contents {
        id: first.id,
        revision: 3,
        routes_revision: 1,
        pools: vec![pool(1)],
        starts: vec![starts("o1")],
        events: vec![event],
        seeded,
        routes: vec![],
    };
    assert_eq!(second, expected);
}

#[test]
fn a_store_of_before_starts_were_kept_opens_and_keeps_them_from_then_on() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path()).unwrap();
    let txn = store.db.begin_write().unwrap();
    txn.delete_table(STARTS).unwrap();
    txn.commit().unwrap();
    drop(store);
    let (store, contents) = open(dir.path()).unwrap();
    assert_eq!(contents.starts, []);
    let node = NodeId::new("o1").unwrap();
    let kind = NodeKind::Origin;
    let starts = Starts { node, kind, current: Incarnation::from_bits(1), former: Default::default() };
    store.commit(&batch(2, vec![Write::PutStarts(starts.clone())])).unwrap();
    drop(store);
    assert_eq!(open(dir.path()).unwrap().1.starts, [starts]);
}

#[test]
fn a_pool_record_is_a_compare_and_set_on_its_version() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path()).unwrap();
    store.commit(&batch(2, vec![put_pool(1)])).unwrap();
    for (after, version) in [(0, 1), (2, 3), (1, 1)] {
        let writes = vec![Write::Seed("b".into(), String::new()), put_pool_after(after, version)];
        let outcome = store.commit(&batch(3, writes));
        assert!(matches!(outcome, Err(CommitError::Version { stored: 1, .. })));
    }
    drop(store);
    let (store, contents) = open(dir.path()).unwrap();
    assert_eq!((contents.revision, contents.seeded.len()), (2, 0), "all of a batch or nothing");
    store.commit(&batch(3, vec![put_pool_after(1, 9)])).unwrap();
    drop(store);
    assert_eq!(open(dir.path()).unwrap().1.pools[0].version, 9, "a version that others have heard of may be passed");
}

#[test]
fn old_events_are_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path()).unwrap();
    let events = (1..=5).map(|n| Draft::info("a.b", "x", "y").numbered(n)).collect();
    store.commit(&Batch { events, forget_events_through: 3, ..batch(2, vec![]) }).unwrap();
    drop(store);
    let sequences: Vec<_> = open(dir.path()).unwrap().1.events.iter().map(|event| event.sequence).collect();
    assert_eq!(sequences, [4, 5]);
}

#[test]
fn a_store_in_use_is_refused_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let (_held, _) = open(dir.path()).unwrap();
    let told = refusal(dir.path()).to_string();
    assert!(told.contains("in use (locked)") && told.contains("data_dir"), "{told}");
    assert!(told.contains(&file(dir.path()).display().to_string()), "{told}");
}

#[test]
fn a_damaged_store_is_refused_and_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path()).unwrap();
    for revision in 2..40 {
        let event = Draft::info("a.b", "x", "y".repeat(400)).numbered(revision);
        store.commit(&Batch { events: vec![event], ..batch(revision, vec![]) }).unwrap();
    }
    drop(store);
    let sound = fs::read(file(dir.path())).unwrap();
    let cases: [(&str, Vec<u8>); 6] = [
        ("empty", vec![]),
        ("cut to a third", sound[..sound.len() / 3].to_vec()),
        ("cut to its first page", sound[..4096].to_vec()),
        ("another kind of file", b"#!/bin/sh\necho no store\n".repeat(1000)),
        ("zeroes", vec![0; sound.len()]),
        ("its magic number broken", [&[0xff; 4], &sound[4..]].concat()),
    ];
    for (what, bytes) in cases {
        fs::write(file(dir.path()), &bytes).unwrap();
        let refused = refusal(dir.path());
        assert!(matches!(refused, OpenError::Damaged { .. }), "{what}: {refused:?}");
        let told = refused.to_string();
        assert!(told.contains("restore it from a copy") && told.contains("control-plane.redb"), "{told}");
        assert_eq!(fs::read(file(dir.path())).unwrap(), bytes, "{what}: the file is left as it is");
    }
    fs::write(file(dir.path()), &sound).unwrap();
    assert!(open(dir.path()).is_ok());
}

#[test]
fn a_flipped_bit_never_gives_other_contents() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path()).unwrap();
    let event = Draft::info("a.b", "x", "y".repeat(2000)).numbered(1);
    store.commit(&Batch { events: vec![event], ..batch(2, vec![put_pool(1)]) }).unwrap();
    drop(store);
    let sound = fs::read(file(dir.path())).unwrap();
    let (_, expected) = open(dir.path()).unwrap();
    for place in (0..sound.len()).step_by(sound.len() / 60) {
        let mut flipped = sound.clone();
        flipped[place] ^= 0x10;
        fs::write(file(dir.path()), &flipped).unwrap();
        match open(dir.path()) {
            Ok((_, contents)) => assert_eq!(contents, expected, "byte {place}"),
            Err(OpenError::Damaged { .. } | OpenError::Newer { .. }) => {}
            Err(other) => panic!("byte {place}: {other}"),
        }
    }
}

#[test]
fn a_store_of_a_newer_version_is_refused_as_such() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path()).unwrap();
    let txn = store.db.begin_write().unwrap();
    put(&mut txn.open_table(META).unwrap(), "format", &(FORMAT + 1)).unwrap();
    txn.commit().unwrap();
    drop(store);
    let told = refusal(dir.path()).to_string();
    assert!(told.contains("newer version (format 2)"), "{told}");
}

#[test]
fn a_store_that_was_being_made_when_the_process_died_is_made_again() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("control-plane.redb.new"), b"half of it").unwrap();
    assert!(open(dir.path()).is_ok());
}

#[test]
fn a_directory_that_cannot_be_used_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let not_a_dir = dir.path().join("file");
    fs::write(&not_a_dir, b"").unwrap();
    assert!(matches!(refusal(&not_a_dir), OpenError::Io { .. }));
}

/// A disk that can be made full.
#[derive(Debug)]
struct Disk {
    memory: InMemoryBackend,
    full: Arc<AtomicBool>,
}

impl Disk {
    fn check(&self) -> io::Result<()> {
        if self.full.load(Ordering::Relaxed) { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        self.memory.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.memory.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.check()?;
        self.memory.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.check()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.check()?;
        self.memory.write(offset, data)
    }
}

/// A store in memory, and what makes its disk full.
pub(crate) fn on_a_disk() -> (Store, Contents, Arc<AtomicBool>) {
    let full = Arc::new(AtomicBool::new(false));
    let disk = Disk { memory: InMemoryBackend::new(), full: full.clone() };
    let db = Builder::new().create_with_backend(disk).unwrap();
    open::fill(&db).unwrap();
    let store = Store { db, path: "memory".into(), metrics: metrics() };
    let contents = store.read().unwrap();
    (store, contents, full)
}

#[test]
fn a_full_disk_is_told_and_changes_nothing() {
    let (store, _, full) = on_a_disk();
    full.store(true, Ordering::Relaxed);
    assert!(matches!(store.commit(&batch(2, vec![put_pool(1)])), Err(CommitError::Storage(_))));
    full.store(false, Ordering::Relaxed);
    assert!(store.read().is_err() || store.read().unwrap().pools.is_empty());
}
