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
    /// With the separators of both systems, the longest first.
    homes: Vec<String>,
    /// The longest first: `anna-pc` holds `anna`.
    names: Vec<Name>,
    /// `ANNALI~1`, as Windows shortens a name.
    short: Vec<Regex>,
}

#[derive(Debug, Clone)]
struct Name {
    text: String,
    instead: &'static str,
    /// A word of every report, such as `mark` or `linux`: it is replaced where it is a folder, and left in sentences.
    ordinary: bool,
}

impl Redaction {
    /// `vocabulary` is what reports say of every machine: the names of fields, the texts of checks.
    pub fn of(host: &Host, vocabulary: &str) -> Self {
        let variable = |name: &str| host.text_variable(name);
        let own_homes: Vec<String> = ["HOME", "USERPROFILE"].into_iter().filter_map(variable).collect();
        let real = own_homes.iter().filter_map(|home| fs_err::canonicalize(home).ok());
        let real: Vec<String> = real.map(|home| home.to_string_lossy().into_owned()).collect();
        let users = ["USER", "LOGNAME", "USERNAME", "SUDO_USER"].into_iter().filter_map(variable);
        let file = host.read_to_string("/etc/hostname").ok().map(|name| name.trim().to_owned());
        let hosts = ["HOSTNAME", "COMPUTERNAME", "NAME"].into_iter().filter_map(variable).chain(file);
        let of_homes = own_homes.iter().filter_map(|home| home.rsplit(['/', '\\']).next()).map(str::to_owned);
        let homes: Vec<String> = own_homes.iter().cloned().chain(real).collect();
        let (users, hosts): (Vec<String>, Vec<String>) = (users.chain(of_homes).collect(), hosts.collect());
        Self::naming(&homes, &users, &hosts, vocabulary)
    }

    /// As [`Redaction::of`], with the names given.
    pub fn naming(homes: &[String], users: &[String], hosts: &[String], vocabulary: &str) -> Self {
        let vocabulary = vocabulary.to_ascii_lowercase();
        let named = |text: String, instead| {
            let ordinary = text.len() < 3 || of_every_system(&text) || find_word(&vocabulary, &text, 0).is_some();
            Name { text, instead, ordinary }
        };
        let labels = hosts.iter().filter_map(|host| host.split('.').next()).map(str::to_owned).collect::<Vec<_>>();
        let mut names: Vec<Name> = users.iter().cloned().map(|name| named(name, "user")).collect();
        names.extend(hosts.iter().cloned().chain(labels).map(|name| named(name, "host")));
        names.retain(|name| telling(&name.text));
        names.sort_by(|one, other| (other.text.len(), &one.text).cmp(&(one.text.len(), &other.text)));
        names.dedup_by(|one, other| one.text == other.text);
        let plain = |home: &String| home.trim_end_matches(['/', '\\']).to_owned();
        let mut spelled: Vec<String> = homes.iter().map(plain).filter(|home| home.len() > 3).collect();
        spelled.extend(spelled.clone().iter().map(|home| home.replace('\\', "/")));
        spelled.sort_by_key(|home| std::cmp::Reverse(home.len()));
        spelled.dedup();
        let short = users.iter().filter_map(|user| shortened(user)).collect();
        Self { homes: spelled, names, short }
    }

