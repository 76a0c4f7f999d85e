//! Campaigns: random transactions beside a model, with everything that a disk may do to them.
//!
//! Owns: [`Campaign`]: which sessions are run, on which threads, and what is told of them.
//! Must not know: what a session does.
//! Keeps: the same seeds give the same findings, on any number of threads.
//!
//! A session is forty transactions, or as many as are wanted, on one disk: of 512 or 4,096 bytes a
//! page, of one barrier or two, of any kind of disk that keeps its promises. The power fails inside
//! of them, and inside of the recoveries, up to three times in a row, or the disk fails there; the
//! disk is full; syncs fail in the five ways; the process ends without a power failure, with its
//! cache kept or any part of it evicted. After each, the store holds a state between the last that
//! was acknowledged and the last that had begun, as the model has it; every page has its owner; and
//! it goes on. Between two syncs it writes only what no durable state needs, but for a transaction,
//! or a recovery, of which a sync lies. A session that fails is made smaller before it is told.
//!
//! Of four sessions one defers most of its commits. A power failure may take those that no sync, no
//! durable commit and no close has made durable, all of them or none. A fault may too, and then the
//! next sync of each handle tells it. A session of the same seed that defers nothing is another.
//!
//! Half of the sessions have a cache of a few pages, in which nothing stays for long. The other
//! half have a roomy one, so that leaves are held where they lie and changed when they are sealed;
//! in these, ranges are removed more often, and more values are large.
//!
//! Of four sessions one makes half of its transactions over one bucket as values or with
//! `transact`; others may commit meanwhile, and then the model says whether that is a conflict.
//!
//! A third of the sessions of each of these kinds put many values from readers, which give them in
//! pieces, and end early, or fail, and many entries in bulk; a few values are of 256 KiB, so that
//! they go to the file before the commit. Some are read again later, whatever became of their
//! transactions. Where none of these sessions defers, an owned transaction that has put such a
//! value is open during most operations, among them compactions; these fail too, and so do reads
//! and writing back. What comes to nothing leaves as many free pages as there were.
//!
//! Of four faults behind which the store can go on, it goes on in the same process behind three in
//! sessions that do not defer, and so do the snapshots and the cursors of that process.

mod aside;
mod check;
mod event;
mod kind;
mod left;
mod session;

pub use event::{Counts, SYNC_FAILURES};

use super::workers::on_threads;
use crate::sync::{AtomicU64, Ordering};
use kind::{Kind, kind_of, session_of, token_of};
use session::Session;

/// Transactions of a session, if nothing else is said.
pub const PER_SESSION: u64 = 40;
/// Transactions of a session at most: all of them are in memory.
pub const SESSION_MAX: u64 = 100_000;
/// Threads of a campaign at most.
pub const THREADS_MAX: usize = 1_024;

/// Sessions with the seeds that follow one another, or a part of them.
///
/// ```
/// use btree_store::sim::campaign::Campaign;
/// let found = Campaign::new(80, 7).run(2, |_| {});
/// assert_eq!((found.counts.transactions, found.failed.len()), (80, 0));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Campaign {
    first: u64,
    transactions: u64,
    per_session: u64,
    part: u64,
    parts: u64,
}

/// A session that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    /// Its seed.
    pub seed: u64,
    /// What was found.
    pub what: String,
    /// The transactions, and what happened to each, as few as it fails with.
    pub story: String,
    /// What repeats it, see [`replay`].
    pub token: String,
}

/// What a campaign found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// What was done.
    pub counts: Counts,
    /// The sessions that failed, by seed.
    pub failed: Vec<Failed>,
}

impl Campaign {
    /// A campaign of so many transactions, rounded up to whole sessions of [`PER_SESSION`], with
    /// the seeds from `seed` on; up to the last seed that there is.
    ///
    /// # Panics
    /// If it has no transactions: a campaign of nothing would pass.
    pub fn new(transactions: u64, seed: u64) -> Campaign {
        assert!(transactions > 0, "a campaign has transactions");
        Campaign { first: seed, transactions, per_session: PER_SESSION, part: 0, parts: 1 }
    }

    /// Lets each session have so many transactions: fewer, and longer, ones, whose stores have a
    /// history. A session that fails is made smaller in runs of a hundred times as many at most.
    ///
    /// ```
    /// use btree_store::sim::campaign::Campaign;
    /// let campaign = Campaign::new(1_000, 7).per_session(500);
    /// assert_eq!(campaign.sessions(), 2);
    /// ```
    ///
    /// # Panics
    /// If it is none, which would pass, or more than [`SESSION_MAX`].
    #[must_use]
    pub fn per_session(self, transactions: u64) -> Campaign {
        let is_possible = (1..=SESSION_MAX).contains(&transactions);
        assert!(is_possible, "a session has 1 to {SESSION_MAX} transactions");
        Campaign { per_session: transactions, ..self }
    }

