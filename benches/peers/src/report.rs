//! What was measured, as text while it runs, and as a table, JSON and a chart at the end.

use crate::engine::Result;
use crate::goals::{self, Verdict};
use crate::measure::{Clock, Row, Series};
use crate::settings::Settings;
use std::fmt::Write;
use std::path::Path;

pub struct Report<'s> {
    settings: &'s Settings,
    pub rows: Vec<Row>,
}

impl<'s> Report<'s> {
    /// A report that begins with the rows of earlier runs, if that is asked for.
    pub fn new(settings: &'s Settings) -> Result<Report<'s>> {
        let mut rows = Vec::new();
        settings.load.iter().try_for_each(|path| crate::record::read(path, &mut rows))?;
        Ok(Report { settings, rows })
    }

    /// Whether a row is to be run. When only a list is wanted, it is printed instead.
    pub fn wants(&self, name: &str) -> bool {
        let wants = self.settings.wants(name);
        if wants && self.settings.list {
            println!("{name}");
        }
        wants && !self.settings.list
    }

    /// Something to see while one waits.
    pub fn note(&self, text: &str) {
        eprintln!("  {text}");
    }

    /// Keeps a row, and writes all files anew, so that nothing is lost when a later row fails.
    pub fn add(&mut self, row: Row) -> Result<()> {
        print!("{}", text(&row));
        crate::record::keep(&mut self.rows, row);
        let verdicts = goals::judge(&self.rows);
        let files = [
            (&self.settings.markdown, markdown as fn(&[Row], &[Verdict]) -> String),
            (&self.settings.json, crate::json::write),
            (&self.settings.svg, |rows, _| crate::chart::draw(rows)),
            (&self.settings.save, |rows, _| crate::record::write(rows)),
        ];
        for (path, form) in files {
            if let Some(path) = path {
                std::fs::write(path, form(&self.rows, &verdicts))?;
            }
        }
        Ok(())
    }

    /// Prints the promises, and writes the project's documents if that was asked for.
    pub fn finish(&self) -> Result<()> {
        let verdicts = goals::judge(&self.rows);
        if !verdicts.is_empty() {
            println!("\n{}", goal_table(&verdicts));
        }
        let Some(root) = &self.settings.docs else { return Ok(()) };
        let table = crate::chart::table(&self.rows);
        splice(&root.join("README.md"), "speed", &table)?;
        splice(&root.join("docs/performance.md"), "speed", &table)?;
        splice(&root.join("docs/performance.md"), "goals", &goal_table(&verdicts))?;
        std::fs::write(root.join("docs/speed.svg"), crate::chart::draw(&self.rows))?;
        let rows: String = self.rows.iter().map(|row| format!("\n{}", self::table(row))).collect();
        let head = "# All rows, as they were last written\n\nWhat they mean: \
                    [performance.md](performance.md). Written by `benches/peers`.\n";
        Ok(std::fs::write(root.join("docs/measurements.md"), format!("{head}{rows}"))?)
    }
}

/// All tables in Markdown.
fn markdown(rows: &[Row], verdicts: &[Verdict]) -> String {
    let mut out = format!("{}\n{}", crate::chart::table(rows), goal_table(verdicts));
    for row in rows {
        write!(out, "\n{}", table(row)).expect("text takes text");
    }
    out
}

/// Puts a text between the two marks of a document, and leaves the rest as it is.
fn splice(path: &Path, mark: &str, text: &str) -> Result<()> {
    let document = std::fs::read_to_string(path)?;
    let (begin, end) = (format!("<!-- {mark} -->\n"), format!("<!-- /{mark} -->"));
    let lacks = || format!("{}: no place marked {mark}", path.display());
    let (before, rest) = document.split_once(&begin).ok_or_else(lacks)?;
    let (_, after) = rest.split_once(&end).ok_or_else(lacks)?;
    Ok(std::fs::write(path, format!("{before}{begin}\n{text}\n{end}{after}"))?)
}

/// Three digits that matter.
pub fn figure(value: f64) -> String {
    match value {
        _ if !value.is_finite() => "-".to_owned(),
        _ if value >= 100.0 => format!("{value:.0}"),
        _ if value >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

fn cells(row: &Row, series: &Series) -> Vec<String> {
    let operations = |sample: &crate::measure::Sample| sample.operations.max(1) as f64;
    let ours = row.ours_for(series).filter(|ours| !std::ptr::eq(*ours, series));
    let mut cells = vec![series.name(), figure(series.median(|sample| sample.value(row.clock)))];
    if row.clock != Clock::Figure {
        cells.push(figure(series.median(|sample| sample.value(Clock::Wall))));
        cells.push(figure(series.median(|sample| sample.value(Clock::Cpu))));
        cells.push(figure(series.median(|sample| sample.bytes as f64 / operations(sample))));
        cells.push(figure(series.median(|sample| sample.syncs as f64 / operations(sample))));
    }
    cells.push(ours.map_or_else(String::new, |ours| figure(row.ratio(ours, series))));
    cells
}

fn heads(row: &Row) -> Vec<String> {
    let mut heads = vec![row.name.clone(), row.unit.clone()];
    if row.clock != Clock::Figure {
        heads.extend(["wall ns", "CPU ns", "bytes", "syncs"].map(str::to_owned));
    }
    heads.push("ours / this".to_owned());
    heads
}

/// A row for a terminal.
fn text(row: &Row) -> String {
    let mut lines = vec![heads(row)];
    lines.extend(row.series.iter().map(|series| cells(row, series)));
    let width = |column: usize| {
        let cells = lines.iter().filter_map(|line| line.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..lines[0].len()).map(width).collect();
    let mut out = String::from("\n");
    for line in &lines {
        let (first, rest) = line.split_first().expect("a line has cells");
        write!(out, "{first:<width$}", width = widths[0]).expect("text takes text");
        for (cell, width) in rest.iter().zip(&widths[1..]) {
            write!(out, "  {cell:>width$}").expect("text takes text");
        }
        out.push('\n');
    }
    out
}

/// A row in Markdown.
fn table(row: &Row) -> String {
    let heads = heads(row);
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let mut out = line(&heads);
    out += &format!("|---|{}\n", "---:|".repeat(heads.len() - 1));
    row.series.iter().for_each(|series| out += &line(&cells(row, series)));
    out
}

fn goal_table(verdicts: &[Verdict]) -> String {
    let mut out = String::from(
        "| workload | ours | beside | ours / that | goal | |\n|---|---:|---|---:|---:|---|\n",
    );
    for verdict in verdicts {
        let Verdict { row, ours, beside, ratio, goal, .. } = verdict;
        let (ratio, goal) = (figure(*ratio), figure(*goal));
        let word = if verdict.holds { "holds" } else { "MISSED" };
        writeln!(out, "| {row} | {ours} | {beside} | {ratio} | {goal} | {word} |")
            .expect("text takes text");
    }
    out
}
