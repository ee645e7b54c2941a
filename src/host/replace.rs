//! Moving, writing and removing files where another program may be looking at them.
//!
//! On Windows a file cannot be replaced while it runs or is read without sharing: a virus scanner holds a fresh file for
//! a moment, a running `llama-server.exe` for hours. The first is waited for; the second is moved aside, which Windows
//! allows, and removed by the next [`remove_leftovers`]. A mark "read-only" is in the way there, too, and is taken off:
//! whoever replaces or removes a file was asked to.

use std::io::{self, Write as _};
use std::path::Path;
use std::time::Duration;

use super::read_only;

/// Marks what was moved aside: `llama-server.exe.in-use-0`.
const ASIDE: &str = ".in-use-";

/// Scanners let go within tenths of a second; two seconds in all are enough and not yet annoying.
const WAITS: [Duration; 6] = [
    Duration::from_millis(20),
    Duration::from_millis(50),
    Duration::from_millis(130),
    Duration::from_millis(300),
    Duration::from_millis(500),
    Duration::from_secs(1),
];

/// Renames `from` to `to`, replacing a file that is there.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    let waited = patiently(to, || plain::rename(from, to));
    if waited.as_ref().is_err_and(is_in_use) && to.is_file() {
        move_aside(to)?;
    } else if waited.is_ok() {
        return Ok(());
    }
    // Once more for an error that names both files.
    fs_err::rename(from, to)
}

/// Writes a file whole or not at all: a reader sees the old bytes or the new ones.
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    let mut file = with_usual_rights(builder.prefix(".llama-doctor-")).tempfile_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    persist(file, path)
}

/// Gives a finished temporary file its name, replacing a file that is there.
pub fn persist(file: tempfile::NamedTempFile, path: &Path) -> io::Result<()> {
    // Closed first: Windows does not rename a file that is open for writing.
    rename(&file.into_temp_path(), path)
}

/// Removes a file. One that runs is moved aside and removed later.
pub fn remove_file(path: &Path) -> io::Result<()> {
    match patiently(path, || plain::remove_file(path)) {
        Ok(()) => Ok(()),
        Err(error) if is_in_use(&error) && path.is_file() => move_aside(path),
        // Once more for an error that names the file.
        Err(_) => fs_err::remove_file(path),
    }
}

/// Removes a folder and what is in it. Fails where a file of it is in use for longer than a moment.
pub fn remove_folder(path: &Path) -> io::Result<()> {
    patiently(path, || plain::remove_dir_all(path)).or_else(|_| fs_err::remove_dir_all(path))
}

