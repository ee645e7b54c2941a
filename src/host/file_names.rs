//! Which file names every system of ours can hold. Windows decides: what it accepts, Linux does, too.

/// Names that mean devices on Windows, with any extension: `nul.txt` is the null device.
/// Source: <https://learn.microsoft.com/windows/win32/fileio/naming-a-file>, checked 2026-11-23.
const DEVICES: &[&str] = &["aux", "clock$", "con", "nul", "prn", "conin$", "conout$"];

/// Port names: these and one digit, the superscript digits included.
const NUMBERED_DEVICES: &[&str] = &["com", "lpt"];

/// Why `name`, one component of a path, cannot be a file on Windows; `None` when it can.
pub fn unusable_on_windows(name: &str) -> Option<&'static str> {
    if name.is_empty() || name == "." || name == ".." {
        return Some("it names no file");
    }
    if name.chars().any(|character| character < ' ' || r#"<>:"/\|?*"#.contains(character)) {
        return Some("it has a character that Windows forbids");
    }
    if name.ends_with(['.', ' ']) {
        return Some("Windows drops a dot or space at the end");
    }
    is_device(name).then_some("Windows takes it for a device")
}

/// The nearest name that every system accepts: forbidden characters become `_`.
pub fn usable(name: &str) -> String {
    let mut usable: String = name
        .chars()
        .map(|character| if character < ' ' || r#"<>:"/\|?*"#.contains(character) { '_' } else { character })
        .collect();
    usable.truncate(usable.trim_end_matches(['.', ' ']).len());
    if usable.is_empty() || is_device(&usable) {
        usable.insert(0, '_');
    }
    usable
}

/// Whether Windows takes one component of a path for a device.
pub fn is_device(name: &str) -> bool {
    // Windows ignores the extension and spaces before it: `nul .tar.gz` is a device, too.
    let stem = name.split('.').next().unwrap_or_default().trim_end_matches(' ').to_lowercase();
    let is_digit = |rest: &str| {
        let mut characters = rest.chars();
        matches!((characters.next(), characters.next()), (Some('0'..='9' | '¹' | '²' | '³'), None))
    };
    DEVICES.contains(&stem.as_str())
        || NUMBERED_DEVICES.iter().any(|device| stem.strip_prefix(device).is_some_and(is_digit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_and_odd_ends_are_found() {
        for name in [
            "NUL",
            "nul.txt",
            "Com1",
            "lpt9.log",
            "com¹",
            "aux .tar.gz",
            "CONIN$",
            "a:b",
            "a\\b",
            "x.",
            "x ",
            "",
            "a\nb",
        ] {
            assert!(unusable_on_windows(name).is_some(), "{name:?}");
            assert_eq!(unusable_on_windows(&usable(name)), None, "{name:?} -> {:?}", usable(name));
        }
        for name in
            ["llama-server.exe", "null", "com", "com10", "console", "Qwen2.5-14B.gguf", ".hidden", "ünïcode 模型"]
        {
            assert_eq!(unusable_on_windows(name), None, "{name:?}");
            assert_eq!(usable(name), name);
        }
    }

    #[test]
    fn what_is_left_of_a_bad_name_is_readable() {
        assert_eq!(usable("org/model:Q4_K_M"), "org_model_Q4_K_M");
        assert_eq!(usable("con"), "_con");
        assert_eq!(usable("..."), "_");
    }
}
