//! The harness on tiny stores: every engine does what is asked, and the outputs hold together.

use crate::data::{Data, Kind, Order, Queries, Spread};
use crate::engine::{Direction, Form, Scope, Seen};
use crate::measure::{Clock, Contender, Row, Sample, time, turns};
use crate::report::Report;
use crate::rig::{Rig, peers};
use crate::settings::Settings;
use crate::{goals, workloads};
use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Syncs are counted for the whole process; so tests that sync run one at a time.
pub fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn settings(arguments: &[&str]) -> Settings {
    Settings::parse(arguments.iter().map(|argument| (*argument).to_owned())).unwrap()
}

#[test]
fn engines_see_the_same_pairs() {
    let _alone = alone();
    let settings = settings(&["--no-burst"]);
    for kind in [Kind::Small, Kind::Random] {
        let data = Data::new(kind, 2_000);
        let queries = Queries::new(&data, Spread::Zipf, 500, 1);
        for peer in peers(&settings) {
            let rig = Rig::new(peer, &settings.memory, 1 << 20).unwrap();
            rig.load(&data, &data.order(Order::Random)).unwrap();
            let get = |scope, form| rig.engine.get(&queries, scope, form).unwrap().unwrap();
            let seen = get(Scope::Long, Form::Copied);
            assert_eq!(seen.entries, 500, "{}", peer.name);
            assert_eq!(get(Scope::PerGet, Form::Borrowed), seen, "{}", peer.name);
            let mut all = Seen::default();
            data.in_order().iter().for_each(|i| {
                all.entry(data.key(*i as usize), data.value(*i as usize, 0));
            });
            for direction in [Direction::Forwards, Direction::Backwards] {
                assert_eq!(rig.engine.scan(direction).unwrap(), Some(all), "{}", peer.name);
            }
        }
    }
}

#[test]
fn rows_run_and_are_judged_and_written() {
    let _alone = alone();
    let directory = std::env::temp_dir();
    let file = |name: &str| directory.join(format!("peers-{}-{name}", std::process::id()));
    let (json, svg, markdown) = (file("json"), file("svg"), file("md"));
    let mut arguments = vec!["get/small,scan/small,load/small,size/small", "--no-burst"];
    arguments.extend(["--keys", "1k", "--rounds", "2", "--queries", "200"]);
    let paths = [&json, &svg, &markdown].map(|path| path.to_str().unwrap().to_owned());
    for (option, path) in ["--json", "--svg", "--markdown"].iter().zip(&paths) {
        arguments.extend([option, path.as_str()]);
    }
    let settings = settings(&arguments);
    let mut report = Report::new(&settings).unwrap();
    workloads::GROUPS.iter().for_each(|group| group(&settings, &mut report).unwrap());
    assert!(report.rows.len() >= 12 + 2 + 4 + 2, "{} rows", report.rows.len());
    let size = goals::judge(&report.rows).into_iter().find(|one| one.row.starts_with("size/"));
    assert!(size.is_some_and(|one| one.beside.is_empty() && one.ratio > 1.0));
    let file = file("tsv");
    std::fs::write(&file, crate::record::write(&report.rows)).unwrap();
    let mut read = Vec::new();
    crate::record::read(&file, &mut read).unwrap();
    assert_eq!(crate::record::write(&read), crate::record::write(&report.rows));
    for path in [json, svg, markdown, file] {
        assert!(std::fs::read_to_string(&path).unwrap().len() > 500);
        std::fs::remove_file(path).unwrap();
    }
}

