//! Crash campaigns.
//!
//! Owns: `torture` with its reports, and `replay`. Must not know: what a session does, and how it
//! is judged.

use super::args::{Replay, Shard, Torture};
use super::files;
use super::outcome::{Code, Done, Failure};
use super::output::Output;
use btree_store::json::Json;
use btree_store::sim::campaign::{self, Campaign, Counts, Found, SYNC_FAILURES};
use btree_store::sim::certify::Certifier;
use indicatif::{ProgressBar, ProgressStyle};
use std::fmt::Write;
use std::io::IsTerminal;
use std::num::NonZeroUsize;

/// Failures that are printed; reports have all.
const TOLD_MAX: usize = 3;

/// What was run and what was found.
struct Run<'a> {
    args: &'a Torture,
    found: Found,
}

/// Runs a campaign on a simulated disk.
pub fn torture(args: &Torture, out: &mut Output) -> Done {
    let of_machine = || std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let threads = args.threads.map_or_else(of_machine, usize::from);
    let shard = args.shard;
    let campaign = Campaign::new(args.transactions, args.seed).per_session(args.session);
    let campaign = campaign.shard(shard.part - 1, shard.parts);
    let bar = bar(campaign.sessions());
    // A panic of the store is a finding, and told as one.
    std::panic::set_hook(Box::new(|_| {}));
    let found = campaign.run(threads, |counts| {
        bar.inc(counts.sessions);
    });
    drop(std::panic::take_hook());
    bar.finish_and_clear();
    let run = Run { args, found };
    let json = Json::line(|json| run.json(json));
    // First: where a report cannot be written, what was found is told all the same.
    out.finding(&if out.is_json() { json.clone() } else { run.text() });
    let mut written = args.json_file.as_ref().map_or(Ok(()), |path| files::write(path, &json));
    if let Some(path) = &args.html {
        written = written.and(files::write(path, &run.html()));
    }
    let code = if run.found.failed.is_empty() { Code::Done } else { Code::Damage };
    code.though(written)
}

/// A bar of so many sessions, where somebody looks.
fn bar(sessions: u64) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let template = "{bar:40} {pos} of {len} sessions, {eta} left";
    let style = ProgressStyle::with_template(template);
    let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(sessions).with_style(style)
}

/// What was done, each with its name in reports and in words.
fn figures(counts: &Counts) -> [(&'static str, &'static str, u64); 11] {
    [
        ("sessions", "sessions, each on a disk of its own", counts.sessions),
        ("transactions", "transactions", counts.transactions),
        ("all_power_failures", "power failures in all", counts.all_power_failures),
        ("power_failures", "of them inside of transactions", counts.power_failures),
        ("nested_power_failures", "of them inside of recoveries", counts.nested),
        ("undecided", "of them that left more than one image", counts.undecided),
        ("full_disks", "transactions on a full disk", counts.full_disks),
        ("other_faults", "failures of reads, and of writing back", counts.other_faults),
        ("kills", "processes ended", counts.kills),
        ("deferred", "transactions that were deferred", counts.deferred),
        ("losses", "faults that took deferred ones", counts.losses),
    ]
}

