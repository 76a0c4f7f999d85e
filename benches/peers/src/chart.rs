//! The chart and the table of the README: how many times as fast as each peer, losses too.

use crate::engines::OURS;
use crate::measure::{Row, Series};
use crate::report::figure;
use std::fmt::Write;

/// The form of a get of many keys at once.
const MANY: &str = "many";

/// The rows of the chart: a row's name, the form that is compared (or any), and what it says.
const LINES: &[(&str, &str, &str)] = &[
    ("get/small/100k/uniform/txn-per-get/1t", "borrowed", "get, 100k small pairs"),
    ("get/random/100k/uniform/txn-per-get/1t", "borrowed", "get, 100k pairs of 174 bytes"),
    ("get/random/1m/uniform/txn-per-get/1t", "borrowed", "get, 1M pairs of 174 bytes"),
    ("get/random/100k/zipf/txn-per-get/1t", "copied", "get, zipfian, copied, 174 bytes"),
    ("get/random/100k/uniform/txn-per-get/2t", "borrowed", "get, 2 threads, 174 bytes"),
    ("get-many/random/1m/16", MANY, "16 gets together, 1M of 174 bytes"),
    ("scan/small/100k/forwards", "", "scan, small pairs"),
    ("scan/random/100k/backwards", "", "scan backwards, 174 bytes"),
    ("seek/random/100k/10", "", "seek and 10 entries"),
    ("load/small/1m/random/memory", "", "load 1M small pairs, random order"),
    ("load/random/1m/random/memory", "", "load 1M pairs of 174 bytes"),
    ("load/random/1m/sorted/memory", "", "load 1M pairs of 174 bytes, sorted"),
    ("batches/random/100k/1000/disk", "", "batches of 1,000, 174 bytes, synced"),
    ("remove-half/random/100k/memory", "", "remove half"),
    ("commit/small/100k/one-key/disk", "", "one key, synced"),
    ("commit/small/100k/committers/disk", "8 threads", "one key, synced, 8 threads"),
    ("exec-multi/1000-mixed/disk", "", "1,000 mixed operations, synced"),
    ("seed/create_drop_empty_bucket/disk", "", "create and drop a bucket"),
    ("seed/drop_large_bucket_100k/memory", "", "drop a bucket of 100,000"),
    ("large-values/64KiB/put/disk", "", "put 64 KiB, synced"),
    ("large-values/64KiB/get", "copied", "get 64 KiB, copied"),
    ("bounded/random/100k/25%/get/zipf", "", "get, cache of a quarter, zipfian"),
];

const COLOURS: &[(&str, &str)] = &[
    ("lmdb", "#1b6ca8"),
    ("redb", "#c8402f"),
    ("seed", "#7a4fb5"),
    ("canopydb", "#2f8f4e"),
    ("sqlite", "#3b3b3b"),
    ("fjall", "#d98b1f"),
    ("BTreeMap", "#8a8a8a"),
    ("pwrite", "#000000"),
];

const LEFT: f64 = 250.0;
const WIDTH: f64 = 900.0;
const TOP: f64 = 70.0;
const LINE: f64 = 24.0;
/// The ends of the axis, in times as fast; what lies beyond is drawn at the end.
const LEAST: f64 = 0.25;
const MOST: f64 = 64.0;

fn x(times: f64) -> f64 {
    let share = (times.clamp(LEAST, MOST) / LEAST).log2() / (MOST / LEAST).log2();
    LEFT + share * (WIDTH - LEFT - 30.0)
}

pub fn draw(rows: &[Row]) -> String {
    let mut body = String::new();
    let mut y = TOP;
    for (name, form, label) in LINES {
        let Some(row) = rows.iter().find(|row| row.name == *name) else { continue };
        let middle = y + LINE / 2.0;
        let text = format!(
            "<text x='{:.0}' y='{:.1}' text-anchor='end'>{label}</text>\n",
            LEFT - 14.0,
            middle + 4.0
        );
        body += &text;
        body += &format!(
            "<line x1='{LEFT}' x2='{:.0}' y1='{middle:.1}' y2='{middle:.1}' stroke='#e4e4e4'/>\n",
            WIDTH - 30.0
        );
        body += &dots(row, form, middle);
        y += LINE;
    }
    frame(&body, y)
}

