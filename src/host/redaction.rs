//! Takes out of a recorded machine what names a person: user, home, host, tokens. The rest can be published.

use std::sync::LazyLock;

use regex_lite::Regex;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Host;

/// What this machine's owner is called, and by what it is replaced.
#[derive(Debug, Clone, Default)]
pub struct Redaction {
    homes: Vec<String>,
    names: Vec<(String, &'static str)>,
}

impl Redaction {
    pub fn of(host: &Host) -> Self {
        let variable = |name: &str| host.text_variable(name);
        let homes = ["HOME", "USERPROFILE"].into_iter().filter_map(variable).filter(|home| home.len() > 1).collect();
        let users = ["USER", "LOGNAME", "USERNAME", "SUDO_USER"].into_iter().filter_map(variable);
        let file = host.read_to_string("/etc/hostname").ok().map(|name| name.trim().to_owned());
        let hosts = ["HOSTNAME", "COMPUTERNAME", "NAME"].into_iter().filter_map(variable).chain(file);
        // Short or common words would take harmless text along.
        let telling = |name: &String| {
            name.len() >= 3 && !["root", "user", "admin", "localhost", "ubuntu", "nvidia"].contains(&name.as_str())
        };
        let mut names: Vec<(String, &'static str)> = users.filter(telling).map(|name| (name, "user")).collect();
        names.extend(hosts.filter(telling).map(|name| (name, "host")));
        // The longer name first: `anna-pc` holds `anna`.
        names.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
        Self { homes, names }
    }

    pub fn text(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for home in &self.homes {
            text = replace_words(&text, home, "~");
        }
        for (name, instead) in &self.names {
            text = replace_words(&text, name, instead);
        }
        for (pattern, instead) in PATTERNS.iter() {
            text = pattern.replace_all(&text, *instead).into_owned();
        }
        text
    }

    /// The value with every text in it redacted, keys included.
    pub fn value<T: Serialize + DeserializeOwned>(&self, value: &T) -> Result<T, serde_json::Error> {
        serde_json::from_value(self.tree(serde_json::to_value(value)?))
    }

    fn tree(&self, value: Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.text(&text)),
            Value::Array(items) => Value::Array(items.into_iter().map(|item| self.tree(item)).collect()),
            Value::Object(fields) => {
                Value::Object(fields.into_iter().map(|(key, item)| (self.text(&key), self.tree(item))).collect())
            }
            other => other,
        }
    }
}

/// Tokens, credentials in addresses, other users' homes, and the part of a GPU's number that makes it unique.
#[expect(clippy::unwrap_used, reason = "the patterns are literals, and a test uses each")]
static PATTERNS: LazyLock<Vec<(Regex, &'static str)>> = LazyLock::new(|| {
    [
        (r"\bhf_[A-Za-z0-9]{8,}", "hf_(token)"),
        (r"\b(gh[pousr]_|github_pat_|glpat-|sk-|ms-)[A-Za-z0-9_-]{16,}", "${1}(token)"),
        (r"(?i)\bbearer +[A-Za-z0-9._~+/=-]{8,}", "Bearer (token)"),
        (r"(://)[^/@\s:]+(:[^/@\s]*)?@", "${1}(credentials)@"),
        (r"(/home/|/Users/|[A-Za-z]:\\Users\\)([^/\\\s:;]+)", "${1}user"),
        (r"(GPU|MIG)-([0-9a-fA-F]{8})-[0-9a-fA-F-]{20,}", "${1}-${2}-(rest)"),
    ]
    .into_iter()
    .map(|(pattern, instead)| (Regex::new(pattern).unwrap(), instead))
    .collect()
});

/// Replaces `word` where no letter or digit touches it: `ann` is not taken out of `annotation`.
fn replace_words(text: &str, word: &str, instead: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(word) {
        let before = rest[..start].chars().next_back().or_else(|| out.chars().next_back().filter(|_| start == 0));
        let after = rest[start + word.len()..].chars().next();
        let touches = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
        out.push_str(&rest[..start]);
        let starts_inside = touches(before) && word.starts_with(char::is_alphanumeric);
        out.push_str(if starts_inside || touches(after) { word } else { instead });
        rest = &rest[start + word.len()..];
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn anna() -> Redaction {
        Redaction {
            homes: vec!["/home/anna".to_owned(), r"C:\Users\anna".to_owned()],
            names: vec![("anna-pc".to_owned(), "host"), ("anna".to_owned(), "user")],
        }
    }

    #[test]
    fn names_homes_hosts_and_tokens_go() {
        let cases = [
            ("/home/anna/models/x.gguf", "~/models/x.gguf"),
            ("/home/annabel/models", "/home/user/models"),
            (r"C:\Users\anna\AppData", r"~\AppData"),
            (r"D:\Users\bert\x", r"D:\Users\user\x"),
            ("annotation of anna on anna-pc", "annotation of user on host"),
            ("/srv/anna/models", "/srv/user/models"),
            ("token hf_AbCdEfGhIjKlMnOpQrStUvWxYz", "token hf_(token)"),
            ("ghp_0123456789abcdef0123456789", "ghp_(token)"),
            ("http://bert:secret@proxy:3128/", "http://(credentials)@proxy:3128/"),
            ("Authorization: Bearer abcdefghijkl", "Authorization: Bearer (token)"),
            ("GPU-10000000-fa4e-4000-8000-000000000001", "GPU-10000000-(rest)"),
            ("/usr/lib/x86_64-linux-gnu/libcuda.so.1", "/usr/lib/x86_64-linux-gnu/libcuda.so.1"),
        ];
        for (text, redacted) in cases {
            assert_eq!(anna().text(text), redacted);
        }
    }
}
