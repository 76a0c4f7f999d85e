//! The little of JSON that is printed (layer L0).
//!
//! Owns: [`Json`], an object under construction. Must not know: what it tells.
//! Keeps: nothing of its own. The command writes with it too.

/// A text under construction. A member puts its own comma, where one is needed.
#[derive(Debug, Default)]
pub struct Json {
    text: String,
}

impl Json {
    /// An object on one line.
    pub fn line(members: impl FnOnce(&mut Json)) -> String {
        let mut out = Json::default();
        out.object(members);
        out.text.push('\n');
        out.text
    }

    fn object(&mut self, members: impl FnOnce(&mut Json)) {
        self.text.push('{');
        members(self);
        self.text.push('}');
    }

    fn comma(&mut self) {
        if !self.text.ends_with(['{', '[']) {
            self.text.push(',');
        }
    }

    fn name(&mut self, name: &str) {
        self.comma();
        self.quoted(name);
        self.text.push(':');
    }

    /// A member that is a number.
    pub fn number(&mut self, name: &str, value: u64) {
        self.name(name);
        self.text.push_str(&value.to_string());
    }

    /// A member that is a number, or `null`.
    pub fn optional(&mut self, name: &str, value: Option<u64>) {
        self.name(name);
        self.text.push_str(&value.map_or_else(|| "null".to_owned(), |value| value.to_string()));
    }

    /// A member that is true or false.
    pub fn truth(&mut self, name: &str, value: bool) {
        self.name(name);
        self.text.push_str(if value { "true" } else { "false" });
    }

    /// A member that is a string.
    pub fn string(&mut self, name: &str, value: &str) {
        self.name(name);
        self.quoted(value);
    }

    /// A member that is an object.
    pub fn member(&mut self, name: &str, members: impl FnOnce(&mut Json)) {
        self.name(name);
        self.object(members);
    }

    /// A member that is a list of objects.
    pub fn list<T>(
        &mut self,
        name: &str,
        values: impl IntoIterator<Item = T>,
        members: impl Fn(&mut Json, T),
    ) {
        self.name(name);
        self.text.push('[');
        for value in values {
            self.comma();
            self.object(|out| members(out, value));
        }
        self.text.push(']');
    }

    fn quoted(&mut self, value: &str) {
        self.text.push('"');
        for c in value.chars() {
            match c {
                '"' | '\\' => self.text.extend(['\\', c]),
                c if c.is_control() => {
                    let escaped = format!("\\u{:04x}", u32::from(c));
                    self.text.push_str(&escaped);
                }
                c => self.text.push(c),
            }
        }
        self.text.push('"');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_has_commas_between_members_and_escapes_in_strings() {
        let line = Json::line(|out| {
            out.string("a", "\"\\\n[{");
            out.list("b", [1, 2], |out, value| out.number("n", value));
            out.member("c", |out| out.optional("d", None));
            out.truth("e", true);
        });
        let wanted =
            r#"{"a":"\"\\\u000a[{","b":[{"n":1},{"n":2}],"c":{"d":null},"e":true}"#.to_owned();
        assert_eq!(line, wanted + "\n");
    }
}
