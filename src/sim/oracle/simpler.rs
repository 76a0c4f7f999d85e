//! Making a failing operation small (part of the oracle, layer L8).
//!
//! Owns: [`Op::simpler`]. Must not know: why it fails. Keeps: what comes out makes fewer calls, or
//! ends in a plainer way.

use super::op::{End, Exec, Op, Part, Peek, SnapshotAct, Step, View, Write};
use super::source::Source;

impl Op {
    /// Operations that do less than this one: with half of the steps, without one of them, with
    /// one of the calls inside alone, or ending well.
    pub fn simpler(&self) -> Vec<Op> {
        match self {
            Op::Exec(exec) => {
                let execs = simpler_exec(exec).into_iter().map(Op::Exec);
                nested_in_exec(exec).chain(execs).collect()
            }
            Op::Owned { by, exec } => {
                let build = |exec| Op::Owned { by: *by, exec };
                let execs = simpler_exec(exec).into_iter().map(build);
                let plain = Op::Exec(exec.clone());
                std::iter::once(plain).chain(nested_in_exec(exec)).chain(execs).collect()
            }
            Op::View(view) => {
                let views = simpler_view(view).into_iter().map(Op::View);
                nested_in(view).chain(views).collect()
            }
            Op::Snapshot { slot, act: SnapshotAct::View(view) } => {
                let build = |view| Op::Snapshot { slot: *slot, act: SnapshotAct::View(view) };
                let views = simpler_view(view).into_iter().map(build);
                nested_in(view).chain(views).collect()
            }
            Op::Multi { parts, end } => {
                let calls = parts.iter().filter_map(|part| match part {
                    Part::Exec(exec) => Some(Op::Exec(exec.clone())),
                    Part::DelBucket(name) => Some(Op::DelBucket(name.clone())),
                    Part::Nest(op) => Some(op.clone()),
                    Part::Durability(_) => None,
                });
                let ends = simpler_end(*end).map(|end| Op::Multi { parts: parts.clone(), end });
                let lists = simpler_list(parts, simpler_part);
                let lists = lists.into_iter().map(|parts| Op::Multi { parts, end: *end });
                calls.chain(ends).chain(lists).collect()
            }
            _ => Vec::new(),
        }
    }
}

fn simpler_end(end: End) -> Option<End> {
    (end != End::Commit).then_some(End::Commit)
}

/// The calls inside of the closure.
fn nested_in_exec(exec: &Exec) -> impl Iterator<Item = Op> {
    exec.steps.iter().filter_map(|step| match step {
        Step::Peek(Peek::Nest(op)) => Some(op.clone()),
        _ => None,
    })
}

/// The calls inside of the closure.
fn nested_in(view: &View) -> impl Iterator<Item = Op> {
    view.steps.iter().filter_map(|peek| match peek {
        Peek::Nest(op) => Some(op.clone()),
        Peek::Read(_) => None,
    })
}

fn simpler_view(view: &View) -> Vec<View> {
    let ends = simpler_end(view.end).map(|end| View { end, ..view.clone() });
    let lists = simpler_list(&view.steps, simpler_peek);
    let lists = lists.into_iter().map(|steps| View { steps, ..view.clone() });
    ends.into_iter().chain(lists).collect()
}

fn simpler_exec(exec: &Exec) -> Vec<Exec> {
    let ends = simpler_end(exec.end).map(|end| Exec { end, ..exec.clone() });
    let lists = simpler_list(&exec.steps, simpler_step);
    let lists = lists.into_iter().map(|steps| Exec { steps, ..exec.clone() });
    ends.into_iter().chain(lists).collect()
}

fn simpler_step(step: &Step) -> Vec<Step> {
    match step {
        Step::Peek(peek) => simpler_peek(peek).into_iter().map(Step::Peek).collect(),
        Step::Write(Write::BulkLoad(entries)) => {
            let lists = simpler_list(entries, |_| Vec::new());
            lists.into_iter().map(|entries| Step::Write(Write::BulkLoad(entries))).collect()
        }
        Step::Write(Write::PutFrom { key, value, source }) => {
            let put = |source| Write::PutFrom { key: key.clone(), value: value.clone(), source };
            let plain = (*source != Source::PLAIN).then(|| put(Source::PLAIN));
            let plainest = Write::Put(key.clone(), value.clone());
            plain.into_iter().chain([plainest]).map(Step::Write).collect()
        }
        Step::Write(_) | Step::Durability(_) => Vec::new(),
    }
}

fn simpler_peek(peek: &Peek) -> Vec<Peek> {
    match peek {
        Peek::Nest(op) => op.simpler().into_iter().map(Peek::Nest).collect(),
        Peek::Read(_) => Vec::new(),
    }
}

fn simpler_part(part: &Part) -> Vec<Part> {
    match part {
        Part::Exec(exec) => simpler_exec(exec).into_iter().map(Part::Exec).collect(),
        Part::Nest(op) => op.simpler().into_iter().map(Part::Nest).collect(),
        Part::DelBucket(_) | Part::Durability(_) => Vec::new(),
    }
}

/// One half, the other half, the list without each of its elements, and with each made simpler.
fn simpler_list<T: Clone>(list: &[T], simpler: impl Fn(&T) -> Vec<T>) -> Vec<Vec<T>> {
    let mut out = Vec::new();
    if list.len() > 2 {
        let (front, back) = list.split_at(list.len() / 2);
        out.extend([front.to_vec(), back.to_vec()]);
    }
    for at in 0..list.len() {
        let mut without = list.to_vec();
        without.remove(at);
        out.push(without);
    }
    for (at, element) in list.iter().enumerate() {
        for plainer in simpler(element) {
            let mut with = list.to_vec();
            with[at] = plainer;
            out.push(with);
        }
    }
    out
}
