//! The models on seeded bugs: each must be found by the model that is there for it.
//!
//! A bug's model runs in a process of its own, since a model that fails may end it: a panic while
//! another unwinds aborts, and what a failed interleaving leaves behind is not for the next one.

use super::{INTERLEAVINGS_MIN, Model, all, explore};
use crate::seeded::{Bug, switch_on};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// Which bug which model must find. A model that can find none is worth nothing; so each is here.
const FOUND_BY: &[(Bug, &str)] = &[
    (Bug::ReaderRegistersAfterRootRead, "a_held_state_keeps_its_page"),
    (Bug::ReaderListedAfterRootRead, "a_reader_without_a_slot_pins_in_the_table"),
    (Bug::HeldVersionsNotAsked, "a_held_state_keeps_its_page"),
    (Bug::HeldVersionsNotAsked, "a_state_comes_where_another_was"),
    (Bug::VersionGivenUpUnordered, "a_held_state_keeps_its_page"),
    (Bug::StateSeenBeforePages, "states_never_go_backwards"),
    (Bug::SlotTakenTwice, "readers_share_the_slots"),
    (Bug::PinsReadBeforeSlots, "a_pin_moves_from_a_slot_to_the_table"),
    (Bug::ReaderEntersUnfenced, "a_page_that_is_looked_at_stays"),
    (Bug::TagSeenBeforePage, "a_page_is_filled_before_it_is_found"),
    (Bug::NextLookHidesTheLast, "a_page_is_filled_before_it_is_found"),
    (Bug::NextLoanHidesTheLast, "a_page_that_is_lent_to_another_thread_stays"),
    (Bug::HeavyFenceLeftOut, "a_page_that_is_looked_at_stays"),
    (Bug::DeniedFenceBelieved, "a_fence_that_is_denied_empties_nothing"),
    (Bug::PageFoundByIdAlone, "a_miss_meets_the_reuse_of_an_id"),
    (Bug::PageFoundByIdAlone, "the_locator_meets_the_reuse_of_an_id"),
    (Bug::FrameEmptiedWhileLookedAt, "a_page_that_is_looked_at_stays"),
    (Bug::FrameEmptiedWhileLookedAt, "the_locator_meets_the_reuse_of_an_id"),
    (Bug::FrameEmptiedWhileLent, "a_page_that_is_lent_stays"),
    (Bug::FrameEmptiedWhileHeld, "a_page_that_is_held_stays"),
    (Bug::FrameEmptiedWhileHeld, "a_page_that_is_kept_stays"),
    (Bug::IndexClaimedTwice, "one_at_a_time_has_the_index"),
    (Bug::IndexClaimedTwice, "a_state_keeps_the_index_that_it_has"),
    (Bug::IndexClaimedTwice, "the_index_of_a_state_or_of_the_next"),
    (Bug::GrowthUnderWayBelieved, "a_value_behind_the_end_is_not_cut_off"),
    (Bug::GrowthCutsTheFile, "a_value_behind_the_end_is_not_cut_off"),
    (Bug::EarlyRunCutOff, "the_end_is_cut_off_beside_a_value"),
    (Bug::EarlyRunOutlivesAFailure, "a_write_fails_beside_a_value"),
    (Bug::PoisonForgotten, "a_sync_fails_beside_a_value"),
    (Bug::FollowerReturnsEarly, "the_lead_passes_on"),
    (Bug::LeaderWakesNobody, "the_lead_passes_on"),
    (Bug::LeaderWakesNobody, "the_lead_passes_on_among_three"),
    (Bug::PublishedBeforeSync, "a_reader_beside_a_commit"),
    (Bug::FailureTellsTheLeaderOnly, "a_sync_fails_before_followers"),
    (Bug::NextRunsOnFailedState, "a_write_fails_before_followers"),
    (Bug::LeakOnFailedClosure, "a_writer_gives_up_beside_another"),
    (Bug::LossNotTold, "a_deferred_commit_is_lost_beside_a_durable_one"),
    (Bug::PinReleasedWithTransaction, "the_store_closes_under_a_cursor"),
    (Bug::ComparedWithWhatIsDurable, "one_of_two_open_transactions_is_ahead"),
];

/// The first argument of a process that runs one model on one bug.
pub(super) const CHILD: &str = "--run";
/// What such a process says before each interleaving.
const NEXT: &str = "next";
/// What it says before the reason when something panics.
const PANIC: &str = "panic: ";
/// An interleaving that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// What came of a bug and a model.
enum Outcome {
    /// The model holds in every interleaving.
    Holds,
    /// It does not, or the process died, or it hangs.
    Fails(String),
}

