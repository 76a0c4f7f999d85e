//! Free space: logs that no commit wrote, and commits beside sets of page numbers.

use super::input::Input;
use btree_store::Error;
use btree_store::fuzzing::{Log, Pages, Place, Space};
use std::collections::{BTreeMap, BTreeSet};

/// A log page: its id, its words, and the page that it points to.
type WrittenPage = (u32, (Vec<u32>, Option<u32>));

/// Words of a tail and of a log page, so few that both are often full.
const WORDS: (usize, usize) = (30, 40);
/// Pages of a file at most.
const PAGES_MAX: u32 = 400;

/// A log from bytes.
pub fn arbitrary(input: &mut Input<'_>) {
    let (txn, page_count) = (u64::from(input.byte() % 8), input.pick(&[20, 2, 40, 200]));
    let mut log: Vec<Log> = Vec::new();
    for _ in 0..input.below(3) {
        let id = input.number();
        let count = input.below(40);
        log.push((id, 0, words(input, count)));
    }
    // Most logs of a few pages begin with the growth of the file.
    let mut tail = if input.below(2) == 0 { vec![3, 2, page_count] } else { Vec::new() };
    while !input.is_empty() && tail.len() < 200 {
        tail.push(input.number());
    }
    match Space::replay(txn, page_count, &log, &tail) {
        Ok(mut space) => {
            assert_eq!(space.page_count(), page_count);
            use_it(&mut space);
        }
        Err(error) => assert_eq!(error, Error::Corruption),
    }
}

fn words(input: &mut Input<'_>, count: usize) -> Vec<u32> {
    (0..count).map(|_| input.number()).collect()
}

/// What was believed can be worked with.
pub fn use_it(space: &mut Space) {
    let pages: u64 = space.free().iter().map(|(_, pages)| u64::from(*pages)).sum();
    assert_eq!(space.counts().0, pages);
    // The transaction is not known here, so a high one.
    for txn in (1..5).map(|later| (1 << 40) + later) {
        space.begin(txn, &[]);
        if let Some(extent) = space.allocate_up_to(3, Place::Lowest) {
            space.release(extent, txn).expect("it was allocated");
        }
        let needed = space.log_pages_needed(WORDS);
        let ids = (0..needed).map_while(|_| space.allocate(1, Place::BestFit));
        let ids: Vec<u32> = ids.map(|(id, _)| id).collect();
        if ids.len() < usize::try_from(needed).expect("there are few") {
            return space.undo();
        }
        space.finish(WORDS, &ids);
        for id in ids {
            space.log_page_sealed(id, 0);
        }
        space.installed();
    }
}

/// Commits beside a twin.
pub fn twin(input: &mut Input<'_>) {
    let mut twin = Twin::default();
    for _ in 0..60 {
        if input.is_empty() {
            return;
        }
        twin.commit(input);
    }
}

/// Which pages are what, one by one.
struct Twin {
    space: Space,
    txn: u64,
    page_count: u32,
    /// Owned pages, and the state they were born in.
    owned: BTreeMap<u32, u64>,
    log: BTreeMap<u32, u64>,
    free: BTreeSet<u32>,
    /// Freed by, born in.
    pending: BTreeMap<u32, (u64, u64)>,
    pins: BTreeSet<u64>,
    /// Log pages as they lie on the disk: words, and the page before.
    disk: BTreeMap<u32, (Vec<u32>, Option<u32>)>,
}

impl Default for Twin {
    fn default() -> Twin {
        Twin {
            space: Space::new(2),
            txn: 0,
            page_count: 2,
            owned: BTreeMap::new(),
            log: BTreeMap::new(),
            free: BTreeSet::new(),
            pending: BTreeMap::new(),
            pins: BTreeSet::new(),
            disk: BTreeMap::new(),
        }
    }
}

fn each((first, pages): Pages) -> impl Iterator<Item = u32> {
    first..first + pages
}

