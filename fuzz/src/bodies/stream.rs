//! A backup stream from elsewhere, and streams of files from elsewhere. What is asked: does nothing
//! panic, is every error a typed one that leaves no file, is what comes of a damaged stream never
//! something else than what was backed up, is what is restored of a forged one usable?

use super::dump::{self, Contents, judge, poke};
use super::input::Input;
use super::patch::{Hand, Patient};
use super::reseal;
use super::seeds::{self, PATH, on};
use btree_store::format::{
    STREAM_BLOCK_HEADER, STREAM_BLOCK_MAX, STREAM_HEADER_CHECKSUM, STREAM_HEADER_LEN,
    STREAM_HEADER_VERSION, STREAM_VERSION_PAGES,
};
use btree_store::fuzzing::run_checksum;
use btree_store::verify::verify_path;
use btree_store::vfs::MemVfs;
use btree_store::{BTree, Error};
use std::collections::BTreeSet;
use std::sync::OnceLock;

const COPY: &str = "copy.db";
const PATCHES_MAX: usize = 16;
/// A forged stream names no page from here on, so that the file it makes has a bound.
const PAGES_MAX: u32 = 4096;

/// A sound stream, the file on which it is to be put, if it needs one, and what it holds.
struct Sound {
    bytes: Vec<u8>,
    base: Option<Vec<u8>>,
    contents: Contents,
}

/// Streams of some of the seeds, in both forms, and increments; made once.
fn all() -> &'static [Sound] {
    static STREAMS: OnceLock<Vec<Sound>> = OnceLock::new();
    STREAMS.get_or_init(|| [0, 3, 4, 6].into_iter().flat_map(streams_of).collect())
}

fn streams_of(seed: usize) -> Vec<Sound> {
    let vfs = MemVfs::new();
    vfs.write_file(PATH, &seeds::all()[seed].bytes);
    let db = on(&vfs).open(PATH).expect("a seed opens");
    let contents = |db: &BTree| dump::contents(&dump::read(db));
    let (mut entries, mut pages, mut later) = (Vec::new(), Vec::new(), Vec::new());
    db.snapshot().backup_to(&mut entries).expect("memory does not fail");
    let since = db.backup_since(0, &mut pages).expect("memory does not fail").seq;
    let before = contents(&db);
    db.exec("one", |txn| txn.put("later", [7; 900])).expect("a seed can be written");
    db.backup_since(since, &mut later).expect("memory does not fail");
    let copy = MemVfs::new();
    on(&copy).restore(&mut pages.as_slice(), PATH).expect("a sound stream is restored");
    let base = copy.read_file(PATH);
    vec![
        Sound { bytes: entries, base: None, contents: before.clone() },
        Sound { bytes: pages, base: None, contents: before },
        Sound { bytes: later, base, contents: contents(&db) },
    ]
}

/// Makes a file of a stream. It is there if that succeeded, and nothing is left else.
fn restore(stream: &[u8], base: Option<&Vec<u8>>) -> Option<MemVfs> {
    let vfs = MemVfs::new();
    let made = match base {
        None => on(&vfs).restore(&mut &*stream, COPY),
        Some(base) => {
            vfs.write_file(PATH, base);
            let db = on(&vfs).read_only().open(PATH).expect("the base is sound");
            db.snapshot().apply_backup(&mut &*stream, COPY)
        }
    };
    let is_there = vfs.read_file(COPY).is_some();
    assert_eq!(made.is_ok(), is_there, "{made:?}");
    assert!(vfs.read_file(format!("{COPY}-btree-store-backup")).is_none());
    assert!(vfs.read_file(format!("{COPY}-create")).is_none());
    match made {
        // A state that it does not belong to, or a key for which pages are too small.
        Err(Error::Invalid | Error::TooLarge) => None,
        made => judge(made).map(|_| vfs),
    }
}

/// Whatever was restored opens and can be worked with.
fn use_it(vfs: &MemVfs) {
    let report = verify_path(vfs, COPY).expect("memory does not fail");
    let db = on(vfs).must_exist().open(COPY).expect("what was restored opens");
    let dump = dump::read(&db);
    poke(&db, &dump);
    for changed in [db.exec("new bucket", |txn| txn.put("key", [1; 700])), db.compact(0).map(drop)]
    {
        // A state may claim as many buckets as can be.
        if changed != Err(Error::NoSpace) {
            judge(changed);
        }
    }
    if report.is_sound() {
        assert!(db.verify().expect("memory does not fail").is_sound());
    }
}

/// See the head.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    match input.below(4) {
        0 => {
            if let Some(vfs) = restore(input.all(), None) {
                use_it(&vfs);
            }
        }
        1 => of_forged_file(&mut input),
        2 => damaged(&mut input),
        _ => forged(&mut input),
    }
}