    /// Takes only the sessions whose number, from 0, leaves the rest `part` when divided by
    /// `parts`, so that several processes can share the work. Where there are more parts than
    /// sessions, some have none.
    ///
    /// # Panics
    /// If there is no such part: a campaign of nothing would pass.
    #[must_use]
    pub fn shard(self, part: u64, parts: u64) -> Campaign {
        assert!(part < parts, "part {part} of {parts} parts, counted from 0");
        Campaign { part, parts, ..self }
    }

    /// How many sessions it has.
    pub fn sessions(&self) -> u64 {
        self.all_sessions().saturating_sub(self.part).div_ceil(self.parts)
    }

    /// How many it has with all its parts.
    fn all_sessions(&self) -> u64 {
        let seeds = (u64::MAX - self.first).saturating_add(1);
        self.transactions.div_ceil(self.per_session).min(seeds)
    }

    /// The seed of its session with this number, from 0.
    fn seed(&self, number: u64) -> Option<u64> {
        let place = number.checked_mul(self.parts)?.checked_add(self.part)?;
        (place < self.all_sessions()).then(|| self.first + place)
    }

    /// Runs its sessions on so many threads, and tells `each` of every one that is over. There are
    /// no more threads than sessions, nor than [`THREADS_MAX`] or the system has; the calling one
    /// is among them.
    ///
    /// # Panics
    /// If `each` does: panics of the store are findings.
    pub fn run(&self, threads: usize, each: impl Fn(Counts) + Sync) -> Found {
        let next = AtomicU64::new(0);
        let work = || {
            let mut found = Found::default();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let Some(seed) = self.seed(number) else { return found };
                let (counts, failed) = run_session(seed, kind_of(seed), self.per_session);
                found.counts += counts;
                found.failed.extend(failed);
                each(counts);
            }
        };
        let mut all = Found::default();
        let sessions = usize::try_from(self.sessions()).unwrap_or(usize::MAX);
        for found in on_threads(threads.min(sessions).min(THREADS_MAX), work) {
            all.counts += found.counts;
            all.failed.extend(found.failed);
        }
        all.failed.sort_by_key(|failed| failed.seed);
        all
    }
}

/// Runs a session; if it fails, makes it smaller and tells of it.
fn run_session(seed: u64, kind: Kind, transactions: u64) -> (Counts, Option<Failed>) {
    let session = Session::new(seed, kind, transactions);
    let mut counts = Counts { sessions: 1, ..Counts::default() };
    let Err(what) = session.run(&mut counts) else { return (counts, None) };
    let smallest = session.smallest();
    let what = smallest.run(&mut Counts::default()).err().unwrap_or(what);
    let (story, token) = (smallest.story(), token_of(seed, kind, transactions));
    (counts, Some(Failed { seed, what, story, token }))
}