#[test]
fn each_contender_takes_every_place_and_follows_many_others() {
    for count in 1..=12 {
        let rounds: Vec<Vec<usize>> =
            (0..count).map(|round| turns(round, count).collect()).collect();
        for place in 0..count {
            let takers: BTreeSet<usize> = rounds.iter().map(|order| order[place]).collect();
            assert_eq!(takers.len(), count, "place {place} of {count}");
        }
        for order in &rounds {
            assert_eq!(order.iter().collect::<BTreeSet<_>>().len(), count, "{order:?}");
        }
        // With an even number each other is the one before once; else each other but one twice.
        let pairs = rounds.iter().flat_map(|order| order.windows(2).map(|two| (two[0], two[1])));
        let pairs: BTreeSet<(usize, usize)> = pairs.collect();
        let most = count * (count - 1);
        let least = if count % 2 == 0 { most } else { most / 2 };
        assert!((least..=most).contains(&pairs.len()), "{} pairs of {count}", pairs.len());
    }
}

#[test]
fn engines_must_agree_within_a_form() {
    let row = |forms: [&str; 2]| {
        let contender = |(entries, form): (usize, &str)| {
            let seen = Some(Seen { entries: entries as u64, sum: 0 });
            Contender::new("one", form, move |_| Ok(Some(Sample { seen, ..Sample::default() })))
        };
        let contenders = forms.into_iter().enumerate().map(contender).collect();
        Row::run("get/x".to_owned(), "ns/get", Clock::Wall, 2, contenders)
    };
    assert!(row(["borrowed", "copied"]).is_ok());
    assert!(row(["copied", "copied"]).is_err());
}

#[test]
fn mixed_transactions_are_durable_for_all() {
    let _alone = alone();
    let settings = settings(&["exec-multi/1000-mixed/memory", "--no-burst", "--rounds", "1"]);
    let mut report = Report::new(&settings).unwrap();
    workloads::GROUPS.iter().for_each(|group| group(&settings, &mut report).unwrap());
    for series in &report.rows[0].series {
        let synced = series.samples.iter().all(|sample| sample.syncs >= sample.operations);
        assert!(synced, "{}: {:?}", series.name(), series.samples);
    }
}

#[test]
fn a_store_that_is_opened_again_makes_no_commit() {
    let _alone = alone();
    let settings = settings(&["--no-burst"]);
    let data = Data::new(Kind::Small, 10);
    for peer in peers(&settings).into_iter().filter(|peer| peer.is_durable) {
        let rig = Rig::new(peer, &settings.memory, 1 << 20).unwrap();
        rig.load(&data, &data.in_order()).unwrap();
        let Rig { engine, scratch, .. } = rig;
        drop(engine);
        let mut opened = None;
        let sample = time(1, || {
            opened = Some((peer.open)(scratch.path(), 1 << 20)?);
            Ok(None)
        });
        drop(opened);
        // Some note in the file that it is open, which is less than a page.
        let sample = sample.unwrap();
        assert!(sample.bytes < 1_024, "{}: {sample:?}", peer.name);
    }
}

#[test]
fn a_row_that_is_run_again_replaces_the_one_before() {
    let settings = settings(&["--no-burst"]);
    let mut report = Report::new(&settings).unwrap();
    for figure in [1.0, 2.0] {
        let ours = Contender::new("ours", "", move |_| Ok(Some(Sample::figure(figure))));
        let row = Row::run("size/x/loaded".to_owned(), "x data", Clock::Figure, 1, vec![ours]);
        report.add(row.unwrap()).unwrap();
    }
    assert_eq!(report.rows.len(), 1);
    assert_eq!(report.rows[0].series[0].samples[0].figure, 2.0);
}

#[test]
fn zipf_prefers_few_keys() {
    let data = Data::new(Kind::Small, 10_000);
    let queries = Queries::new(&data, Spread::Zipf, 20_000, 3);
    let mut keys: Vec<&[u8]> = queries.iter().collect();
    keys.sort_unstable();
    let mut runs: Vec<usize> = keys.chunk_by(|a, b| a == b).map(<[&[u8]]>::len).collect();
    runs.sort_unstable_by(|a, b| b.cmp(a));
    // By the law the most frequent of 10,000 takes about a tenth, the first hundred about half.
    assert!((1_600..2_600).contains(&runs[0]), "{}", runs[0]);
    assert!((8_500..12_500).contains(&runs[..100].iter().sum::<usize>()));
}