/// The stream of a file that may hold anything, whose checksums fit.
fn of_forged_file(input: &mut Input<'_>) {
    let seeds = seeds::all();
    let seed = &seeds[input.below(seeds.len())];
    let (bytes, page_size) = (seed.bytes.clone(), seed.page_size);
    let (hand, touched) = (Hand::Forger, BTreeSet::new());
    let mut patient = Patient { bytes, page_size, hand, touched, others: seeds };
    patient.damage(input);
    reseal::everything(&mut patient.bytes, page_size);
    let vfs = MemVfs::new();
    vfs.write_file(PATH, &patient.bytes);
    let Some(db) = open_durable(&vfs) else { return };
    let (mut stream, mut since) = (Vec::new(), Vec::new());
    judge(db.backup_since(db.current_seq() / 2, &mut since));
    let Some(stats) = judge(db.backup_since(0, &mut stream)) else { return };
    if let Some(vfs) = restore(&stream, None) {
        let copy = on(&vfs).must_exist().open(COPY).expect("what was restored opens");
        assert_eq!(copy.current_seq(), stats.seq);
        assert_eq!(dump::read(&copy), dump::read(&db), "the copy differs");
        drop(copy);
        use_it(&vfs);
    }
}

/// Opens a file for reading, if an increment may begin there. What a writer that died left in it is
/// made durable first. That does not help where both slots say that they are the original of one
/// state, which no writer leaves.
fn open_durable(vfs: &MemVfs) -> Option<BTree> {
    let open = || judge(on(vfs).read_only().must_exist().open(PATH));
    let is_refused =
        |db: &BTree| db.backup_since(db.current_seq(), &mut Vec::new()) == Err(Error::Invalid);
    let db = open()?;
    if !is_refused(&db) {
        return Some(db);
    }
    drop(db);
    judge(on(vfs).must_exist().open(PATH)).map(drop)?;
    open().filter(|db| !is_refused(db))
}

/// Media damage a stream: then it is refused, or it says what it said.
fn damaged(input: &mut Input<'_>) {
    let sound = &all()[input.below(all().len())];
    let mut bytes = sound.bytes.clone();
    patch(&mut bytes, 0, input);
    if let Some(vfs) = restore(&bytes, sound.base.as_ref()) {
        let db = on(&vfs).must_exist().open(COPY).expect("what was restored opens");
        assert_eq!(dump::contents(&dump::read(&db)), sound.contents);
    }
}

/// Somebody makes the checksums of a damaged stream fit.
fn forged(input: &mut Input<'_>) {
    let sound = &all()[input.below(all().len())];
    let (head, blocks) = sound.bytes.split_at(STREAM_HEADER_LEN);
    let (mut head, mut content) = (head.to_vec(), Vec::new());
    let mut rest = blocks;
    while let Some((block, behind)) = rest.split_at_checked(STREAM_BLOCK_HEADER) {
        let len = u32::from_le_bytes(block[..4].try_into().expect("four bytes"));
        let (inside, next) = behind.split_at(usize::try_from(len).expect("a block is short"));
        content.extend_from_slice(inside);
        rest = next;
    }
    if input.once_in(4) {
        let number = input.number();
        let at = input.pick(&[STREAM_HEADER_VERSION, 12, 16]);
        head[at..at + 4].copy_from_slice(&number.to_le_bytes());
    }
    let is_pages = head[STREAM_HEADER_VERSION] == STREAM_VERSION_PAGES.to_le_bytes()[0];
    patch(&mut content, 0, input);
    if is_pages && content.len() >= 12 {
        let count = u32::from_le_bytes(content[8..12].try_into().expect("four bytes"));
        content[8..12].copy_from_slice(&count.min(PAGES_MAX).to_le_bytes());
    }
    let forged = sealed(head, &content);
    if let Some(vfs) = restore(&forged, sound.base.as_ref()) {
        use_it(&vfs);
    }
}

fn crc(bytes: &[u8]) -> u32 {
    let first = u32::from_le_bytes(bytes[..4].try_into().expect("four bytes"));
    run_checksum(first, &bytes[4..])
}

/// A stream of this header and this content, with checksums.
fn sealed(mut head: Vec<u8>, content: &[u8]) -> Vec<u8> {
    let mut before = crc(&head[..STREAM_HEADER_CHECKSUM]).to_le_bytes();
    head[STREAM_HEADER_CHECKSUM..].copy_from_slice(&before);
    for part in content.chunks(STREAM_BLOCK_MAX) {
        let len = u32::try_from(part.len()).expect("a block is short").to_le_bytes();
        before = crc(&[&before[..], &len, part].concat()).to_le_bytes();
        head.extend([&len[..], &before, part].concat());
    }
    head
}

/// Changes bytes from a place on, as the input says, until it ends.
fn patch(bytes: &mut Vec<u8>, from: usize, input: &mut Input<'_>) {
    for _ in 0..PATCHES_MAX {
        if input.is_empty() || bytes.len() <= from {
            return;
        }
        let at = from + input.below(bytes.len() - from);
        let end = bytes.len();
        match input.below(6) {
            0 => bytes[at] ^= 1 << input.below(8),
            1 | 2 => {
                let (number, len) = (input.number().to_le_bytes(), input.pick(&[4, 2, 1]));
                let len = len.min(end - at);
                bytes[at..at + len].copy_from_slice(&number[..len]);
            }
            3 => bytes.truncate(at),
            4 => {
                let part = bytes[at..(at + input.below(600)).min(end)].to_vec();
                let to = from + input.below(end - from);
                bytes.splice(to..to, part);
            }
            _ => drop(bytes.drain(at..(at + input.below(600)).min(end))),
        }
    }
}
