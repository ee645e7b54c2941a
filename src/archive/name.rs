//! Which entry names may become files. The same rules on every system: an archive that is refused on Windows is refused on Linux.

use std::fmt;

use crate::host::file_names;

/// Why an entry is refused, as the end of a sentence about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    NotText,
    Empty,
    ControlCharacter,
    Absolute,
    Backslash,
    Colon,
    Parent,
    Device(String),
    TrailingDotOrSpace,
    TooDeep,
    TooLong,
    Twice(String),
    ThroughLink(String),
    LinkLeaves(String),
    LinkNowhere(String),
    Special(&'static str),
    Encrypted,
    Method(String),
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotText => write!(formatter, "has a name that is not UTF-8"),
            Self::Empty => write!(formatter, "has no name"),
            Self::ControlCharacter => write!(formatter, "has a control character in its name"),
            Self::Absolute => write!(formatter, "has an absolute path"),
            Self::Backslash => write!(formatter, "has a backslash in its name"),
            Self::Colon => write!(formatter, "has a colon in its name: a drive or a hidden stream on Windows"),
            Self::Parent => write!(formatter, "leads out of the folder with `..`"),
            Self::Device(name) => write!(formatter, "bears the name of a Windows device, `{name}`"),
            Self::TrailingDotOrSpace => write!(formatter, "ends with a dot or a space, which Windows drops"),
            Self::TooDeep => write!(formatter, "lies more than {MOST_DEPTH} folders deep"),
            Self::TooLong => write!(formatter, "has a name that is too long"),
            Self::Twice(other) => write!(formatter, "is the same file as `{other}`"),
            Self::ThroughLink(link) => write!(formatter, "would be written through the link `{link}`"),
            Self::LinkLeaves(target) => write!(formatter, "is a link that leaves the folder, to `{target}`"),
            Self::LinkNowhere(target) => write!(formatter, "is a link to `{target}`, which is not in the archive"),
            Self::Special(what) => write!(formatter, "is {what}, not a file"),
            Self::Encrypted => write!(formatter, "is encrypted"),
            Self::Method(method) => write!(formatter, "is packed with {method}, which official archives never use"),
        }
    }
}

const MOST_DEPTH: usize = 32;
const LONGEST_NAME: usize = 1024;
/// The limit of Linux' file systems.
const LONGEST_COMPONENT: usize = 255;

/// The name as it may be used below a folder: relative, `/` between its parts, no `.` parts. An empty result is the folder itself.
pub fn safe_name(raw: &[u8]) -> Result<String, Refusal> {
    let name = str::from_utf8(raw).map_err(|_| Refusal::NotText)?;
    if name.is_empty() {
        return Err(Refusal::Empty);
    }
    if name.chars().any(char::is_control) {
        return Err(Refusal::ControlCharacter);
    }
    if name.starts_with('/') {
        return Err(Refusal::Absolute);
    }
    if name.contains('\\') {
        return Err(Refusal::Backslash);
    }
    if name.contains(':') {
        return Err(Refusal::Colon);
    }
    if name.len() > LONGEST_NAME {
        return Err(Refusal::TooLong);
    }
    let parts: Vec<&str> = name.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    if parts.len() > MOST_DEPTH {
        return Err(Refusal::TooDeep);
    }
    for part in &parts {
        check_part(part)?;
    }
    Ok(parts.join("/"))
}

fn check_part(part: &str) -> Result<(), Refusal> {
    if part == ".." {
        return Err(Refusal::Parent);
    }
    if part.len() > LONGEST_COMPONENT {
        return Err(Refusal::TooLong);
    }
    if part.ends_with(['.', ' ']) {
        return Err(Refusal::TrailingDotOrSpace);
    }
    if file_names::is_device(part) {
        return Err(Refusal::Device(part.to_owned()));
    }
    Ok(())
}

/// Where a link named `link` with target `target` leads, both below one folder; refused when it leads out.
pub(super) fn link_target(link: &str, target: &[u8]) -> Result<String, Refusal> {
    let text = str::from_utf8(target).map_err(|_| Refusal::NotText)?;
    let leaves = || Refusal::LinkLeaves(text.to_owned());
    if text.is_empty() || text.starts_with('/') || text.contains(['\\', ':']) || text.chars().any(char::is_control) {
        return Err(leaves());
    }
    let mut at: Vec<&str> = link.split('/').collect();
    at.pop();
    let mut is_below = false;
    for part in text.split('/').filter(|part| !part.is_empty() && *part != ".") {
        if part == ".." {
            // `..` after a name may pass through another link, where it means something else than it says.
            if is_below {
                return Err(leaves());
            }
            at.pop().ok_or_else(leaves)?;
        } else {
            check_part(part)?;
            is_below = true;
            at.push(part);
        }
    }
    if at.is_empty() { Err(leaves()) } else { Ok(at.join("/")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_stay_below_their_folder() {
        assert_eq!(link_target("libllama.so", b"libllama.so.0").unwrap(), "libllama.so.0");
        assert_eq!(link_target("a/b/c", b"../d").unwrap(), "a/d");
        assert!(link_target("a/b", b"../../d").is_err());
        assert!(link_target("a/b", b"x/../../../etc").is_err());
        assert!(link_target("a", b"/etc/passwd").is_err());
        assert!(link_target("a", b"C:x").is_err());
        assert!(link_target("a", b"").is_err());
    }

    #[test]
    fn ordinary_names_pass() {
        assert_eq!(safe_name(b"./llama-b1/lib x-1.2.so.0").unwrap(), "llama-b1/lib x-1.2.so.0");
        assert_eq!(safe_name(b"./").unwrap(), "");
        assert_eq!(safe_name(b"concept.txt").unwrap(), "concept.txt");
        assert_eq!(safe_name("Größe.md".as_bytes()).unwrap(), "Größe.md");
    }
}
