//! Damaged and hostile files: every flipped bit, every length, exchanged pages, arbitrary changes
//! with and without right checksums, and files made to waste time or memory.
//!
//! Attacks: bytes-never-panic, checksum-covers-page, parent-holds-checksum, page-owned-once.

use crate::build::{Builder, Fan, File, State, inline, snapshot};
use crate::samples::{Sample, at_rest, large, new_file, numbered, pair, single};
use crate::{Random, engine_reads};
use btree_store::verify::{Report, verify_file};
use btree_store::vfs::{FileId, LockMode, VfsFile};
use btree_store::{Error, Invariant};
use std::collections::BTreeSet;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

/// Whether something is said of one of these pages.
fn names(report: &Report, pages: &[u32]) -> bool {
    let all = report.violations.iter().chain(&report.refused);
    all.filter_map(|violation| violation.page).any(|page| pages.contains(&page))
}

/// The page by which a damaged page is named: a run's pages by their first.
fn names_of(sample: &Sample, page: u32) -> Vec<u32> {
    let runs = [&sample.a, &sample.o, &sample.deep, &sample.catalog];
    let runs = runs.into_iter().flat_map(|tree| tree.runs.iter());
    let first = runs.filter(|(first, pages)| (*first..first + pages).contains(&page));
    [vec![page], first.map(|(first, _)| *first).collect()].concat()
}

#[test]
fn every_flipped_bit_is_found() {
    for mut sample in [at_rest(512), large(512), pair(512)] {
        let spare: BTreeSet<u32> = match sample.log.as_slice() {
            [] => sample.spare.iter().copied().collect(),
            // Of a large sample: those that are unused now.
            _ => [&sample.spare[..2], &sample.spare[2..]].concat().into_iter().collect(),
        };
        let sound = sample.file().report();
        for page in 0..sample.file().pages() {
            let named_by = names_of(&sample, page);
            for bit in 0..512 * 8 {
                sample.file().page_mut(page)[bit / 8] ^= 1 << (bit % 8);
                let report = sample.file().report();
                if spare.contains(&page) {
                    assert_eq!(report, sound, "bit {bit} of page {page}, which is unused");
                } else {
                    assert!(names(&report, &named_by), "bit {bit} of page {page}: {report}");
                }
                sample.file().page_mut(page)[bit / 8] ^= 1 << (bit % 8);
            }
        }
    }
}

#[test]
fn every_shorter_file_is_found_and_a_longer_one_is_not_looked_at() {
    for mut sample in [single(512), at_rest(512), pair(512)] {
        let whole = sample.file().clone();
        let sound = whole.report();
        assert!(sound.is_sound(), "{sound}");
        for length in 0..whole.bytes.len() {
            let file = File { size: 512, bytes: whole.bytes[..length].to_vec() };
            let report = file.report();
            assert!(!report.is_sound() && report.accepted().is_none(), "{length}: {report}");
        }
        for more in [1, 511, 512, 5000] {
            let mut file = whole.clone();
            file.bytes.resize(whole.bytes.len() + more, 0xEE);
            let mut report = file.report();
            report.file_len = sound.file_len;
            assert_eq!(report, sound);
        }
    }
}

#[test]
fn exchanged_stale_and_zeroed_pages_are_found() {
    let mut sample = at_rest(512);
    let whole = sample.file().clone();
    let pages = whole.pages();
    let is_spare = |page: &u32| sample.spare.contains(page);
    let mut cases = Vec::new();
    for one in 0..pages {
        for other in (0..pages).filter(|other| *other != one) {
            let mut file = whole.clone();
            let bytes = whole.page(other).to_vec();
            file.page_mut(one).copy_from_slice(&bytes);
            if one < other {
                let mut exchanged = file.clone();
                exchanged.page_mut(other).copy_from_slice(whole.page(one));
                cases.push((vec![one, other], exchanged));
            }
            cases.push((vec![one], file));
        }
        let mut file = whole.clone();
        file.page_mut(one).fill(0);
        cases.push((vec![one], file));
    }
    for (changed, file) in cases {
        let report = file.report();
        let is_changed = changed.iter().any(|page| whole.page(*page) != file.page(*page));
        if is_changed && !changed.iter().all(is_spare) {
            let is_named = !report.violations.is_empty() || !report.refused.is_empty();
            assert!(is_named, "pages {changed:?}: {report}");
        } else {
            assert!(report.is_sound(), "pages {changed:?}: {report}");
        }
    }
}

