//! All samples as JSON.

use crate::goals::Verdict;
use crate::measure::{Row, Sample, Series};

pub fn write(rows: &[Row], verdicts: &[Verdict]) -> String {
    let processors = std::thread::available_parallelism().map_or(0, usize::from);
    format!(
        "{{\n\"processors\": {processors},\n\"rows\": [\n{}\n],\n\"goals\": [\n{}\n]\n}}\n",
        join(rows.iter().map(row), ",\n"),
        join(verdicts.iter().map(verdict), ",\n"),
    )
}

fn join(items: impl Iterator<Item = String>, by: &str) -> String {
    items.collect::<Vec<_>>().join(by)
}

fn row(row: &Row) -> String {
    let series = join(row.series.iter().map(|one| series(row, one)), ",\n  ");
    let (name, unit, clock) = (text(&row.name), text(&row.unit), text(&format!("{:?}", row.clock)));
    format!(r#"{{"name": {name}, "unit": {unit}, "judged_by": {clock}, "series": ["#)
        + &format!("\n  {series}]}}")
}

fn series(row: &Row, series: &Series) -> String {
    let (engine, form) = (text(series.engine), text(&series.form));
    let median = number(series.median(|sample| sample.value(row.clock)));
    let samples = join(series.samples.iter().map(sample), ", ");
    format!(r#"{{"engine": {engine}, "form": {form}, "median": {median}, "samples": [{samples}]}}"#)
}

fn sample(sample: &Sample) -> String {
    let Sample { operations, wall, cpu, bytes, syncs, figure, .. } = sample;
    if *figure != 0.0 {
        return format!(r#"{{"figure": {}}}"#, number(*figure));
    }
    let (wall, cpu) = (wall.as_nanos(), cpu.as_nanos());
    format!(r#"{{"operations": {operations}, "wall_ns": {wall}, "cpu_ns": {cpu}, "#)
        + &format!(r#""bytes": {bytes}, "syncs": {syncs}}}"#)
}

fn verdict(verdict: &Verdict) -> String {
    let Verdict { row, ours, beside, ratio, goal, holds } = verdict;
    let (row, ours, beside) = (text(row), text(ours), text(beside));
    let (ratio, goal) = (number(*ratio), number(*goal));
    format!(r#"{{"row": {row}, "ours": {ours}, "beside": {beside}, "ratio": {ratio}, "#)
        + &format!(r#""goal": {goal}, "holds": {holds}}}"#)
}

fn number(value: f64) -> String {
    if value.is_finite() { format!("{value:.4}") } else { "null".to_owned() }
}

/// Names hold no character that JSON wants escaped but these two.
fn text(value: &str) -> String {
    format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
}
