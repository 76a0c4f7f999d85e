//! Rust sources, read far enough to be judged: tokens without comments and literals, paths with
//! their `use` trees unfolded, functions, and which lines are tests.
//!
//! Not a parser: it knows brackets, literals, comments, attributes and paths, nothing else.

use std::collections::BTreeSet;

/// An identifier, a number, `::`, or one other character of code.
#[derive(Clone, Debug)]
pub struct Token {
    pub text: String,
    pub line: usize,
    /// Whether it belongs to an item under `#[cfg(test)]`.
    pub test: bool,
}

/// A path such as `crate::page::PageId`, from a `use` tree or from code.
#[derive(Clone, Debug)]
pub struct Path {
    pub segments: Vec<String>,
    pub line: usize,
    pub test: bool,
    /// The modules written inside the file that enclose it.
    pub inside: Vec<String>,
}

/// A function with a body.
#[derive(Debug)]
pub struct Function {
    pub name: String,
    pub line: usize,
    pub lines: usize,
}

/// One Rust file.
#[derive(Debug)]
pub struct Source {
    /// Relative to the root of the project, with `/`.
    pub path: String,
    pub text: String,
    pub tokens: Vec<Token>,
    /// Names of the modules that this file declares under `#[cfg(test)]` in files of their own.
    pub test_modules: Vec<String>,
    test_lines: BTreeSet<usize>,
    is_test_file: bool,
}

impl Source {
    pub fn new(path: &str, text: &str) -> Source {
        let mut source = Source {
            path: path.to_owned(),
            text: text.to_owned(),
            tokens: tokens(&mask(text)),
            test_modules: Vec::new(),
            test_lines: BTreeSet::new(),
            is_test_file: false,
        };
        source.mark_tests();
        source
    }

    /// The `//!` lines that the file begins with, without their marks.
    pub fn head(&self) -> String {
        let lines = self.text.lines().take_while(|line| line.starts_with("//!"));
        lines.map(|line| line[3..].trim()).collect::<Vec<_>>().join("\n")
    }

    /// Lines that belong to no test.
    pub fn lines_without_tests(&self) -> usize {
        self.text.lines().count() - self.test_lines.len()
    }

    /// Declares the whole file a test.
    pub fn mark_all_as_test(&mut self) {
        self.is_test_file = true;
        self.test_lines = (1..=self.text.lines().count()).collect();
        for token in &mut self.tokens {
            token.test = true;
        }
    }

    pub fn is_test_file(&self) -> bool {
        self.is_test_file
    }

    /// The text of the token at `at`, or nothing behind the end.
    pub fn word(&self, at: usize) -> &str {
        self.tokens.get(at).map_or("", |token| &token.text)
    }

    /// Whether the tokens at `at` are these.
    pub fn reads(&self, at: usize, words: &[&str]) -> bool {
        words.iter().enumerate().all(|(offset, word)| self.word(at + offset) == *word)
    }

