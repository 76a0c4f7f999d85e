//! Samples as lines of text, so that a long run can be made in pieces and put together.

use crate::engine::Result;
use crate::measure::{Clock, Row, Sample, Series};
use std::path::Path;
use std::time::Duration;

/// One line a sample: the row, its unit and clock, who, in which form, and the figures.
pub fn write(rows: &[Row]) -> String {
    let mut out = String::new();
    for row in rows {
        for series in &row.series {
            for sample in &series.samples {
                let Sample { operations, wall, cpu, bytes, syncs, figure, .. } = sample;
                let (wall, cpu) = (wall.as_nanos(), cpu.as_nanos());
                let (name, unit, clock) = (&row.name, &row.unit, row.clock);
                let (engine, form) = (series.engine, &series.form);
                out += &format!("{name}\t{unit}\t{clock:?}\t{engine}\t{form}\t");
                out += &format!("{operations}\t{wall}\t{cpu}\t{bytes}\t{syncs}\t{figure}\n");
            }
        }
    }
    out
}

/// Adds what an earlier run has written. A row that is there already is replaced.
pub fn read(path: &Path, rows: &mut Vec<Row>) -> Result<()> {
    let text = std::fs::read_to_string(path)?;
    let mut found: Vec<Row> = Vec::new();
    for line in text.lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        let [name, unit, clock, engine, form, figures @ ..] = fields.as_slice() else {
            return Err(format!("{}: {line}", path.display()).into());
        };
        if found.last().is_none_or(|row| row.name != *name) {
            let clock = match *clock {
                "Cpu" => Clock::Cpu,
                "Wall" => Clock::Wall,
                _ => Clock::Figure,
            };
            let (name, unit) = ((*name).to_owned(), (*unit).to_owned());
            found.push(Row { name, unit, clock, series: Vec::new() });
        }
        let series = &mut found.last_mut().expect("a row was begun").series;
        if series.last().is_none_or(|one| one.engine != *engine || one.form != *form) {
            // Names of engines are few and live as long as the program.
            let engine: &'static str = String::from(*engine).leak();
            series.push(Series { engine, form: (*form).to_owned(), samples: Vec::new() });
        }
        series.last_mut().expect("a series was begun").samples.push(sample(figures)?);
    }
    found.into_iter().for_each(|row| keep(rows, row));
    Ok(())
}

/// Adds a row, in the place of an earlier one of the same name.
pub fn keep(rows: &mut Vec<Row>, row: Row) {
    match rows.iter_mut().find(|known| known.name == row.name) {
        Some(known) => *known = row,
        None => rows.push(row),
    }
}

fn sample(figures: &[&str]) -> Result<Sample> {
    let [operations, wall, cpu, bytes, syncs, figure] = figures else {
        return Err("a sample has six figures".into());
    };
    Ok(Sample {
        operations: operations.parse()?,
        wall: Duration::from_nanos(wall.parse()?),
        cpu: Duration::from_nanos(cpu.parse()?),
        bytes: bytes.parse()?,
        syncs: syncs.parse()?,
        seen: None,
        figure: figure.parse()?,
    })
}