    pub fn text(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for home in &self.homes {
            text = replace_where(&text, home, |text, end| {
                let after = text[end..].chars().next();
                after.is_none_or(|c| !(c.is_alphanumeric() || "-_.~".contains(c))).then(|| ("~".to_owned(), end))
            });
        }
        for (pattern, instead) in PATTERNS.iter() {
            text = pattern.replace_all(&text, *instead).into_owned();
        }
        for short in &self.short {
            text = short.replace_all(&text, "user").into_owned();
        }
        for name in &self.names {
            text = replace_where(&text, &name.text, |text, end| {
                let start = end - name.text.len();
                let fits = if name.ordinary {
                    is_folder(text, start, end) && !of_every_system(&name.text)
                } else {
                    is_word(text, start, end)
                };
                // A host's domain goes with it.
                let end = if name.instead == "host" { end + domain(&text[end..]) } else { end };
                fits.then(|| (name.instead.to_owned(), end))
            });
        }
        hide_hosts(&text)
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

/// Names that many machines share say nothing of a person; numbers are everywhere.
fn telling(name: &str) -> bool {
    let shared = ["root", "user", "admin", "administrator", "localhost", "ubuntu", "nvidia", "host"];
    name.chars().any(char::is_alphabetic) && !shared.contains(&name.to_ascii_lowercase().as_str())
}

/// Folders of every system, for a user who is called like one.
fn of_every_system(name: &str) -> bool {
    const FOLDERS: &str = "usr lib lib64 bin sbin opt etc var tmp srv mnt media home root run dev proc sys boot share \
        local cache config data models model users windows system32 program files programs appdata roaming temp \
        cuda compat stubs wsl drivers modules kernel build builds current package packages site-packages hub \
        snapshots blobs huggingface llama llama.cpp ggml nvidia x86_64-linux-gnu aarch64-linux-gnu";
    FOLDERS.split_whitespace().any(|folder| folder.eq_ignore_ascii_case(name))
}

/// `annaliese` → `ANNALI~1`: six letters, a tilde, a digit.
fn shortened(user: &str) -> Option<Regex> {
    let letters: String = user.chars().filter(char::is_ascii_alphanumeric).take(6).collect();
    let long = user.chars().count() > 8 || user.contains([' ', '.']);
    (long && letters.len() >= 2).then(|| Regex::new(&format!("(?i){letters}~[0-9]")).ok()).flatten()
}

/// Tokens, credentials in addresses, other users' homes, addresses of a local network, and the part of a GPU's number
/// that makes it unique.
#[expect(clippy::unwrap_used, reason = "the patterns are literals, and a test uses each")]
static PATTERNS: LazyLock<Vec<(Regex, &'static str)>> = LazyLock::new(|| {
    [
        (r"\bhf_[A-Za-z0-9]{8,}", "hf_(token)"),
        (r"\b(gh[pousr]_|github_pat_|glpat-|sk-|ms-|npm_|xox[abp]-|AIza|eyJ)[A-Za-z0-9_.-]{16,}", "${1}(token)"),
        (r"\bAKIA[0-9A-Z]{16}\b", "(token)"),
        (r"(?i)\bbearer +[A-Za-z0-9._~+/=-]{8,}", "Bearer (token)"),
        (r#"(?i)\b([a-z0-9_-]*(?:token|secret|passw(?:or)?d|api[_-]?key))=["']?[^\s"',;&]+"#, "${1}=(secret)"),
        (r"(://)[^/@\s]+@", "${1}(credentials)@"),
        (r"(?i)((?:/|\\)(?:home|users|documents and settings)(?:/|\\))[^/\\:;,\x22'\n]+([/\\])", "${1}user${2}"),
        (r"(?i)((?:/|\\)(?:home|users|documents and settings)(?:/|\\))[^/\\\s:;,\x22')]+", "${1}user"),
        (r"(GPU|MIG)-([0-9a-fA-F]{8})-[0-9a-fA-F-]{20,}", "${1}-${2}-(rest)"),
        (r"\b[A-Za-z0-9._+-]+@[A-Za-z][A-Za-z0-9.-]*", "(someone)@(host)"),
        (r"(^|[^\\])\\\\[A-Za-z0-9][^\\/\s]*\\", r"${1}\\host\"),
        (r"(?i)(\\\\\?\\UNC\\)[^\\\s]+", "${1}host"),
        (r"(^|[\s=/@(\[])(?:192\.168|172\.(?:1[6-9]|2[0-9]|3[01]))\.[0-9]{1,3}\.[0-9]{1,3}\b", "${1}(address)"),
        (r"([\s=/@(\[])10\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}\b", "${1}(address)"),
    ]
    .into_iter()
    .map(|(pattern, instead)| (Regex::new(pattern).unwrap(), instead))
    .collect()
});

/// Hosts that our own texts and everybody's downloads name. Any other in an address tells where a person works.
const PUBLIC_HOSTS: &[&str] = &[
    "github.com",
    "githubusercontent.com",
    "ghcr.io",
    "huggingface.co",
    "modelscope.cn",
    "nvidia.com",
    "microsoft.com",
    "kernel.org",
    "llama.app",
    "localhost",
    "127.0.0.1",
    "0.0.0.0",
];

#[expect(clippy::unwrap_used, reason = "the pattern is a literal, and a test uses it")]
static ADDRESS: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"(://(?:\(credentials\)@)?)([A-Za-z0-9.-]+)").unwrap());

fn hide_hosts(text: &str) -> String {
    let hide = |found: &regex_lite::Captures<'_>| {
        let host = found[2].to_ascii_lowercase();
        let public = PUBLIC_HOSTS.iter().any(|known| host == *known || host.ends_with(&format!(".{known}")));
        format!("{}{}", &found[1], if public { &found[2] } else { "(host)" })
    };
    ADDRESS.replace_all(text, hide).into_owned()
}