impl Twin {
    fn commit(&mut self, input: &mut Input<'_>) {
        match input.below(6) {
            0 => drop(self.pins.insert(self.txn)),
            1 => drop(self.pins.pop_first()),
            _ => {}
        }
        let txn = self.txn + 1;
        let pins: Vec<u64> = self.pins.iter().copied().collect();
        self.space.begin(txn, &pins);
        let is_free = |(freed, birth): &(u64, u64)| {
            freed + 2 <= txn && !pins.iter().any(|pin| pin >= birth && pin < freed)
        };
        let ripe: Vec<u32> = self
            .pending
            .iter()
            .filter(|(_, times)| is_free(times))
            .map(|(&page, _)| page)
            .collect();
        for page in ripe {
            self.pending.remove(&page);
            self.free.insert(page);
        }
        self.compare();
        let before = self.parts();
        for _ in 0..input.below(12) {
            self.change(txn, input);
        }
        self.compare();
        let words = self.write_log(txn);
        self.compare();
        if input.once_in(6) {
            self.space.undo();
            (self.page_count, self.owned, self.log, self.free, self.pending) = before;
            self.compare();
        } else {
            self.space.installed();
            self.disk.extend(words);
            self.txn = txn;
            self.replay(input.once_in(4));
        }
    }

    #[expect(clippy::type_complexity, reason = "it is put back as it is taken")]
    fn parts(
        &self,
    ) -> (u32, BTreeMap<u32, u64>, BTreeMap<u32, u64>, BTreeSet<u32>, BTreeMap<u32, (u64, u64)>)
    {
        let (owned, log) = (self.owned.clone(), self.log.clone());
        (self.page_count, owned, log, self.free.clone(), self.pending.clone())
    }

    fn change(&mut self, txn: u64, input: &mut Input<'_>) {
        match input.below(8) {
            0 => self.grow(1 + u32::from(input.byte() % 24)),
            1 => self.cut(input),
            2 => self.space.want_checkpoint(),
            3..=5 => self.release(txn, input),
            _ => self.allocate(txn, input),
        }
    }

    fn grow(&mut self, pages: u32) {
        let count = (self.page_count + pages).min(PAGES_MAX);
        if count > self.page_count {
            self.space.grow(count);
            self.free.extend(self.page_count..count);
            self.page_count = count;
        }
    }

    fn cut(&mut self, input: &mut Input<'_>) {
        let tail = (2..self.page_count).rev().take_while(|page| self.free.contains(page)).count();
        assert_eq!(usize::try_from(self.space.tail_free()), Ok(tail));
        let pages = u32::try_from(input.below(tail + 1)).expect("there are few");
        if pages > 0 {
            self.page_count -= pages;
            self.space.cut(self.page_count);
            let lost = self.free.split_off(&self.page_count);
            assert_eq!(u32::try_from(lost.len()), Ok(pages));
        }
    }

    fn allocate(&mut self, txn: u64, input: &mut Input<'_>) {
        let below = Place::Below(2 + u32::from(input.byte()));
        let place = input.pick(&[Place::BestFit, Place::Lowest, below]);
        let wanted = 1 + u32::from(input.byte() % 6);
        let found = if input.below(2) == 0 {
            self.space.allocate(wanted, place)
        } else {
            self.space.allocate_up_to(wanted, place)
        };
        let Some(found) = found else { return };
        assert!(found.1 > 0 && found.1 <= wanted);
        for page in each(found) {
            assert!(self.free.remove(&page), "page {page} was free");
            assert!(place != below || matches!(below, Place::Below(limit) if page < limit));
            self.owned.insert(page, txn);
        }
    }

    /// Frees a page, and those behind it that are owned too.
    fn release(&mut self, txn: u64, input: &mut Input<'_>) {
        let (first, most) = (2 + u32::from(input.byte()), 1 + u32::from(input.byte() % 4));
        let run = (first..first + most).take_while(|page| self.owned.contains_key(page));
        let pages = u32::try_from(run.count()).expect("there are few");
        if pages == 0 {
            let refused = self.space.release((first, 1), txn);
            return assert_eq!(refused, Err(Error::Corruption), "page {first} is not owned");
        }
        let birth = each((first, pages)).map(|page| self.owned[&page]).min().unwrap_or(0);
        self.space.release((first, pages), birth).expect("they are owned");
        for page in each((first, pages)) {
            self.owned.remove(&page);
            self.pending.insert(page, (txn, birth));
        }
    }

