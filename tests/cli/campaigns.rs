//! Crash campaigns and tokens.

use super::json::Json;
use super::{Place, command, run};
use btree_store::sim::certify::Workload;

fn torture(line: &str) -> Json {
    Json::read(run(line.split(' '), b"").done())
}

#[test]
fn a_campaign_gives_the_same_report_on_any_threads_and_in_shards() {
    let whole = torture("torture --transactions 200 --seed 3 --json --threads 1");
    assert_eq!((whole.number("sessions"), whole.number("transactions")), (5, 200));
    assert!(whole.number("power_failures") > 0 && whole.list("failures").is_empty());
    assert_eq!(torture("torture --transactions 161 --seed 3 --json --threads 3"), whole);
    let long = torture("torture --transactions 200 --session 100 --seed 3 --json");
    assert_eq!(long.number("sessions"), 2);
    let shards = [1, 2].map(|shard| {
        torture(&format!("torture --transactions 200 --seed 3 --json --shard {shard}/2"))
    });
    assert_eq!(shards[0].number("sessions"), 3);
    let names = ["transactions", "power_failures", "nested_power_failures", "full_disks", "kills"];
    for name in names.into_iter().chain(["undecided", "other_faults", "deferred", "losses"]) {
        let sum = shards.iter().map(|shard| shard.number(name)).sum::<u64>();
        assert_eq!(sum, whole.number(name), "{name}");
    }
}

#[test]
fn a_campaign_writes_reports() {
    let place = Place::new();
    let line = "torture --transactions 40 --html @report.html --json-file @report.json";
    let text = place.run(line);
    assert!(text.done().contains("no session fails\n"), "{}", text.text());
    let html = std::fs::read_to_string(place.path("report.html")).unwrap();
    assert!(html.starts_with("<!DOCTYPE html>") && html.ends_with("</html>\n"), "{html}");
    assert!(html.contains("<td>40</td><td>transactions</td>"), "{html}");
    for outside in ["http", "src=", "href="] {
        assert!(!html.contains(outside), "{outside} in {html}");
    }
    let json = std::fs::read_to_string(place.path("report.json")).unwrap();
    assert_eq!(Json::read(&json).number("transactions"), 40);
    let missing = place.run("torture --transactions 1 --html @none/report.html");
    missing.refused(5, &["write", "report.html", "No such file"]);
    assert!(missing.text().contains("no session fails\n"), "{}", missing.text());
}

#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
#[test]
fn a_campaign_runs_where_the_system_has_no_more_threads() {
    let mut torture = command(["torture", "--transactions", "80", "--threads", "2"]);
    // A stack as large as all addresses: no thread begins.
    let ended = torture.env("RUST_MIN_STACK", (1_u64 << 47).to_string()).output().unwrap();
    let err = String::from_utf8(ended.stderr).unwrap();
    assert_eq!((ended.status.code(), err.as_str()), (Some(0), ""));
    let out = String::from_utf8(ended.stdout).unwrap();
    assert!(out.contains("no session fails\n"), "{out}");
}

#[test]
fn a_token_is_told_again() {
    let session = run(["replay", "campaign:3"], b"");
    assert!(session.done().contains("Exec(") && session.text().ends_with("\nit passes\n"));
    // The same seed, and other transactions.
    let deferring = run(["replay", "campaign:3+deferred"], b"");
    assert!(deferring.done().contains("Deferred") && !session.text().contains("Deferred"));
    // The certificate's first workload, with the power failing before its second sync.
    let token = format!("{}@512:-1.", Workload::numbered(0).name());
    let told = run(["replay", &token], b"");
    for part in ["the workload runs", "the power fails before #", "the check runs", "it passes"] {
        assert!(told.done().contains(part), "{part}: {}", told.text());
    }
    let json = Json::read(run(["replay", &token, "--json"], b"").done());
    assert_eq!((json.text("token"), json.get("passes")), (token.as_str(), &Json::Truth(true)));
    assert!(told.text().starts_with(json.text("story")));
    for other in
        ["", "campaign:", "campaign:x", "campaign:+deferred", "x@512:", "empty/put-new@513:", "@:-"]
    {
        run(["replay", other], b"").refused(2, &["no workload"]);
    }
    let name = Workload::numbered(0).name();
    for (rest, says) in
        [("-999.", "no such crash point"), ("A", "no replay token"), ("-", "no replay")]
    {
        run(["replay", &format!("{name}@512:{rest}")], b"").refused(2, &[says]);
    }
}
