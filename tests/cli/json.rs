//! JSON, read strictly: the twin of what the command writes by hand.

use std::collections::BTreeMap;

#[derive(Clone, Debug, PartialEq)]
pub enum Json {
    Null,
    Truth(bool),
    Number(u64),
    Text(String),
    List(Vec<Json>),
    Object(BTreeMap<String, Json>),
}

impl Json {
    /// The only value of a text.
    pub fn read(text: &str) -> Json {
        let mut rest = text.trim_end_matches('\n');
        let value = value(&mut rest);
        assert_eq!(rest, "", "behind the value in {text:?}");
        value
    }

    /// A value of each line.
    pub fn lines(text: &str) -> Vec<Json> {
        text.lines().map(Json::read).collect()
    }

    #[track_caller]
    pub fn get(&self, name: &str) -> &Json {
        match self {
            Json::Object(members) => members.get(name).unwrap_or_else(|| panic!("no {name}")),
            other => panic!("{other:?} has no {name}"),
        }
    }

    #[track_caller]
    pub fn number(&self, name: &str) -> u64 {
        match self.get(name) {
            Json::Number(number) => *number,
            other => panic!("{name} is {other:?}"),
        }
    }

    #[track_caller]
    pub fn text(&self, name: &str) -> &str {
        match self.get(name) {
            Json::Text(text) => text,
            other => panic!("{name} is {other:?}"),
        }
    }

    #[track_caller]
    pub fn list(&self, name: &str) -> &[Json] {
        match self.get(name) {
            Json::List(list) => list,
            other => panic!("{name} is {other:?}"),
        }
    }
}

fn take(rest: &mut &str, what: &str) -> bool {
    let is_there = rest.starts_with(what);
    if is_there {
        *rest = &rest[what.len()..];
    }
    is_there
}

#[track_caller]
fn must(rest: &mut &str, what: &str) {
    assert!(take(rest, what), "no {what:?} at {rest:?}");
}

fn value(rest: &mut &str) -> Json {
    for (word, value) in
        [("null", Json::Null), ("true", Json::Truth(true)), ("false", Json::Truth(false))]
    {
        if take(rest, word) {
            return value;
        }
    }
    match rest.chars().next() {
        Some('"') => Json::Text(string(rest)),
        Some('[') => Json::List(items(rest, ("[", "]"), value)),
        Some('{') => {
            let member = |rest: &mut &str| {
                let name = string(rest);
                must(rest, ":");
                (name, value(rest))
            };
            let members = items(rest, ("{", "}"), member);
            let count = members.len();
            let members: BTreeMap<String, Json> = members.into_iter().collect();
            assert_eq!(members.len(), count, "a name twice in {members:?}");
            Json::Object(members)
        }
        _ => {
            let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            let (digits, behind) = rest.split_at(end);
            *rest = behind;
            Json::Number(digits.parse().unwrap_or_else(|_| panic!("no value at {behind:?}")))
        }
    }
}

fn items<T>(rest: &mut &str, (open, close): (&str, &str), item: impl Fn(&mut &str) -> T) -> Vec<T> {
    must(rest, open);
    let mut items = Vec::new();
    while !take(rest, close) {
        if !items.is_empty() {
            must(rest, ",");
        }
        items.push(item(rest));
    }
    items
}

fn string(rest: &mut &str) -> String {
    must(rest, "\"");
    let mut text = String::new();
    loop {
        let c = rest.chars().next().expect("the string ends");
        *rest = &rest[c.len_utf8()..];
        match c {
            '"' => return text,
            '\\' if take(rest, "u") => {
                let code = u32::from_str_radix(&rest[..4], 16).expect("four digits");
                *rest = &rest[4..];
                text.push(char::from_u32(code).expect("a character"));
            }
            '\\' => {
                let c = rest.chars().next().expect("the string ends");
                assert!(matches!(c, '"' | '\\'), "an escape at {rest:?}");
                *rest = &rest[1..];
                text.push(c);
            }
            c => {
                assert!(!c.is_control(), "a control character in {text:?}");
                text.push(c);
            }
        }
    }
}