    /// The index of the bracket that closes the one at `open`, or the last token.
    pub fn close_of(&self, open: usize) -> usize {
        let mut depth = 0_usize;
        for at in open..self.tokens.len() {
            match self.word(at) {
                "{" | "(" | "[" => depth += 1,
                "}" | ")" | "]" => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth == 0 {
                return at;
            }
        }
        self.tokens.len().saturating_sub(1)
    }

    /// The end of the item or statement that starts at `start`: its `;` or its closing brace.
    fn end_of_item(&self, start: usize) -> usize {
        let mut at = start;
        while at < self.tokens.len() {
            match self.word(at) {
                ";" | "}" => return at,
                "{" => return self.close_of(at),
                "(" | "[" => at = self.close_of(at) + 1,
                _ => at += 1,
            }
        }
        self.tokens.len().saturating_sub(1)
    }

    fn mark_tests(&mut self) {
        for at in 0..self.tokens.len() {
            let open = if self.reads(at, &["#", "[", "cfg", "("]) {
                at + 3
            } else if self.reads(at, &["#", "!", "[", "cfg", "("]) {
                at + 4
            } else {
                continue;
            };
            let is_test =
                self.word(open + 1) == "test" || self.reads(open + 1, &["all", "(", "test"]);
            if !is_test {
                continue;
            }
            if self.word(at + 1) == "!" {
                self.mark_all_as_test();
                return;
            }
            let end = self.end_of_item(at + 1);
            self.mark_item(at, end);
        }
    }

    fn mark_item(&mut self, start: usize, end: usize) {
        for at in start..=end {
            self.tokens[at].test = true;
            if self.word(at) == "mod" && self.word(at + 2) == ";" {
                self.test_modules.push(self.tokens[at + 1].text.clone());
            }
        }
        self.test_lines.extend(self.tokens[start].line..=self.tokens[end].line);
    }

    /// Every function with a body, nested ones too.
    pub fn functions(&self) -> Vec<Function> {
        let mut found = Vec::new();
        for at in 0..self.tokens.len() {
            if self.word(at) != "fn" || !is_name(self.word(at + 1)) {
                continue;
            }
            let end = self.end_of_item(at);
            if self.word(end) == "}" {
                let line = self.tokens[at].line;
                let lines = self.tokens[end].line + 1 - line;
                found.push(Function { name: self.word(at + 1).to_owned(), line, lines });
            }
        }
        found
    }

    /// Every path of two or more segments, and every name that a `use` brings in.
    pub fn paths(&self) -> Vec<Path> {
        let mut found = Vec::new();
        let mut inside: Vec<(String, usize)> = Vec::new();
        let mut at = 0;
        while at < self.tokens.len() {
            inside.retain(|(_, end)| at <= *end);
            let names = || inside.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
            if self.word(at) == "use" {
                let end = self.end_of_use(at);
                self.use_tree(at + 1, end, &[], &names(), &mut found);
                at = end;
            } else if self.word(at) == "mod" && self.word(at + 2) == "{" {
                inside.push((self.word(at + 1).to_owned(), self.close_of(at + 2)));
                at += 3;
            } else if is_name(self.word(at)) {
                let mut end = at;
                while self.word(end + 1) == "::" && is_name(self.word(end + 2)) {
                    end += 2;
                }
                if end > at {
                    let segments = (at..=end).step_by(2).map(|i| self.word(i).to_owned());
                    found.push(self.path_at(at, segments.collect(), &names()));
                }
                at = end + 1;
            } else {
                at += 1;
            }
        }
        found
    }

    fn path_at(&self, at: usize, segments: Vec<String>, inside: &[String]) -> Path {
        let Token { line, test, .. } = self.tokens[at];
        Path { segments, line, test, inside: inside.to_vec() }
    }

    /// The `;` of a `use`, or the `>` of `impl Trait + use<..>`.
    fn end_of_use(&self, at: usize) -> usize {
        let ends = |word: &str| word == ";" || word == ">";
        (at..self.tokens.len()).find(|i| ends(self.word(*i))).unwrap_or(self.tokens.len())
    }

    /// Unfolds the trees between `at` and `end`, which are separated by commas.
    fn use_tree(
        &self,
        mut at: usize,
        end: usize,
        before: &[String],
        inside: &[String],
        found: &mut Vec<Path>,
    ) {
        while at < end {
            let (start, mut segments) = (at, before.to_vec());
            let mut is_leaf = true;
            while at < end && self.word(at) != "," {
                match self.word(at) {
                    "{" => {
                        let close = self.close_of(at);
                        self.use_tree(at + 1, close, &segments, inside, found);
                        (at, is_leaf) = (close, false);
                    }
                    "as" => at += 1,
                    "self" if !segments.is_empty() => {}
                    word if is_name(word) || word == "*" => segments.push(word.to_owned()),
                    _ => {}
                }
                at += 1;
            }
            if is_leaf && start < end {
                found.push(self.path_at(start, segments, inside));
            }
            at += 1;
        }
    }
}

fn is_name(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
}

/// The code alone: comments become spaces, literals too but for their quotes.
fn mask(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let (end, quoted) = span(&chars, at);
        for (offset, c) in chars[at..end].iter().enumerate() {
            let is_edge = quoted && (offset == 0 || offset + 1 == end - at);
            out.push(match c {
                '\n' => '\n',
                _ if is_edge => '"',
                _ if end > at + 1 => ' ',
                _ => *c,
            });
        }
        at = end;
    }
    out
}