/// Our series, the other's, and how many times as fast ours is.
fn compare<'r>(row: &'r Row, engine: &str, form: &str) -> Option<(&'r Series, &'r Series, f64)> {
    let mut series = row.series.iter().filter(|series| series.engine == engine);
    let other = row.find(engine, form).or_else(|| series.next())?;
    // The others have nothing like it: they get one by one what we get together.
    let ours = if form == MANY { row.find(OURS, form)? } else { row.ours_for(other)? };
    Some((ours, other, 1.0 / row.ratio(ours, other)))
}

/// The same as a table: times as fast, losses in bold.
pub fn table(rows: &[Row]) -> String {
    let engines = COLOURS.iter().map(|(engine, _)| *engine);
    let engines: Vec<&str> = engines
        .filter(|engine| rows.iter().any(|row| row.series.iter().any(|s| s.engine == *engine)))
        .collect();
    let mut out = format!("| | ours | {} |\n", engines.join(" | "));
    out += &format!("|---|---:|{}\n", "---:|".repeat(engines.len()));
    for (name, form, label) in LINES {
        let Some(row) = rows.iter().find(|row| row.name == *name) else { continue };
        let mut ours_shown = None;
        let mut cells = Vec::new();
        for engine in &engines {
            cells.push(match compare(row, engine, form) {
                None => String::new(),
                Some((ours, _, times)) => {
                    ours_shown = ours_shown.or(Some(ours));
                    let times = figure(times);
                    if times.starts_with("0.") { format!("**{times}**") } else { times }
                }
            });
        }
        let time = ours_shown.map_or(f64::NAN, |ours| ours.median(|s| s.value(row.clock)));
        out += &format!("| {label} | {} | {} |\n", duration(time), cells.join(" | "));
    }
    out
}

/// Nanoseconds in the unit that suits them.
fn duration(nanoseconds: f64) -> String {
    match nanoseconds {
        _ if nanoseconds >= 1e6 => format!("{} ms", figure(nanoseconds / 1e6)),
        _ if nanoseconds >= 1e4 => format!("{} µs", figure(nanoseconds / 1e3)),
        _ => format!("{} ns", figure(nanoseconds)),
    }
}

/// One dot for each peer.
fn dots(row: &Row, form: &str, y: f64) -> String {
    let mut out = String::new();
    for (engine, colour) in COLOURS {
        if let Some((_, other, times)) = compare(row, engine, form) {
            let name = other.name();
            writeln!(
                out,
                "<circle cx='{:.1}' cy='{y:.1}' r='5.5' fill='{colour}' fill-opacity='0.85'>\
                 <title>{name}: {times:.2}</title></circle>",
                x(times)
            )
            .expect("text takes text");
        }
    }
    out
}

fn frame(body: &str, bottom: f64) -> String {
    let height = bottom + 40.0;
    let mut out = format!(
        "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {height}' \
         font-family='sans-serif' font-size='12' fill='#222'>\n\
         <rect width='{WIDTH}' height='{height}' fill='#fff'/>\n\
         <rect x='{LEFT}' y='{TOP}' width='{:.1}' height='{:.1}' fill='#fbeceb'/>\n\
         <text x='14' y='22' font-size='14'>Times as fast as the others: \
         right of the line is faster, left of it slower</text>\n",
        x(1.0) - LEFT,
        bottom - TOP,
    );
    let mut at = 14.0;
    for (engine, colour) in COLOURS {
        out += &format!(
            "<circle cx='{:.0}' cy='42' r='5.5' fill='{colour}'/><text x='{:.0}' y='46'>{engine}\
             </text>\n",
            at + 6.0,
            at + 16.0
        );
        at += 34.0 + 7.5 * engine.len() as f64;
    }
    out += body;
    let mut times = LEAST;
    while times <= MOST {
        let (at, is_one) = (x(times), times == 1.0);
        let (colour, width) = if is_one { ("#222", 2) } else { ("#ccc", 1) };
        out += &format!(
            "<line x1='{at:.1}' x2='{at:.1}' y1='{TOP}' y2='{bottom:.1}' stroke='{colour}' \
             stroke-width='{width}' stroke-opacity='0.6'/>\n\
             <text x='{at:.1}' y='{:.1}' text-anchor='middle'>{times}</text>\n",
            bottom + 18.0
        );
        times *= 2.0;
    }
    out + "</svg>\n"
}
