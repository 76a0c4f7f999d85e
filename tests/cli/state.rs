//! Sizes, checks, compaction and pictures.

use super::Place;
use super::json::Json;
use btree_store::verify::{Owner, Report};

fn report(place: &Place) -> Report {
    place.store("data.db").verify().unwrap()
}

#[test]
fn figures_are_those_of_the_store() {
    let place = Place::with_store();
    let text = place.run("stat @data.db");
    for part in ["page size: 512\n", "buckets: 21\n", "entries: 201\n"] {
        assert!(text.done().contains(part), "{part}: {}", text.text());
    }
    let report = report(&place);
    let state = report.accepted().unwrap();
    let json = Json::read(place.run("stat @data.db --full --json").done());
    assert_eq!(json.number("file_bytes"), std::fs::metadata(place.path("data.db")).unwrap().len());
    assert_eq!(json.number("pages"), u64::from(state.page_count));
    assert_eq!(
        json.number("free_pages") + json.number("pending_pages"),
        state.free + state.pending
    );
    let users = json.list("trees").iter().find(|tree| tree.text("name") == "users").unwrap();
    let wanted = state.buckets.iter().find(|bucket| bucket.name == "users").unwrap();
    assert_eq!(users.number("leaf_pages"), wanted.leaf_pages);
    assert_eq!(users.number("value_bytes"), wanted.value_bytes);
    assert!(
        place.run("stat @data.db --full").done().contains("bucket \"users\": 201 entries, root")
    );
}

#[test]
fn a_walk_says_what_it_has_found() {
    let place = Place::with_store();
    let page = report(&place).owners().iter().rposition(|owner| *owner == Owner::Leaf).unwrap();
    let mut bytes = std::fs::read(place.path("data.db")).unwrap();
    bytes[page * 512 + 300] ^= 1;
    std::fs::write(place.path("data.db"), bytes).unwrap();
    for line in ["stat @data.db --full", "stat @data.db --full --json", "pages @data.db"] {
        let ended = place.run(line);
        ended.refused(3, &[&format!("page {page}: "), "checksum-covers-page"]);
        assert!(!ended.out.is_empty(), "{line}: the rest is told all the same");
    }
    place.run("stat @data.db").done();
}

#[test]
fn a_sound_file_is_called_sound() {
    let place = Place::with_store();
    assert!(place.run("check @data.db").done().ends_with("sound\n"));
    let check = place.run("check @data.db --json");
    assert_eq!(Json::read(check.done()).get("sound"), &Json::Truth(true));
    assert_eq!(check.text().trim_end(), report(&place).to_json());
}

#[test]
fn names_of_buckets_are_shown_as_other_commands_show_them() {
    let place = Place::with_store();
    for name in ["caf\u{e9}", "\u{1b}[1m", "a\n\r\t\\b", "\u{7f}\u{85}", "\u{301}\u{200e}x"] {
        place.store("new.db").exec(name, |txn| txn.put("k", "v")).unwrap();
    }
    let buckets = place.run("buckets @new.db");
    let shown: Vec<&str> =
        buckets.done().lines().map(|line| line.split('\t').next().unwrap()).collect();
    assert!(shown.contains(&"a\\n\\r\\t\\\\b") && shown.contains(&"caf\u{e9}"), "{shown:?}");
    for line in ["check @new.db", "stat @new.db --full"] {
        let text = place.run(line);
        for name in &shown {
            let wanted = format!("bucket \"{name}\": 1 entries");
            assert!(text.done().contains(&wanted), "{wanted}: {}", text.text());
        }
    }
}