/// The session of a token once more: its story, and what fails, if it still does. A seed alone is
/// the token of a session of none of these kinds.
///
/// `None` when the text is no token of a campaign.
///
/// ```
/// use btree_store::sim::campaign::replay;
/// let (story, failed) = replay("campaign:7").expect("it is a token");
/// assert!(failed.is_none() && story.contains("Exec"));
/// let (story, failed) = replay("campaign:7+deferred").expect("it is one, too");
/// assert!(failed.is_none() && story.contains("Deferred"));
/// assert!(replay("campaign:7+roomy+owned+filled").is_some_and(|(_, failed)| failed.is_none()));
/// // One of a hundred transactions.
/// assert!(replay("campaign:7*100").is_some_and(|(_, failed)| failed.is_none()));
/// assert!(replay("7").is_none());
/// ```
pub fn replay(token: &str) -> Option<(String, Option<Failed>)> {
    let (seed, kind, transactions) = session_of(token)?;
    let (_, failed) = run_session(seed, kind, transactions);
    let story = match &failed {
        Some(failed) => failed.story.clone(),
        None => Session::new(seed, kind, transactions).story(),
    };
    Some((story, failed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_share_the_sessions() {
        let whole = Campaign::new(7 * PER_SESSION - 1, 5);
        assert_eq!(whole.sessions(), 7);
        assert_eq!(Campaign::new(1, 5).run(usize::MAX, |_| {}).counts.sessions, 1);
        let mut seeds = Vec::new();
        for part in 0..3 {
            let shard = whole.shard(part, 3);
            let own: Vec<u64> = (0..).map_while(|number| shard.seed(number)).collect();
            assert_eq!(own.len() as u64, shard.sessions(), "{own:?}");
            seeds.extend(own);
        }
        seeds.sort_unstable();
        assert_eq!(seeds, (5..12).collect::<Vec<u64>>());
        let last = Campaign::new(u64::MAX, 0).shard(u64::MAX - 1, u64::MAX);
        assert_eq!((last.sessions(), last.seed(0), last.seed(u64::MAX)), (0, None, None));
    }

    #[test]
    fn a_token_of_more_transactions_than_a_session_may_have_is_none() {
        for many in ["18446744073709551615", "100001", "0"] {
            assert!(replay(&format!("campaign:7*{many}")).is_none(), "{many}");
        }
    }

    #[test]
    fn the_last_seed_has_a_session() {
        for (seed, sessions) in [(u64::MAX, 1), (u64::MAX - 1, 2), (u64::MAX - 7, 3)] {
            let campaign = Campaign::new(3 * PER_SESSION, seed);
            assert_eq!(campaign.sessions(), sessions, "{seed}");
            assert_eq!(campaign.seed(sessions - 1), Some(seed + (sessions - 1)));
            assert_eq!(campaign.seed(sessions), None);
        }
    }

    /// A campaign of no session at all would be a pass.
    #[test]
    #[should_panic(expected = "part 1 of 1 parts")]
    fn there_is_no_part_behind_the_last() {
        let none = Campaign::new(PER_SESSION, 1).shard(1, 1);
        assert_eq!(none.sessions(), 0);
    }

    #[test]
    #[should_panic(expected = "a campaign has transactions")]
    fn there_is_no_campaign_of_nothing() {
        assert_eq!(Campaign::new(0, 1).sessions(), 0);
    }

    #[test]
    fn threads_do_not_matter() {
        let campaign = Campaign::new(6 * PER_SESSION, 1);
        let (one, three) = (campaign.run(1, |_| {}), campaign.run(3, |_| {}));
        assert_eq!(one, three);
        assert_eq!((one.counts.sessions, one.failed.len()), (6, 0), "{:?}", one.failed);
        assert!(one.counts.power_failures > 0 && one.counts.nested > 0, "{one:?}");
        // A power failure that leaves nothing open asks no more than a process that ends.
        assert!(one.counts.undecided > 8, "{one:?}");
        let of_some = one.counts.power_failures + one.counts.nested;
        assert!(one.counts.all_power_failures >= of_some.max(one.counts.undecided), "{one:?}");
    }

    /// Each end of deferred commits comes up: without losses, nothing would ask whether they are
    /// told.
    #[test]
    fn some_sessions_defer_and_some_deferred_commits_are_lost() {
        let seeds = 1..200;
        let deferring = seeds.clone().filter(|seed| kind_of(*seed).is_deferring);
        assert!((30..70).contains(&deferring.clone().count()));
        let mut counts = Counts::default();
        for seed in deferring.take(24) {
            let kind = Kind { is_deferring: true, ..Kind::default() };
            let (more, failed) = run_session(seed, kind, PER_SESSION);
            assert_eq!(failed, None);
            counts += more;
        }
        assert!(counts.deferred > 150 && counts.losses > 4, "{counts:?}");
        let (durable, _) = run_session(1, Kind::default(), PER_SESSION);
        assert_eq!((durable.deferred, durable.losses), (0, 0));
    }

    #[test]
    fn some_sessions_are_roomy_and_some_own_transactions() {
        let kinds: Vec<Kind> = (1..200).map(kind_of).collect();
        let count = |is_it: fn(&Kind) -> bool| kinds.iter().filter(|kind| is_it(kind)).count();
        assert!((70..130).contains(&count(|kind| kind.is_roomy)));
        assert!((30..70).contains(&count(|kind| kind.is_owning)));
        let (story, failed) = replay("campaign:7+roomy+owned").expect("a token");
        assert_eq!(failed, None);
        for call in ["Begin", "Transact", "DeleteRange"] {
            assert!(story.contains(call), "no {call}: {story}");
        }
    }

    /// Owned transactions are filled, too.
    #[test]
    fn some_sessions_fill_buckets_from_readers_and_in_bulk() {
        let kinds: Vec<Kind> = (1..200).map(kind_of).collect();
        let filling = kinds.iter().filter(|kind| kind.is_filling);
        assert!((45..90).contains(&filling.clone().count()));
        assert!(filling.filter(|kind| kind.is_owning).count() > 8);
        let mut stories = String::new();
        for seed in 1..12 {
            let token = format!("campaign:{seed}+roomy+owned+filled");
            let (story, failed) = replay(&token).expect("a token");
            assert_eq!(failed, None);
            stories += &story;
        }
        for call in ["Begin", "PutFrom", "Short(", "Fails(", "BulkLoad", "..(26214", "Compact("] {
            assert!(stories.contains(call), "no {call}");
        }
        let kind = Kind { is_filling: true, ..Kind::default() };
        let other_faults = (1..12).map(|seed| run_session(seed, kind, PER_SESSION).0.other_faults);
        assert!(other_faults.sum::<u64>() > 10, "reads and writing back seldom fail");
    }
}