fn find_model(name: &str) -> Model {
    all().find(|model| model.name == name).expect("a model of this name")
}

/// Runs a model on a bug, or on none. A panic ends the process, as it would a test.
pub(super) fn run_child(model: &str, bug: &str) -> ExitCode {
    let bug = Bug::ALL.iter().copied().find(|known| known.name() == bug);
    std::panic::set_hook(Box::new(|panic| {
        let payload = panic.payload();
        let text = payload.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| payload.downcast_ref::<&str>().copied());
        println!("{PANIC}{}", text.unwrap_or("of another kind").replace('\n', " "));
    }));
    switch_on(bug);
    explore(find_model(model), || println!("{NEXT}"));
    ExitCode::SUCCESS
}

/// The lines that a child says, as they come.
fn lines_of(child: &mut Child) -> Receiver<String> {
    let output = child.stdout.take().expect("the output is piped");
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let lines = BufReader::new(output).lines().map_while(Result::ok);
        lines.map(|line| sender.send(line)).take_while(Result::is_ok).for_each(drop);
    });
    receiver
}

/// Runs a model on a bug, or on none, in a process of its own. Also returns how many
/// interleavings began.
fn run_apart(model: &str, bug: Option<Bug>) -> (u64, Outcome) {
    let program = std::env::current_exe().expect("the program knows its path");
    let mut child = Command::new(program)
        .args([CHILD, model, bug.map_or("none", Bug::name)])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts itself");
    let lines = lines_of(&mut child);
    let (mut interleavings, mut reason) = (0, None);
    let hangs = loop {
        match lines.recv_timeout(PATIENCE) {
            // A panic that an interleaving survived was no failure.
            Ok(line) if line == NEXT => (interleavings, reason) = (interleavings + 1, None),
            Ok(line) => reason = reason.or(line.strip_prefix(PANIC).map(str::to_owned)),
            Err(RecvTimeoutError::Timeout) => break true,
            Err(RecvTimeoutError::Disconnected) => break false,
        }
    };
    if hangs {
        child.kill().expect("a child can be ended");
    }
    let status = child.wait().expect("a child can be waited for");
    assert!(interleavings > 0, "{model} did not begin: {status}, {reason:?}");
    let outcome = match reason {
        _ if hangs => Outcome::Fails("it hangs".into()),
        _ if status.success() && bug.is_none() && interleavings < INTERLEAVINGS_MIN => {
            Outcome::Fails("it explores nothing".into())
        }
        _ if status.success() => Outcome::Holds,
        Some(reason) => Outcome::Fails(reason),
        None => Outcome::Fails(format!("the process died: {status}")),
    };
    (interleavings, outcome)
}

/// Runs the model of each of these bugs, or of all, and every model without a bug if `none` is
/// among them. The lines are read by `examples/kill_matrix.rs`.
pub(super) fn run_bugs(names: &[&str]) -> ExitCode {
    let unknown: Vec<_> =
        all().filter(|model| FOUND_BY.iter().all(|at| at.1 != model.name)).collect();
    unknown.iter().for_each(|model| println!("{} is there for no bug", model.name));
    let is_wanted = |bug: &Bug| names.is_empty() || names.contains(&bug.name());
    let without = all().filter(|_| names.contains(&"none")).map(|model| (None, model.name));
    let with = FOUND_BY.iter().filter(|(bug, _)| is_wanted(bug));
    let with = with.map(|(bug, model)| (Some(*bug), *model));
    let (mut right, mut wrong) = (0, unknown.len());
    for (bug, model) in without.chain(with) {
        let start = Instant::now();
        let (interleavings, outcome) = run_apart(model, bug);
        let millis = start.elapsed().as_millis();
        let name = bug.map_or("none", Bug::name);
        match &outcome {
            Outcome::Holds => println!("HOLDS {name} {model} {interleavings} {millis}"),
            Outcome::Fails(why) => println!("FAILS {name} {model} {interleavings} {millis} {why}"),
        }
        match outcome {
            Outcome::Fails(_) if bug.is_some() => right += 1,
            Outcome::Holds if bug.is_none() => right += 1,
            _ => wrong += 1,
        }
    }
    println!("{right} as expected, {wrong} not");
    if wrong == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