impl Run<'_> {
    fn failed_syncs(&self) -> impl Iterator<Item = (String, u64)> {
        let counts = self.found.counts.failed_syncs;
        SYNC_FAILURES.iter().zip(counts).map(|(how, count)| (format!("{how:?}"), count))
    }

    fn json(&self, json: &mut Json) {
        json.number("seed", self.args.seed);
        json.number("shard", self.args.shard.part);
        json.number("shards", self.args.shard.parts);
        json.number("session", self.args.session);
        for (name, _, count) in figures(&self.found.counts) {
            json.number(name, count);
        }
        json.list("failed_syncs", self.failed_syncs(), |json, (how, count)| {
            json.string("how", &how);
            json.number("count", count);
        });
        json.list("failures", &self.found.failed, |json, failed| {
            json.string("token", &failed.token);
            json.number("seed", failed.seed);
            json.string("what", &failed.what);
            json.string("story", &failed.story);
        });
    }

    fn title(&self) -> String {
        let Torture { seed, shard: Shard { part, parts }, session, .. } = self.args;
        format!("seeds from {seed} on, shard {part} of {parts}, {session} transactions a session")
    }

    fn verdict(&self) -> String {
        match self.found.failed.len() {
            0 => "no session fails".to_owned(),
            1 => "1 SESSION FAILS".to_owned(),
            some => format!("{some} SESSIONS FAIL"),
        }
    }

    fn text(&self) -> String {
        let mut lines = vec![self.title()];
        for (_, words, count) in figures(&self.found.counts) {
            lines.push(format!("{count:>10} {words}"));
        }
        for (how, count) in self.failed_syncs() {
            lines.push(format!("{count:>10} syncs that fail as {how}"));
        }
        lines.push(self.verdict());
        for failed in self.found.failed.iter().take(TOLD_MAX) {
            let (what, story, token) = (&failed.what, &failed.story, &failed.token);
            lines.push(format!("\n{what}\n{story}\nbtree-store replay {token}"));
        }
        lines.join("\n") + "\n"
    }

    fn html(&self) -> String {
        let mut text = String::from(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <title>btree-store torture</title>\n<style>\n\
             body { font-family: sans-serif; margin: 2em auto; max-width: 60em; }\n\
             td { padding: 0.1em 1em 0.1em 0; }\n\
             td:first-child { text-align: right; font-variant-numeric: tabular-nums; }\n\
             pre { background: #f4f4f4; padding: 1em; overflow-x: auto; }\n\
             </style>\n</head>\n<body>\n",
        );
        let mut add = |more: std::fmt::Arguments<'_>| {
            text.write_fmt(more).expect("a string takes all text");
        };
        add(format_args!("<h1>{}</h1>\n<p>{}</p>\n<table>\n", self.verdict(), self.title()));
        for (_, words, count) in figures(&self.found.counts) {
            add(format_args!("<tr><td>{count}</td><td>{words}</td></tr>\n"));
        }
        for (how, count) in self.failed_syncs() {
            add(format_args!("<tr><td>{count}</td><td>syncs that fail as {how}</td></tr>\n"));
        }
        add(format_args!("</table>\n"));
        for failed in &self.found.failed {
            let (what, story) = (escaped(&failed.what), escaped(&failed.story));
            let token = escaped(&failed.token);
            add(format_args!("<h2>Seed {}</h2>\n<pre>{what}</pre>\n", failed.seed));
            add(format_args!("<pre>{story}</pre>\n<p>btree-store replay {token}</p>\n"));
        }
        add(format_args!("</body>\n</html>\n"));
        text
    }
}

/// A text that a page shows as it is.
fn escaped(text: &str) -> String {
    let mut page = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => page.push_str("&amp;"),
            '<' => page.push_str("&lt;"),
            '>' => page.push_str("&gt;"),
            c => page.push(c),
        }
    }
    page
}

/// What became of a token: its story, and what fails in it.
struct Told {
    story: String,
    failure: Option<String>,
}

fn tell(token: &str) -> Done<Told> {
    if let Some((story, failed)) = campaign::replay(token) {
        return Ok(Told { story, failure: failed.map(|failed| failed.what) });
    }
    let told = Certifier::retell(token);
    let (story, violation) = told.map_err(|why| Failure::usage(format!("{token:?}: {why}")))?;
    Ok(Told { story, failure: violation.map(|violation| violation.message) })
}

/// Tells what a token stands for.
pub fn replay(args: &Replay, out: &mut Output) -> Done {
    let Told { story, failure } = tell(&args.token)?;
    if out.is_json() {
        out.finding(&Json::line(|json| {
            json.string("token", &args.token);
            json.truth("passes", failure.is_none());
            json.string("what", failure.as_deref().unwrap_or_default());
            json.string("story", &story);
        }));
    } else {
        let end = failure
            .as_ref()
            .map_or_else(|| "it passes".to_owned(), |what| format!("it fails: {what}"));
        out.finding(&format!("{story}\n{end}\n"));
    }
    Ok(if failure.is_none() { Code::Done } else { Code::Damage })
}

#[cfg(test)]
mod tests {
    use super::super::args::Shard;
    use super::*;
    use btree_store::sim::campaign::Failed;

    fn failing() -> Torture {
        let shard = Shard { part: 2, parts: 3 };
        let (threads, html, json_file) = (None, None, None);
        Torture { transactions: 40, session: 40, seed: 7, shard, threads, html, json_file }
    }

    #[test]
    fn reports_tell_of_failures_with_their_tokens() {
        let failed = Failed {
            seed: 8,
            what: "found <1> & \"2\"".to_owned(),
            story: "line one\n  line two".to_owned(),
            token: "campaign:8".to_owned(),
        };
        let args = failing();
        let run = Run { args: &args, found: Found { failed: vec![failed], ..Found::default() } };
        let html = run.html();
        assert!(html.contains("<h1>1 SESSION FAILS</h1>"), "{html}");
        assert!(html.contains("<pre>found &lt;1&gt; &amp; \"2\"</pre>"), "{html}");
        let json = Json::line(|json| run.json(json));
        assert!(json.contains(r#""shard":2,"shards":3"#), "{json}");
        assert!(
            json.contains(r#""what":"found <1> & \"2\"","story":"line one\u000a  l"#),
            "{json}"
        );
        assert!(
            run.text().ends_with("line two\nbtree-store replay campaign:8\n"),
            "{}",
            run.text()
        );
    }
}
