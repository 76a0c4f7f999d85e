//! Certifies the store.
use btree_store::sim::certify::{Certifier, Faults};
use std::time::Instant;
fn main() {
    let args: Vec<String> = std::env::args().collect();
    let mut c = Certifier::new(512);
    c.every = args.get(1).and_then(|a| a.parse().ok()).unwrap_or(1000);
    c.executions_max = 200_000;
    if args.get(2).is_some() {
        c.faults = Faults::None;
    }
    let begin = Instant::now();
    let cert = c.run(1).unwrap();
    let t = begin.elapsed();
    for row in &cert.rows {
        println!(
            "{} {:?} points {} exec {} faults {} {} log2 {:.0}",
            row.name,
            row.verdict,
            row.points,
            row.executions,
            row.fault_runs,
            row.fault_executions,
            row.log2_images_max
        );
        if let Some(v) = &row.violation {
            println!("{v}");
        }
    }
    println!("{}", cert.to_json());
    println!("{t:.2?} for {} executions", cert.executions());
}
