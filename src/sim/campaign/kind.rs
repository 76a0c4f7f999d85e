//! What kinds of sessions there are.
//!
//! Owns: [`Kind`], what it adds to a session, and the tokens by which sessions are named.
//! Must not know: what a session does. Keeps: a token of one version names the same kind in each.

use super::super::Seeded;
use super::super::oracle::{KeyShape, ValueShape, Workload};
use super::{PER_SESSION, SESSION_MAX};

/// What begins the token of a session.
const TOKEN: &str = "campaign:";
/// What ends the token of one that defers, of one with a roomy cache, of one that owns
/// transactions, and of one that fills buckets from readers and in bulk, in this order.
const DEFERRING: &str = "+deferred";
const ROOMY: &str = "+roomy";
const OWNING: &str = "+owned";
const FILLING: &str = "+filled";
/// Of so many sessions of a campaign one defers, whatever shard they are in.
const DEFERRING_OF: u64 = 4;
/// Of so many of either kind one has a roomy cache, of so many of each one owns transactions, and
/// of so many of each of these one fills buckets.
const ROOMY_OF: u64 = 2;
const OWNING_OF: u64 = 4;
const FILLING_OF: u64 = 3;

/// Of eight write transactions of a session that defers, so many are deferred.
const DEFERRED: u32 = 5;
/// Pages of a small cache, of which a transaction holds none but for a moment, and of a roomy one.
const CACHE_PAGES: u64 = 8;
const ROOMY_CACHE_PAGES: u64 = 1_000;
/// Of so many removals of a roomy session, or of one that fills buckets, one is of a range.
const RANGES: u32 = 4;
/// Operations of a roomy session until it removes more, or less, and steps of a transaction.
const ROOMY_PHASE: u32 = 16;
const ROOMY_STEPS: u32 = 20;
/// Of eight write transactions of a session that owns some, so many are owned.
const OWNED: u32 = 4;
/// Of eight puts of a session that fills buckets, so many are from a reader, and of so many
/// additions one is in bulk.
const READERS: u32 = 4;
const BULKS: u32 = 8;
/// Of eight owned transactions of one, during so many another commits.
const RIVALS: u32 = 3;
/// Of some 120 operations of one, so many are compactions.
const COMPACTIONS: u32 = 6;

/// What stands between a session's seed and how many transactions it has, if these are not forty.
const TRANSACTIONS: char = '*';

/// What is particular about a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "a session is of each kind or not, by itself")]
pub(super) struct Kind {
    /// Most commits are deferred; syncs, durable commits, compactions and closes make them durable.
    pub(super) is_deferring: bool,
    /// The cache has room for all pages, so that a transaction holds many leaves where they lie,
    /// with plans for them, and large values and ranges come and go.
    pub(super) is_roomy: bool,
    /// Some write transactions are owned, and some of these are dropped.
    pub(super) is_owning: bool,
    /// Many values come from readers, some of which fail, and many entries in bulk.
    pub(super) is_filling: bool,
}

pub(super) fn one_of<T: Copy>(random: &mut Seeded, of: &[T]) -> T {
    of[random.below(u32::try_from(of.len()).unwrap_or(1)) as usize]
}

impl Kind {
    /// Adds what is particular to the workload of a session.
    pub(super) fn tune(self, workload: &mut Workload, random: &mut Seeded) {
        if self.is_deferring {
            workload.deferred = DEFERRED;
        }
        if self.is_roomy {
            // Few of the longest keys are in a leaf, so that trees of two leaves are common.
            workload.keys = one_of(random, &[KeyShape::Longest, KeyShape::Mixed]);
            workload.values = one_of(random, &[ValueShape::Large, ValueShape::Mixed]);
            (workload.ranges, workload.phase) = (RANGES, ROOMY_PHASE);
            (workload.bucket_count, workload.steps_max) = (1, ROOMY_STEPS);
        }
        if self.is_filling {
            let shapes = [ValueShape::Mixed, ValueShape::Edge, ValueShape::Large];
            workload.values = one_of(random, &shapes);
            (workload.readers, workload.bulks, workload.rivals) = (READERS, BULKS, RIVALS);
            (workload.ranges, workload.compactions) = (RANGES, COMPACTIONS);
        }
        workload.owned = if self.is_owning { OWNED } else { 0 };
    }