    /// Writes the log pages that the commit needs; returns them as they would lie on the disk.
    fn write_log(&mut self, txn: u64) -> Vec<WrittenPage> {
        let needed = self.space.log_pages_needed(WORDS);
        let mut ids = Vec::new();
        while ids.len() < usize::try_from(needed).expect("there are few") {
            if let Some((id, _)) = self.space.allocate(1, Place::BestFit) {
                assert!(self.free.remove(&id), "page {id} was free");
                ids.push(id);
            } else {
                self.space.grow(self.page_count + 1);
                self.free.insert(self.page_count);
                self.page_count += 1;
            }
        }
        let pages = self.space.finish(WORDS, &ids);
        assert_eq!(pages.len(), ids.len());
        let mut written = Vec::new();
        for (id, words) in ids.into_iter().zip(pages) {
            assert!(words.len() <= WORDS.1);
            let previous = self.space.log_head().map(|(id, _)| id);
            self.space.log_page_sealed(id, id);
            self.log.insert(id, txn);
            written.push((id, (words, previous)));
        }
        assert!(self.space.tail().len() <= WORDS.0);
        self.drop_log_pages(txn, &written);
        written
    }

    /// Log pages that are no longer in the chain are freed.
    fn drop_log_pages(&mut self, txn: u64, written: &[WrittenPage]) {
        let page = |id: &u32| written.iter().find(|(own, _)| own == id).map(|(_, page)| page);
        let mut held = BTreeSet::new();
        let mut next = self.space.log_head().map(|(id, _)| id);
        for _ in 0..self.space.log_page_count() {
            let id = next.expect("the chain is as long as it says");
            assert!(held.insert(id), "page {id} is in the chain once");
            next = page(&id).or_else(|| self.disk.get(&id)).expect("it was written").1;
        }
        let dropped: Vec<u32> = self.log.keys().copied().filter(|id| !held.contains(id)).collect();
        for id in dropped {
            let birth = self.log.remove(&id).expect("it is there");
            self.pending.insert(id, (txn, birth));
        }
    }

    /// What a process that opens the file now would believe.
    fn replay(&mut self, goes_on: bool) {
        let mut log: Vec<Log> = Vec::new();
        let mut next = self.space.log_head().map(|(id, _)| id);
        for _ in 0..self.space.log_page_count() {
            let id = next.expect("the chain is as long as it says");
            let (words, previous) = &self.disk[&id];
            log.push((id, id, words.clone()));
            next = *previous;
        }
        log.reverse();
        let space = Space::replay(self.txn, self.page_count, &log, &self.space.tail());
        let space = space.unwrap_or_else(|error| panic!("{error}: {:?}", error.detail()));
        let pages = |extents: Vec<Pages>| extents.into_iter().flat_map(each).collect();
        let (free, pending): (BTreeSet<u32>, BTreeSet<u32>) =
            (pages(space.free()), pages(space.pending()));
        let own = |(_, (freed, _)): &(&u32, &(u64, u64))| *freed == self.txn;
        let freed: BTreeSet<u32> = self.pending.iter().filter(own).map(|(&page, _)| page).collect();
        assert_eq!(pending, freed, "what the state's own transaction freed waits");
        let unused: BTreeSet<u32> = self.free.iter().chain(self.pending.keys()).copied().collect();
        assert_eq!(&free | &pending, unused);
        if goes_on {
            self.space = space;
            self.pins.clear();
            self.pending.retain(|page, _| freed.contains(page));
            for times in self.pending.values_mut() {
                times.1 = 0;
            }
            self.free = free;
            self.log.values_mut().for_each(|birth| *birth = 0);
        }
    }

    fn compare(&self) {
        let pages =
            |extents: Vec<Pages>| -> Vec<u32> { extents.into_iter().flat_map(each).collect() };
        assert_eq!(self.space.page_count(), self.page_count);
        assert!(pages(self.space.free()).iter().eq(&self.free));
        assert!(pages(self.space.pending()).iter().eq(self.pending.keys()));
        let counts = (self.free.len() as u64, self.pending.len() as u64);
        assert_eq!(self.space.counts(), counts);
        let owned = self.owned.len() + self.log.len() + self.free.len() + self.pending.len() + 2;
        assert_eq!(u32::try_from(owned), Ok(self.page_count), "every page has one owner");
    }
}