/// The end of the comment or literal at `at`, else the next character; whether it is a literal.
fn span(chars: &[char], at: usize) -> (usize, bool) {
    let next = |offset: usize| chars.get(at + offset).copied().unwrap_or('\0');
    let inside_word = at > 0 && (chars[at - 1].is_alphanumeric() || chars[at - 1] == '_');
    match (chars[at], next(1)) {
        ('/', '/') => {
            (chars[at..].iter().position(|c| *c == '\n').map_or(chars.len(), |n| at + n), false)
        }
        ('/', '*') => (end_of_block_comment(chars, at), false),
        ('"', _) => (end_of_quoted(chars, at, '"'), true),
        ('\'', '\\') => (end_of_quoted(chars, at, '\''), true),
        ('\'', _) if next(2) == '\'' => (at + 3, true),
        ('b' | 'c', 'r') if !inside_word => end_of_raw(chars, at + 2).map_or((at + 1, false), yes),
        ('r', _) if !inside_word => end_of_raw(chars, at + 1).map_or((at + 1, false), yes),
        _ => (at + 1, false),
    }
}

fn yes(end: usize) -> (usize, bool) {
    (end, true)
}

fn end_of_block_comment(chars: &[char], start: usize) -> usize {
    let (mut depth, mut at) = (0_usize, start);
    while at + 1 < chars.len() {
        match (chars[at], chars[at + 1]) {
            ('/', '*') => (depth, at) = (depth + 1, at + 2),
            ('*', '/') if depth == 1 => return at + 2,
            ('*', '/') => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
    }
    chars.len()
}

fn end_of_quoted(chars: &[char], start: usize, quote: char) -> usize {
    let mut at = start + 1;
    while at < chars.len() {
        match chars[at] {
            '\\' => at += 2,
            c if c == quote => return at + 1,
            _ => at += 1,
        }
    }
    chars.len()
}

/// The end of a raw string whose hashes begin at `at`, or `None` when there is none.
fn end_of_raw(chars: &[char], at: usize) -> Option<usize> {
    let hashes = chars[at..].iter().take_while(|c| **c == '#').count();
    if chars.get(at + hashes) != Some(&'"') {
        return None;
    }
    let body = at + hashes + 1;
    let ends = |i: &usize| {
        chars[*i] == '"'
            && chars[i + 1..].iter().take(hashes).filter(|c| **c == '#').count() == hashes
    };
    Some((body..chars.len()).find(ends).map_or(chars.len(), |i| i + 1 + hashes))
}

fn tokens(code: &str) -> Vec<Token> {
    let mut found: Vec<Token> = Vec::new();
    for (index, text) in code.lines().enumerate() {
        let chars: Vec<char> = text.chars().collect();
        let mut at = 0;
        while at < chars.len() {
            let is_word = |c: &char| c.is_alphanumeric() || *c == '_';
            let length = match chars[at] {
                c if is_word(&c) => chars[at..].iter().take_while(|c| is_word(c)).count(),
                ':' if chars.get(at + 1) == Some(&':') => 2,
                _ => 1,
            };
            let token: String = chars[at..at + length].iter().collect();
            if !token.trim().is_empty() {
                found.push(Token { text: token, line: index + 1, test: false });
            }
            at += length;
        }
    }
    found
}