#[test]
fn compaction_makes_the_file_shorter_and_keeps_what_it_holds() {
    let place = Place::with_store();
    let db = place.store("data.db");
    db.exec("users", |txn| {
        (0..2_000_u32).try_for_each(|key| txn.put(key.to_be_bytes(), [1; 50]))?;
        (0..2_000_u32).filter(|key| key % 9 > 0).try_for_each(|key| txn.del(key.to_be_bytes()))
    })
    .unwrap();
    drop(db);
    let dump = place.run("dump @data.db").out;
    let len = || std::fs::metadata(place.path("data.db")).unwrap().len();
    let before = len();
    let json = Json::read(place.run("compact @data.db --json").done());
    assert_eq!((json.number("bytes_before"), json.number("bytes_after")), (before, len()));
    assert!(len() < before * 2 / 3 && json.number("moved_pages") > 0, "{before} to {}", len());
    assert_eq!(place.run("dump @data.db").out, dump);
    assert!(place.run("compact @data.db").done().contains(" bytes before, "));
}

fn letter(owner: Owner) -> char {
    match owner {
        Owner::Slot => 'M',
        Owner::Catalog => 'C',
        Owner::Branch => 'B',
        Owner::Leaf => 'L',
        Owner::Run => 'O',
        Owner::Log => 'S',
        Owner::Free => '.',
        Owner::Pending => '-',
        _ => '?',
    }
}

/// The characters of a picture, and the number in front of its second row.
fn characters(text: &str) -> (String, Option<usize>) {
    let rows: Vec<(usize, &str)> = text
        .lines()
        .take_while(|line| !line.is_empty())
        .map(|line| line.trim_start().split_once(' ').unwrap())
        .map(|(first, row)| (first.parse().unwrap(), row))
        .collect();
    (rows.iter().map(|(_, row)| *row).collect(), rows.get(1).map(|(first, _)| *first))
}

#[test]
fn a_picture_has_a_letter_for_each_page() {
    let place = Place::with_store();
    let report = report(&place);
    let wanted: String = report.owners().iter().map(|owner| letter(*owner)).collect();
    for kind in "MCBLOS.".chars() {
        assert!(wanted.contains(kind), "no {kind} in {wanted}");
    }
    let text = place.run("pages @data.db --width 10");
    let (found, second) = characters(text.done());
    assert_eq!((found.as_str(), second), (wanted.as_str(), Some(10)));
    let leaves = format!(
        "L leaf {:>width$}\n",
        wanted.matches('L').count(),
        width = 4 + wanted.len().to_string().len()
    );
    assert!(text.text().contains(&leaves), "{leaves:?} in {}", text.text());
    let json = Json::read(place.run("pages @data.db --json").done());
    let drawn: String = json
        .list("extents")
        .iter()
        .map(|extent| {
            let letter = match extent.text("kind") {
                "meta" => "M",
                "catalog" => "C",
                "branch" => "B",
                "leaf" => "L",
                "overflow" => "O",
                "log" => "S",
                "free" => ".",
                "pending" => "-",
                _ => "?",
            };
            letter.repeat(usize::try_from(extent.number("pages")).unwrap())
        })
        .collect();
    assert_eq!(drawn, wanted);
    assert_eq!(json.get("counts").number("leaf"), wanted.matches('L').count() as u64);
}

#[test]
fn a_character_of_several_pages_is_the_most_frequent() {
    let place = Place::with_store();
    let report = report(&place);
    let owners = report.owners();
    let (found, second) = characters(place.run("pages @data.db --width 5 --scale 4").done());
    assert_eq!((found.chars().count(), second), (owners.len().div_ceil(4), Some(20)));
    for (stretch, drawn) in owners.chunks(4).zip(found.chars()) {
        let same = |owner: Owner| stretch.iter().filter(|other| **other == owner).count();
        let most = stretch.iter().map(|owner| same(*owner)).max().unwrap();
        let pure = match drawn {
            ',' => '.',
            '~' => '-',
            drawn => drawn.to_ascii_uppercase(),
        };
        let meant = stretch.iter().find(|owner| letter(**owner) == pure).unwrap();
        assert_eq!(same(*meant), most, "{stretch:?} as {drawn}");
        assert_eq!(drawn == pure, most == stretch.len(), "{stretch:?} as {drawn}");
    }
    let whole = place.run("pages @data.db --scale 4000000000");
    assert_eq!(characters(whole.done()).0.chars().count(), 1);
}
