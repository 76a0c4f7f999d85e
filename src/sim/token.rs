//! Replay tokens: a failing run in a line of text.
//!
//! Owns: [`Path`], the way to one run, and its text form.
//! Must not know: what a run does.
//! Keeps: parsing gives back what was written, and any other text gives a path or an error.
//!
//! `name:C-P.C-P.C`: the choices of the workload, then for each crash its point and the choices
//! of the run after it. Choices are letters, `a` for 0 to `y` for 24, or `z` and a number and
//! `.`; a number in front of a letter repeats it; zeros at the end are left out.

use std::fmt;

/// One crash and the choices of the run after it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) point: u32,
    pub(super) choices: Vec<u32>,
}

/// The way to a run: the workload's choices, then crash after crash.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Path {
    pub(super) workload: Vec<u32>,
    pub(super) steps: Vec<Step>,
}

/// A text that is no replay token, or the token of another workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokenError {
    /// The text is not of the form of a token.
    Malformed,
    /// The token names another workload.
    OtherWorkload,
    /// The workload has fewer crash points than the token says.
    NoSuchPoint,
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TokenError::Malformed => "the text is no replay token",
            TokenError::OtherWorkload => "the token belongs to another workload",
            TokenError::NoSuchPoint => "the workload has no such crash point any more",
        })
    }
}

impl std::error::Error for TokenError {}

/// The most choices that a token may stand for, those of all its steps: more is damage, not a run.
const CHOICES_MAX: usize = 1 << 20;

impl Path {
    pub(super) fn to_token(&self, name: &str) -> String {
        let mut token = format!("{}:", clean_name(name));
        write_choices(&mut token, &self.workload);
        for step in &self.steps {
            token.push('-');
            token.push_str(&step.point.to_string());
            token.push('.');
            write_choices(&mut token, &step.choices);
        }
        token
    }

    pub(super) fn parse(name: &str, token: &str) -> Result<Path, TokenError> {
        let (token_name, rest) = token.trim().rsplit_once(':').ok_or(TokenError::Malformed)?;
        if token_name != clean_name(name) {
            return Err(TokenError::OtherWorkload);
        }
        let mut parts = rest.split('-');
        let mut left = CHOICES_MAX;
        let workload = parse_choices(parts.next().unwrap_or_default(), &mut left)?;
        let mut path = Path { workload, steps: Vec::new() };
        for part in parts {
            let (point, choices) = part.split_once('.').ok_or(TokenError::Malformed)?;
            let point = point.parse().map_err(|_| TokenError::Malformed)?;
            path.steps.push(Step { point, choices: parse_choices(choices, &mut left)? });
        }
        Ok(path)
    }
}

/// A token is read without the spaces around it, so its name begins with none.
fn clean_name(name: &str) -> String {
    name.trim_start().replace([':', '\n'], "_")
}

fn write_choices(text: &mut String, choices: &[u32]) {
    let end = choices.iter().rposition(|choice| *choice != 0).map_or(0, |last| last + 1);
    for run in choices[..end].chunk_by(|one, other| one == other) {
        if run.len() > 1 {
            text.push_str(&run.len().to_string());
        }
        match u8::try_from(run[0]) {
            Ok(small) if small < 25 => text.push(char::from(b'a' + small)),
            _ => {
                text.push('z');
                text.push_str(&run[0].to_string());
                text.push('.');
            }
        }
    }
}

/// Reads choices. `left` is how many more there may be in the token.
fn parse_choices(text: &str, left: &mut usize) -> Result<Vec<u32>, TokenError> {
    let mut choices = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (times, after) = split_number(rest);
        let times = if times.is_empty() { Ok(1) } else { times.parse::<usize>() };
        let times = times.map_err(|_| TokenError::Malformed)?;
        let letter = after.bytes().next().filter(u8::is_ascii_lowercase);
        let letter = letter.ok_or(TokenError::Malformed)?;
        rest = &after[1..];
        let mut value = u32::from(letter - b'a');
        if letter == b'z' {
            let (number, after) = split_number(rest);
            value = number.parse().map_err(|_| TokenError::Malformed)?;
            rest = after.strip_prefix('.').ok_or(TokenError::Malformed)?;
        }
        *left = left.checked_sub(times).ok_or(TokenError::Malformed)?;
        choices.resize(choices.len() + times, value);
    }
    Ok(choices)
}

fn split_number(text: &str) -> (&str, &str) {
    let end = text.bytes().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    text.split_at(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_gives_back_its_path() {
        let mut path = Path { workload: vec![0, 0, 3], steps: Vec::new() };
        path.steps.push(Step { point: 7, choices: vec![0, 0, 0, 1, 24, 25, 4000, 4000, 2] });
        path.steps.push(Step { point: 0, choices: Vec::new() });
        let token = path.to_token("put: one");
        assert_eq!(token, "put_ one:2ad-7.3abyz25.2z4000.c-0.");
        assert_eq!(Path::parse("put: one", &token), Ok(path));
    }

    #[test]
    fn spaces_around_a_token_and_in_front_of_a_name_do_not_count() {
        let token = Path::default().to_token(" w ");
        assert_eq!(Path::parse(" w ", &format!("  {token}\n")), Ok(Path::default()));
    }

    #[test]
    fn zeros_at_the_end_are_left_out() {
        let path = Path { workload: vec![1, 0, 0], steps: Vec::new() };
        assert_eq!(path.to_token("w"), "w:b");
    }

    #[test]
    fn a_short_text_stands_for_no_gigabytes() {
        let most = format!("w:{CHOICES_MAX}b");
        assert_eq!(Path::parse("w", &most).map(|path| path.workload.len()), Ok(CHOICES_MAX));
        let third = CHOICES_MAX / 3 + 1;
        let thirds = format!("w:{third}a-0.{third}a-0.{third}a");
        for text in [format!("{most}b"), format!("{most}-0.b"), thirds] {
            assert_eq!(Path::parse("w", &text).map(drop), Err(TokenError::Malformed), "{text}");
        }
    }

    #[test]
    fn any_other_text_is_an_error() {
        for text in ["", "w", "w:A", "w:3", "w:z", "w:z5", "w:-", "w:-x.a", "w:-1", "w:9999999999a"]
        {
            assert_eq!(Path::parse("w", text), Err(TokenError::Malformed), "{text}");
        }
        assert_eq!(Path::parse("w", "v:"), Err(TokenError::OtherWorkload));
    }
}