/// Changes a few bytes, or moves a page.
fn change(file: &mut File, random: &mut Random) {
    const VALUES: [u32; 10] = [0, 1, 2, 4, 31, 32, 0x8000_0000, 0xFFFE, 0xFFFF, u32::MAX];
    let page = random.below(file.pages());
    let value = match random.below(3) {
        0 => VALUES[random.index(VALUES.len())],
        1 => random.below(file.pages() + 1),
        _ => random.next(),
    };
    // Headers and what follows them are more interesting than the rest.
    let reach = if random.below(2) == 0 { 120 } else { file.size };
    let at = random.index(reach);
    match random.below(8) {
        0 => {
            let other = random.below(file.pages());
            let bytes = file.page(other).to_vec();
            file.page_mut(page).copy_from_slice(&bytes);
            if random.below(2) == 0 {
                file.set_u32(page, 4, page);
            }
        }
        1 => file.set_u32(page, at / 4 * 4, value),
        2 => file.set_u16(page, at / 2 * 2, usize::try_from(value & 0xFFFF).expect("16 bits")),
        3 => file.page_mut(page)[at] ^= 1 << random.below(8),
        4 => {
            let other = random.index(reach);
            file.page_mut(page).swap(at, other);
        }
        5 => {
            let byte = file.page(page)[at];
            file.set_u8(page, at, byte.wrapping_add(1));
        }
        6 => {
            let byte = file.page(page)[at];
            file.set_u8(page, at, byte.wrapping_sub(1));
        }
        _ => file.set_u8(page, at, u8::try_from(value & 0xFF).expect("8 bits")),
    }
}

#[test]
fn a_hundred_thousand_changes_end_in_a_report_and_what_is_sound_can_be_read() {
    let samples = [single(512).builder.file, at_rest(512).builder.file, pair(512).builder.file];
    let large = large(512).builder.file;
    let (mut sound, mut broken) = (0, 0);
    for round in 0..100_000_u32 {
        let mut random = Random::new(u64::from(round));
        let mut file = if round % 8 == 0 {
            large.clone()
        } else {
            samples[random.index(samples.len())].clone()
        };
        for _ in 0..=random.below(4) {
            change(&mut file, &mut random);
        }
        if random.below(4) > 0 {
            file.seal();
        }
        let report = file.report();
        if report.is_sound() {
            sound += 1;
            // What the engine cannot read is not sound.
            let reread: usize = engine_reads(&file).iter().map(|(_, entries)| entries.len()).sum();
            let state = report.accepted().expect("a sound file has a state");
            let counted: u64 = state.buckets.iter().map(|bucket| bucket.entries).sum();
            assert_eq!(reread as u64, counted, "round {round}: {report}");
        } else {
            broken += 1;
            assert!(report.to_json().contains("\"sound\":false"), "round {round}");
            assert!(report.to_string().contains("violation"), "round {round}");
        }
    }
    assert!(sound > 1000 && broken > 1000, "{sound} sound, {broken} broken");
}

#[test]
fn arbitrary_bytes_are_no_file() {
    for round in 0..2000 {
        let mut random = Random::new(round);
        let length = random.index(4000);
        let mut bytes: Vec<u8> = (0..length).map(|_| random.byte()).collect();
        if round % 2 == 0 && length > 48 {
            // A slot that seems to be one.
            bytes[32..40].copy_from_slice(b"BTSTORE\0");
            bytes[40..44].copy_from_slice(&1_u32.to_le_bytes());
            bytes[44..48].copy_from_slice(&(512_u32 << (round % 8)).to_le_bytes());
        }
        let report = File { size: 512, bytes }.report();
        assert!(!report.is_sound() && report.states.is_empty(), "{report}");
    }
}

#[test]
fn a_new_file_is_sound_and_at_rest() {
    for size in [512, 1024, 2048, 4096, 8192, 16384, 32768] {
        let mut file = new_file(size);
        let report = file.report();
        assert!(report.is_at_rest(), "{report}");
        assert_eq!(report.page_size.map(u64::from), Some(size as u64));
        // The page size is found when slot 0 is gone.
        file.page_mut(0).fill(0);
        let report = file.report();
        assert!(report.is_sound() && !report.is_at_rest(), "{report}");
        assert_eq!(report.page_size.map(u64::from), Some(size as u64));
    }
}

#[test]
fn stated_sizes_cost_nothing() {
    // A file of 1 KiB that speaks of 2 TiB.
    let mut file = new_file(512);
    for slot in [0, 1] {
        file.set_u32(slot, 48, u32::MAX);
    }
    file.seal();
    let report = file.report();
    assert!(report.accepted().is_none() && !report.is_sound(), "{report}");
    // A log of as many pages as the file may have.
    let mut sample = single(512);
    let pages = sample.file().pages();
    sample.state.log = (sample.spare[0], pages);
    sample.rewrite();
    sample.file().seal();
    assert!(!sample.file().report().is_sound());
    // A value of 4 GiB.
    let mut sample = single(512);
    let leaf = sample.o.root;
    let at = sample.file().value(leaf, 6);
    sample.file().set_u32(leaf, at, u32::MAX);
    sample.file().seal();
    let report = sample.file().report();
    let first = sample.o.runs[1].0;
    assert!(report.violates(Invariant::PageOwnedOnce, Some(first)), "{report}");
}