/// Replaces each `word`, in any case, where `judge` says by what, and up to where.
fn replace_where(text: &str, word: &str, judge: impl Fn(&str, usize) -> Option<(String, usize)>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut from = 0;
    while let Some(start) = find_word(text, word, from) {
        let (instead, end) = judge(text, start + word.len()).unwrap_or_else(|| {
            let end = start + word.len();
            (text[start..end].to_owned(), end)
        });
        out.push_str(&text[from..start]);
        out.push_str(&instead);
        from = end;
    }
    out.push_str(&text[from..]);
    out
}

/// Where `word` stands, in any case, from `from` on. Only whole characters count.
fn find_word(text: &str, word: &str, from: usize) -> Option<usize> {
    let (text, word) = (text.as_bytes(), word.as_bytes());
    let last = text.len().checked_sub(word.len()).filter(|_| !word.is_empty())?;
    (from..=last).find(|&at| text[at..at + word.len()].eq_ignore_ascii_case(word))
}

fn before(text: &str, start: usize) -> Option<char> {
    text[..start].chars().next_back()
}

/// No letter or digit touches it: `ann` is not taken out of `annotation`.
fn is_word(text: &str, start: usize, end: usize) -> bool {
    let touches = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    !touches(before(text, start)) && !touches(text[end..].chars().next())
}

/// A separator before it, and a separator or the end behind.
fn is_folder(text: &str, start: usize, end: usize) -> bool {
    let separates = |c: char| c == '/' || c == '\\';
    before(text, start).is_some_and(separates) && text[end..].chars().next().is_none_or(|c| separates(c) || c == ':')
}