/// Removes what earlier calls moved aside in `folder`, as far as it is free by now.
pub fn remove_leftovers(folder: &Path) -> io::Result<()> {
    for entry in fs_err::read_dir(folder)? {
        let path = entry?.path();
        let is_aside = path.extension().is_some_and(|extension| extension.to_string_lossy().starts_with(&ASIDE[1..]));
        if is_aside {
            read_only::take_off(&path);
            match plain::remove_file(&path) {
                Err(error) if !is_in_use(&error) && error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
    }
    Ok(())
}

fn move_aside(path: &Path) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut number = 0_u32;
    loop {
        let aside = path.with_file_name(format!("{name}{ASIDE}{number}"));
        if !aside.exists() {
            return fs_err::rename(path, aside);
        }
        number += 1;
    }
}

/// Repeats what fails because `path` is marked read-only, once, or because another program looks at it, with growing
/// pauses.
fn patiently<T>(path: &Path, mut action: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let mut waits = WAITS.iter();
    let mut is_first = true;
    loop {
        match action() {
            Err(error) if is_in_use(&error) && std::mem::take(&mut is_first) && read_only::take_off(path) => {}
            Err(error) if is_in_use(&error) => match waits.next() {
                Some(wait) => std::thread::sleep(*wait),
                None => return Err(error),
            },
            result => return result,
        }
    }
}

/// Without `fs_err`, whose errors name the path but hide the system's code.
#[expect(clippy::disallowed_methods, reason = "the code decides what to do; the error that leaves names the path")]
mod plain {
    use std::io;
    use std::path::Path;

    pub(super) fn rename(from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    pub(super) fn remove_file(path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    pub(super) fn remove_dir_all(path: &Path) -> io::Result<()> {
        std::fs::remove_dir_all(path)
    }
}

/// Windows' codes for a file that someone holds: access denied (a running program, or a deletion that is pending),
/// sharing violation, lock violation. On other systems nothing is ever in use.
/// Source: <https://learn.microsoft.com/windows/win32/debug/system-error-codes--0-499->, checked 2026-11-23.
fn is_in_use(error: &io::Error) -> bool {
    const ACCESS_DENIED: i32 = 5;
    const SHARING_VIOLATION: i32 = 32;
    const LOCK_VIOLATION: i32 = 33;
    let code = error.raw_os_error();
    cfg!(windows) && matches!(code, Some(ACCESS_DENIED | SHARING_VIOLATION | LOCK_VIOLATION))
}

/// A temporary file is private to its owner; what replaces a usual file is not. The umask still applies.
#[cfg(unix)]
fn with_usual_rights<'a, 'b, 'c>(builder: &'c mut tempfile::Builder<'a, 'b>) -> &'c mut tempfile::Builder<'a, 'b> {
    use std::os::unix::fs::PermissionsExt as _;
    builder.permissions(std::fs::Permissions::from_mode(0o666))
}

#[cfg(not(unix))]
fn with_usual_rights<'a, 'b, 'c>(builder: &'c mut tempfile::Builder<'a, 'b>) -> &'c mut tempfile::Builder<'a, 'b> {
    builder
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_and_no_temporary_file_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("receipt.json");
        write(&path, b"old").unwrap();
        write(&path, b"new").unwrap();
        assert_eq!(fs_err::read(&path).unwrap(), b"new");
        assert_eq!(fs_err::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn absence_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let began = std::time::Instant::now();
        assert_eq!(remove_file(&folder.path().join("absent")).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert!(began.elapsed() < WAITS[WAITS.len() - 1]);
    }

    #[test]
    fn leftovers_go_and_the_rest_stays() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["llama-server.exe", "llama-server.exe.in-use-0", "x.in-use-12"] {
            fs_err::write(folder.path().join(name), b"").unwrap();
        }
        remove_leftovers(folder.path()).unwrap();
        let left: Vec<_> = fs_err::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["llama-server.exe"]);
    }

    #[cfg(windows)]
    #[test]
    fn a_file_that_is_let_go_after_a_moment_is_waited_for() {
        use std::os::windows::fs::OpenOptionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("scanned.dll");
        fs_err::write(&path, b"old").unwrap();
        let scanner = std::fs::OpenOptions::new().read(true).share_mode(0).open(&path).unwrap();
        let letting_go = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(250));
            drop(scanner);
        });
        write(&path, b"new").unwrap();
        letting_go.join().unwrap();
        assert_eq!(fs_err::read(&path).unwrap(), b"new");
    }

    #[test]
    fn a_mark_read_only_is_not_in_the_way() {
        let folder = tempfile::tempdir().unwrap();
        let marked = |name: &str| {
            let path = folder.path().join(name);
            fs_err::create_dir_all(path.parent().unwrap()).unwrap();
            fs_err::write(&path, b"old").unwrap();
            let mut permissions = fs_err::metadata(&path).unwrap().permissions();
            permissions.set_readonly(true);
            fs_err::set_permissions(&path, permissions).unwrap();
            path
        };
        let began = std::time::Instant::now();
        write(&marked("replaced.dll"), b"new").unwrap();
        assert_eq!(fs_err::read(folder.path().join("replaced.dll")).unwrap(), b"new");
        remove_file(&marked("removed.dll")).unwrap();
        marked("build/bin/deep.dll");
        remove_folder(&folder.path().join("build")).unwrap();
        marked("x.dll.in-use-0");
        remove_leftovers(folder.path()).unwrap();
        assert_eq!(fs_err::read_dir(folder.path()).unwrap().count(), 1);
        // It is no other program's doing, so nobody is waited for.
        assert!(began.elapsed() < WAITS[WAITS.len() - 1]);
    }

    #[cfg(windows)]
    #[test]
    fn a_running_program_is_moved_aside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("running.exe");
        // Any program does; this one waits for its input to end.
        fs_err::copy(r"C:\Windows\System32\cmd.exe", &path).unwrap();
        let mut child = std::process::Command::new(&path)
            .args(["/c", "set /p line="])
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        write(&path, b"the next version").unwrap();
        assert_eq!(fs_err::read(&path).unwrap(), b"the next version");
        drop(child.stdin.take());
        child.wait().unwrap();
        remove_leftovers(folder.path()).unwrap();
        assert_eq!(fs_err::read_dir(folder.path()).unwrap().count(), 1);
    }
}
