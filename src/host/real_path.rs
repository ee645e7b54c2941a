//! Where a path really leads, as a person would write it.

use std::io;
use std::path::{Path, PathBuf};

/// Above this length, in characters, Windows programs need the prefix.
/// Source: <https://learn.microsoft.com/windows/win32/fileio/maximum-file-path-limitation>, checked 2026-11-23.
const LONGEST_PLAIN: usize = 259;

/// Links resolved, absolute. Windows answers with the prefix `\\\\?\\`, which many programs and all people stumble over: it goes
/// where the path works without. Disks that Windows cannot ask for their final names (RAM disks, some shares; wine's long
/// paths) answer with the absolute path, links and all.
pub fn real_path(path: &Path) -> io::Result<PathBuf> {
    match fs_err::canonicalize(path) {
        Ok(real) if cfg!(windows) => Ok(without_prefix(real)),
        Err(error) if cfg!(windows) && error.kind() != io::ErrorKind::NotFound && path.exists() => {
            std::path::absolute(path)
        }
        result => result,
    }
}

fn without_prefix(path: PathBuf) -> PathBuf {
    let Some(text) = path.to_str() else { return path };
    let plain = match (text.strip_prefix(r"\\?\UNC\"), text.strip_prefix(r"\\?\")) {
        (Some(share), _) => format!(r"\\{share}"),
        (None, Some(rest)) if rest.get(1..3) == Some(r":\") => rest.to_owned(),
        _ => return path,
    };
    // Windows would read these otherwise than they are written.
    let odd = plain
        .split('\\')
        .skip(1)
        .any(|name| super::file_names::unusable_on_windows(name).is_some_and(|_| !name.is_empty()));
    if odd || plain.encode_utf16().count() > LONGEST_PLAIN { path } else { PathBuf::from(plain) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prefix_goes_where_it_is_not_needed() {
        let plain = |text: &str| without_prefix(PathBuf::from(text)).to_str().unwrap().to_owned();
        assert_eq!(plain(r"\\?\C:\llama\ggml.dll"), r"C:\llama\ggml.dll");
        assert_eq!(plain(r"\\?\UNC\server\share\ggml.dll"), r"\\server\share\ggml.dll");
        assert_eq!(plain(r"C:\llama"), r"C:\llama");
        assert_eq!(plain("/usr/lib"), "/usr/lib");
    }

    #[test]
    fn it_stays_where_the_path_needs_it() {
        let long = format!(r"\\?\C:\{}", "long\\".repeat(60));
        for text in [r"\\?\C:\aux\ggml.dll", r"\\?\C:\dot.\x", r"\\?\Volume{1}\x", &long] {
            assert_eq!(without_prefix(PathBuf::from(text)), PathBuf::from(text));
        }
    }
}