/// A leaf of three entries below branches whose second child is a slot. The separators descend
/// with the levels: each lies below the one that bounds its branch.
fn tower(levels: u32) -> File {
    let mut builder = Builder::new(512);
    let mut tree = builder.tree(1, &numbered("key", 3, 5), Fan { leaf: 8, branch: 8 });
    for level in 1..levels {
        let separator = [b'l', u8::try_from(level).expect("levels are few")];
        tree.root = builder.branch(level, &[&separator], &[tree.root, 1]);
        tree.level = level;
    }
    let page_count = builder.file.pages();
    let (inline, tail) = (inline(&[("a", &tree)]), snapshot(2, u32::MAX, &[]));
    builder.slot(&State { txn: 1, page_count, buckets: 1, inline, tail, ..State::default() });
    builder.file.seal();
    builder.file
}

#[test]
fn a_tree_has_at_most_as_many_levels_as_the_format_allows() {
    for levels in [1, 2, 31, 32] {
        let report = tower(levels).report();
        assert_eq!(report.violations.len() as u64, u64::from(levels) - 1, "{report}");
        assert!(levels == 1 || report.violates(Invariant::PageOwnedOnce, Some(1)), "{report}");
        assert_eq!(report.accepted().map(|state| state.buckets[0].entries), Some(3));
    }
    let report = tower(33).report();
    assert!(report.violates(Invariant::UniformDepth, Some(0)), "{report}");
}

/// The records of many pages of the space log, which say that every second page is unused.
fn every_second_page(pages: u32) -> Vec<Vec<u32>> {
    const SPAN: u32 = 100;
    (2..pages)
        .step_by(usize::try_from(SPAN).expect("it fits"))
        .map(|from| {
            let to = if from + SPAN < pages { from + SPAN } else { u32::MAX };
            let unused: Vec<u32> = (from..to.min(pages)).filter(|page| page % 2 == 0).collect();
            snapshot(from, to, &unused)
        })
        .collect()
}

#[test]
fn violations_beyond_a_thousand_are_counted() {
    const PAGES: u32 = 4202;
    let mut builder = Builder::new(512);
    builder.add(PAGES - 2);
    let log = builder.log(1, &every_second_page(PAGES));
    let page_count = builder.file.pages();
    builder.slot(&State { txn: 1, page_count, log, ..State::default() });
    builder.file.seal();
    let report = builder.file.report();
    // Every odd page is lost.
    assert_eq!(report.violations.len(), 1000);
    assert_eq!(report.violations_dropped, 1100);
    assert!(!report.is_sound());
    assert!(report.to_string().ends_with("and 1100 more\n"));
    assert_eq!(report.accepted().map(|state| state.lost), Some(2100));
}

#[test]
fn a_log_of_many_rounds_is_read_in_one() {
    const PAGES: u32 = 20_000;
    const LOG_PAGES: u32 = 10_000;
    let mut builder = Builder::new(512);
    builder.add(PAGES - 2 - LOG_PAGES);
    // All pages are lost; each page of the log says 29 times of all of them that they are used.
    let round = snapshot(2, u32::MAX, &[]);
    let words = round.repeat(29);
    let log = builder.log(1, &vec![words; usize::try_from(LOG_PAGES).expect("it fits")]);
    let page_count = builder.file.pages();
    builder.slot(&State { txn: 1, page_count, log, ..State::default() });
    builder.file.seal();
    let report = builder.file.report();
    assert!(report.violates(Invariant::PageOwnedOnce, Some(2)), "{report}");
    let state = report.accepted().expect("it is whole");
    assert_eq!((state.log_pages, state.lost), (10_000, 9_998));
}

/// A file whose n-th read fails.
struct Failing {
    file: File,
    reads_left: AtomicU64,
}

impl VfsFile for Failing {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let left = self.reads_left.fetch_sub(1, Ordering::Relaxed);
        if left == 0 { Err(io::Error::other("a bad disk")) } else { self.file.read_at(buf, offset) }
    }
    fn size(&self) -> io::Result<u64> {
        self.file.size()
    }
    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        self.file.write_at(buf, offset)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }
    fn sync_all(&self) -> io::Result<()> {
        self.file.sync_all()
    }
    fn try_lock(&self, mode: LockMode) -> io::Result<bool> {
        self.file.try_lock(mode)
    }
    fn id(&self) -> io::Result<FileId> {
        self.file.id()
    }
}

#[test]
fn a_read_that_fails_is_an_error_and_no_violation() {
    let file = large(512).builder.file;
    for reads in 0.. {
        let failing = Failing { file: file.clone(), reads_left: AtomicU64::new(reads) };
        match verify_file(&failing) {
            Err(error) => assert_eq!(error, Error::IoError),
            Ok(report) => {
                assert!(report.is_sound());
                assert!(reads > 60, "{reads} reads for a file of {} pages", file.pages());
                return;
            }
        }
    }
}
