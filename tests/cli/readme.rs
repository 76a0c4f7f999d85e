//! What the README shows is what is printed.
#![cfg(unix)]

use super::Place;
use std::path::Path;
use std::process::Command;

#[test]
fn the_commands_of_the_readme_print_what_it_says() {
    let readme = include_str!("../../README.md");
    let (_, rest) = readme.split_once("```console\n").expect("there are commands");
    let (shown, _) = rest.split_once("```").expect("they end");
    let place = Place::new();
    let programs = Path::new(env!("CARGO_BIN_EXE_btree-store")).parent().unwrap();
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
    let mut printed = String::new();
    for line in shown.lines().filter_map(|line| line.strip_prefix("$ ")) {
        let mut shell = Command::new("sh");
        shell.args(["-c", line]).current_dir(place.dir.path()).env("PATH", &path);
        let ended = shell.output().unwrap();
        let ended = String::from_utf8([ended.stdout, ended.stderr].concat()).unwrap();
        printed.extend(["$ ", line, "\n", &ended]);
    }
    assert_eq!(printed, shown, "printed:\n{printed}");
}