/// How long the `.example.org` behind a host's name is.
fn domain(rest: &str) -> usize {
    let is_label = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let mut length = 0;
    while let Some(label) = rest[length..].strip_prefix('.') {
        let end = label.find(|c: char| !is_label(c)).unwrap_or(label.len());
        if end == 0 {
            break;
        }
        length += 1 + end;
    }
    length
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(list: &[&str]) -> Vec<String> {
        list.iter().map(|text| (*text).to_owned()).collect()
    }

    fn redaction(homes: &[&str], users: &[&str], hosts: &[&str]) -> Redaction {
        Redaction::naming(&texts(homes), &texts(users), &texts(hosts), "the mark of the web; linux; jan, lm-studio")
    }

    fn anna() -> Redaction {
        redaction(&["/home/anna", r"C:\Users\anna"], &["anna"], &["anna-pc", "gpu7.lab.example.org"])
    }

    #[test]
    fn names_homes_hosts_and_tokens_go() {
        let cases = [
            ("/home/anna/models/x.gguf", "~/models/x.gguf"),
            ("/home/annabel/models", "/home/user/models"),
            ("/home/anna-old/models", "/home/user/models"),
            (r"C:\Users\anna\AppData", r"~\AppData"),
            (r"c:/users/ANNA/AppData", "~/AppData"),
            (r"D:\Users\bert\x", r"D:\Users\user\x"),
            (r"D:\Users\Bert van Dam\x", r"D:\Users\user\x"),
            (r"\\wsl.localhost\Ubuntu\home\bert\x", r"\\host\Ubuntu\home\user\x"),
            (r"\\?\C:\Users\bert\x", r"\\?\C:\Users\user\x"),
            (r"\\?\UNC\filer\models", r"\\?\UNC\host\models"),
            (r"\\filer\models\x.gguf", r"\\host\models\x.gguf"),
            ("annotation of anna on anna-pc", "annotation of user on host"),
            ("Anna at gpu7.lab.example.org:8080, GPU7", "user at host:8080, host"),
            ("/srv/anna/models", "/srv/user/models"),
            ("token hf_AbCdEfGhIjKlMnOpQrStUvWxYz", "token hf_(token)"),
            ("ghp_0123456789abcdef0123456789", "ghp_(token)"),
            ("AKIA0123456789ABCDEF", "(token)"),
            ("LLAMA_API_KEY=hunter2;x", "LLAMA_API_KEY=(secret);x"),
            ("https://x.example.com/?token=abc&a=1", "https://(host)/?token=(secret)&a=1"),
            ("http://bert:secret@proxy.example.com:3128/", "http://(credentials)@(host):3128/"),
            ("https://github.com/ggml-org/llama.cpp", "https://github.com/ggml-org/llama.cpp"),
            ("bert@tower.example.com:/x", "(someone)@(host):/x"),
            ("Authorization: Bearer abcdefghijkl", "Authorization: Bearer (token)"),
            ("GPU-10000000-fa4e-4000-8000-000000000001", "GPU-10000000-(rest)"),
            ("192.168.1.20", "(address)"),
            ("--host 10.1.2.3", "--host (address)"),
            ("/usr/lib/x86_64-linux-gnu/libcuda.so.1", "/usr/lib/x86_64-linux-gnu/libcuda.so.1"),
            ("/opt/libcublas.so.12.8.4.1 13.10.0.20", "/opt/libcublas.so.12.8.4.1 13.10.0.20"),
        ];
        for (text, redacted) in cases {
            assert_eq!(anna().text(text), redacted, "{text}");
        }
    }

    #[test]
    fn users_called_like_words_lose_their_folders_and_no_sentence() {
        let mark = redaction(&["/home/mark"], &["mark"], &["linux"]);
        assert_eq!(mark.text("the mark of Linux in /srv/mark/x"), "the mark of Linux in /srv/user/x");
        let lib = redaction(&["/home/lib"], &["lib", "jo"], &[]);
        assert_eq!(lib.text("/usr/lib/libjo.so of /data/jo"), "/usr/lib/libjo.so of /data/user");
        assert_eq!(
            redaction(&[], &["root", "1000", ""], &["localhost"]).text("root on localhost 1000"),
            "root on localhost 1000"
        );
    }

    #[test]
    fn short_names_of_windows_go() {
        let long = redaction(&[r"C:\Users\annaliese.huber"], &["annaliese.huber"], &[]);
        assert_eq!(long.text(r"D:\x\ANNALI~1\y and C:\Users\ANNALI~1\z"), r"D:\x\user\y and C:\Users\user\z");
        let spaced = redaction(&[r"C:\Users\Zoë Q"], &["Zoë Q"], &[]);
        assert_eq!(spaced.text(r"C:\Users\Zoë Q\z of Zoë Q"), r"~\z of user");
    }
}