    /// Whether pages are set aside while others commit, and reads, writing back and compactions
    /// fail meanwhile. Not where what is lost may have been deferred.
    pub(super) fn sets_aside(self) -> bool {
        self.is_filling && !self.is_deferring
    }

    /// Pages of the cache.
    pub(super) fn cache_pages(self) -> u64 {
        if self.is_roomy { ROOMY_CACHE_PAGES } else { CACHE_PAGES }
    }
}

/// Of which kind the session with this seed is.
pub(super) fn kind_of(seed: u64) -> Kind {
    // Not the seed's own numbers, which the session draws.
    let mut drawn = Seeded::new(!seed).next_u64();
    let mut is_one_of = |of| {
        let is_it = drawn.is_multiple_of(of);
        drawn /= of;
        is_it
    };
    Kind {
        is_deferring: is_one_of(DEFERRING_OF),
        is_roomy: is_one_of(ROOMY_OF),
        is_owning: is_one_of(OWNING_OF),
        is_filling: is_one_of(FILLING_OF),
    }
}

/// What repeats the session of a seed that has so many transactions.
pub(super) fn token_of(seed: u64, kind: Kind, transactions: u64) -> String {
    let deferring = if kind.is_deferring { DEFERRING } else { "" };
    let roomy = if kind.is_roomy { ROOMY } else { "" };
    let owning = if kind.is_owning { OWNING } else { "" };
    let filling = if kind.is_filling { FILLING } else { "" };
    let mut begin = format!("{TOKEN}{seed}");
    if transactions != PER_SESSION {
        begin = format!("{begin}{TRANSACTIONS}{transactions}");
    }
    format!("{begin}{deferring}{roomy}{owning}{filling}")
}

/// The session that a token repeats, and how many transactions it has.
pub(super) fn session_of(token: &str) -> Option<(u64, Kind, u64)> {
    let rest = token.trim().strip_prefix(TOKEN)?;
    let without = |text, end| match str::strip_suffix(text, end) {
        Some(rest) => (rest, true),
        None => (text, false),
    };
    let (rest, is_filling) = without(rest, FILLING);
    let (rest, is_owning) = without(rest, OWNING);
    let (rest, is_roomy) = without(rest, ROOMY);
    let (rest, is_deferring) = without(rest, DEFERRING);
    let (seed, transactions) = match rest.split_once(TRANSACTIONS) {
        Some((seed, transactions)) => {
            let is_possible = |transactions: &u64| (1..=SESSION_MAX).contains(transactions);
            (seed, transactions.parse().ok().filter(is_possible)?)
        }
        None => (rest, PER_SESSION),
    };
    let kind = Kind { is_deferring, is_roomy, is_owning, is_filling };
    Some((seed.parse().ok()?, kind, transactions))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_names_its_session() {
        for seed in 0..40 {
            let kind = kind_of(seed);
            for transactions in [PER_SESSION, 1, 2_000] {
                let token = token_of(seed, kind, transactions);
                assert_eq!(session_of(&token), Some((seed, kind, transactions)), "{token}");
            }
        }
        assert_eq!(token_of(7, Kind::default(), PER_SESSION), "campaign:7");
        assert_eq!(token_of(7, Kind::default(), 2_000), "campaign:7*2000");
        let bad = ["campaign:7*", "campaign:7*0", "campaign:*9", "campaign:7*+owned"];
        for bad in bad.into_iter().chain([
            "7",
            "campaign:",
            "campaign:7+",
            "campaign:7+owned+roomy",
            "campaign:+roomy",
        ]) {
            assert_eq!(session_of(bad), None, "{bad}");
        }
    }
}
