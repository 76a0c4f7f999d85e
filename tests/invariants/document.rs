//! `docs/invariants.md`, taken apart: the kinds of check, and a section for each invariant.

use crate::tree::{cells, quoted};
use std::collections::BTreeMap;

pub const DOCUMENT: &str = "docs/invariants.md";

/// What every section says, in this order.
pub const FIELDS: &[&str] =
    &["Statement", "Why", "Assumes", "Enforced", "Checked by", "Seeded bugs", "Limits"];

/// A field of a section: its line, and its text without the label.
#[derive(Debug)]
pub struct Field {
    pub label: String,
    pub line: usize,
    pub text: String,
}

/// A heading and what stands below it.
#[derive(Debug)]
pub struct Section {
    pub name: String,
    pub line: usize,
    pub fields: Vec<Field>,
}

impl Section {
    /// The text of a field, empty when it is missing.
    pub fn text(&self, label: &str) -> &str {
        self.fields.iter().find(|field| field.label == label).map_or("", |field| &field.text)
    }

    pub fn line(&self, label: &str) -> usize {
        self.fields.iter().find(|field| field.label == label).map_or(self.line, |field| field.line)
    }

    /// The files that a field names.
    pub fn files(&self, label: &str) -> Vec<&str> {
        quoted(self.text(label)).into_iter().filter(|word| word.contains('/')).collect()
    }
}

#[derive(Debug, Default)]
pub struct Document {
    /// The kind of check that a file is, by path; a path with `/` at its end is a directory.
    pub kinds: BTreeMap<String, String>,
    pub sections: Vec<Section>,
}

impl Document {
    /// Reads the rows `| kind | `file`, ... | ... |`, then `## name` and `**Label:** text`.
    pub fn read(text: &str) -> Document {
        let mut document = Document::default();
        for (index, line) in text.lines().enumerate() {
            let number = index + 1;
            if let Some(name) = line.strip_prefix("## ") {
                let name = name.trim().to_owned();
                document.sections.push(Section { name, line: number, fields: Vec::new() });
            } else if let Some(section) = document.sections.last_mut() {
                section.read(line, number);
            } else if let Some([kind, files, ..]) = cells(line).as_deref() {
                for file in quoted(files) {
                    document.kinds.insert(file.to_owned(), (*kind).to_owned());
                }
            }
        }
        document
    }
}

impl Section {
    fn read(&mut self, line: &str, number: usize) {
        let labelled = line.strip_prefix("**").and_then(|rest| rest.split_once(":**"));
        if let Some((label, text)) = labelled {
            let (label, text) = (label.to_owned(), text.trim().to_owned());
            self.fields.push(Field { label, line: number, text });
        } else if let Some(field) = self.fields.last_mut().filter(|_| !line.trim().is_empty()) {
            field.text.push(' ');
            field.text.push_str(line.trim());
        }
    }
}
