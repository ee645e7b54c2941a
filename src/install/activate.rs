//! Which build is in use: switched in one step, and switched back.

use std::io;
use std::path::PathBuf;

use super::InstallError;
use super::receipt::Receipt;
use super::store::{Installed, Store, StoreLock};
use crate::build::at_hand::KnownCuda;
use crate::host::replace;

/// Remembered activations. Nobody goes back further.
const MOST_REMEMBERED: usize = 50;

impl Store {
    /// The build in use, if one is and it is still there.
    pub fn current(&self) -> Result<Option<Installed>, InstallError> {
        match self.current_id()? {
            Some(id) => match self.find(&id) {
                Ok(build) => Ok(Some(build)),
                Err(InstallError::NoBuild { .. }) => Ok(None),
                Err(error) => Err(error),
            },
            None => Ok(None),
        }
    }

    /// Where programs find the build in use, under a name that outlives updates. On Windows the folder of `.cmd` files.
    pub fn stable_path(&self) -> PathBuf {
        self.root.join(if cfg!(windows) { "bin" } else { "current" })
    }

    fn pointer(&self) -> PathBuf {
        self.root.join("current")
    }

    pub(super) fn point_nowhere(&self) -> Result<(), InstallError> {
        Ok(replace::remove_file(&self.pointer())?)
    }

    #[cfg(unix)]
    pub(super) fn current_id(&self) -> Result<Option<String>, InstallError> {
        match fs_err::read_link(self.pointer()) {
            Ok(to) => Ok(to.file_name().map(|name| name.to_string_lossy().into_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    #[cfg(unix)]
    fn point_to(&self, build: &Installed) -> Result<(), InstallError> {
        // A new link renamed over the old one: at no time is there none.
        let fresh = self.root.join(format!(".current-{}", std::process::id()));
        match fs_err::remove_file(&fresh) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        fs_err::os::unix::fs::symlink(PathBuf::from("builds").join(&build.receipt.id), &fresh)?;
        Ok(fs_err::rename(&fresh, self.pointer())?)
    }

    #[cfg(windows)]
    pub(super) fn current_id(&self) -> Result<Option<String>, InstallError> {
        match fs_err::read_to_string(self.pointer()) {
            Ok(text) => Ok(Some(text.trim().to_owned()).filter(|id| !id.is_empty())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Links need a privilege on Windows: there, a file holds the name, and a `.cmd` for each program reads it.
    #[cfg(windows)]
    fn point_to(&self, build: &Installed) -> Result<(), InstallError> {
        let folder = self.root.join("bin");
        fs_err::create_dir_all(&folder)?;
        for name in build.receipt.files.keys().filter(|name| !name.contains('/')) {
            if let Some(stem) = name.strip_suffix(".exe") {
                replace::write(&folder.join(format!("{stem}.cmd")), shim(name).as_bytes())?;
            }
        }
        Ok(replace::write(&self.pointer(), format!("{}\r\n", build.receipt.id).as_bytes())?)
    }

    /// Puts a build to use. The caller has proven it; what plans need of its CUDA code is read once, here.
    pub fn activate(&self, build: &Installed, _: &StoreLock) -> Result<(), InstallError> {
        let cuda = build.server().as_deref().and_then(KnownCuda::beside);
        if cuda != build.receipt.cuda {
            Receipt { cuda, ..build.receipt.clone() }.write(&build.path)?;
        }
        self.point_to(build)?;
        let mut history = self.history()?;
        if history.last() != Some(&build.receipt.id) {
            history.push(build.receipt.id.clone());
        }
        self.remember(&history)
    }

    /// Takes an activation back as if it had not been: the build in use and the memory are those of before.
    pub fn reactivate(&self, build: &Installed, history: &[String], _: &StoreLock) -> Result<(), InstallError> {
        self.point_to(build)?;
        self.remember(history)
    }

    /// Goes back to the build that was in use before, of those that are still there.
    pub fn roll_back(&self, _: &StoreLock) -> Result<Installed, InstallError> {
        let current = self.current_id()?.ok_or(InstallError::NoneInUse)?;
        let mut history = self.history()?;
        while let Some(id) = history.pop() {
            if id == current {
                continue;
            }
            if let Ok(build) = self.find(&id) {
                history.push(id);
                self.point_to(&build)?;
                self.remember(&history)?;
                return Ok(build);
            }
        }
        Err(InstallError::NoEarlier)
    }

    /// The builds that were put to use, the newest last.
    pub fn history(&self) -> Result<Vec<String>, InstallError> {
        match fs_err::read_to_string(self.root.join("activations")) {
            Ok(text) => Ok(text.lines().map(str::to_owned).filter(|line| !line.is_empty()).collect()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error.into()),
        }
    }

    fn remember(&self, history: &[String]) -> Result<(), InstallError> {
        let newest = &history[history.len().saturating_sub(MOST_REMEMBERED)..];
        let text = newest.join("\n") + "\n";
        Ok(replace::write(&self.root.join("activations"), text.as_bytes())?)
    }
}

/// A `.cmd` that runs a program of the build in use. `%~dp0` is its own folder, whatever the working folder is.
#[cfg(any(windows, test))]
fn shim(program: &str) -> String {
    format!(
        "@echo off\r\nsetlocal\r\nset /p LLAMA_DOCTOR_BUILD=<\"%~dp0..\\current\"\r\n\
         \"%~dp0..\\builds\\%LLAMA_DOCTOR_BUILD%\\{program}\" %*\r\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::install::receipt::SCHEMA;

    fn build(store: &Store, id: &str, content: &str) -> Installed {
        let staging = store.staging(id).unwrap();
        fs_err::write(staging.join("llama-server"), content).unwrap();
        let receipt = Receipt {
            schema: SCHEMA.to_owned(),
            id: id.to_owned(),
            tag: "b1".to_owned(),
            backend: "cpu".to_owned(),
            installed: "2026-11-23T00:00:00Z".to_owned(),
            ingredients: Vec::new(),
            files: [(
                "llama-server".to_owned(),
                crate::install::receipt::InstalledFile {
                    size: content.len() as u64,
                    sha256: crate::net::digest::Sha256Digest::of(content.as_bytes()),
                },
            )]
            .into(),
            links: std::collections::BTreeMap::new(),
            repaired: Vec::new(),
            cuda: None,
        };
        store.commit(&staging, receipt).unwrap()
    }

    #[test]
    fn builds_are_switched_rolled_back_and_removed() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path().join("home"));
        let lock = store.lock().unwrap();
        assert!(store.current().unwrap().is_none());
        assert!(matches!(store.roll_back(&lock), Err(InstallError::NoneInUse)));
        let (one, two) = (build(&store, "b1-cpu", "one"), build(&store, "b2-cpu", "two"));
        store.activate(&one, &lock).unwrap();
        assert!(matches!(store.roll_back(&lock), Err(InstallError::NoEarlier)));
        store.activate(&two, &lock).unwrap();
        assert_eq!(store.current().unwrap().unwrap().receipt.id, "b2-cpu");
        assert!(matches!(store.remove("b2-cpu", &lock), Err(InstallError::InUse { .. })));
        assert_eq!(store.roll_back(&lock).unwrap().receipt.id, "b1-cpu");
        #[cfg(unix)]
        assert_eq!(fs_err::read_to_string(store.root.join("current/llama-server")).unwrap(), "one");
        store.remove("b2-cpu", &lock).unwrap();
        assert_eq!(store.list().unwrap().len(), 1);
        assert!(matches!(store.find("b2-cpu"), Err(InstallError::NoBuild { .. })));
        // The last one goes too: there is nothing to use instead.
        store.remove("b1-cpu", &lock).unwrap();
        assert!(store.current().unwrap().is_none() && store.list().unwrap().is_empty());
    }

    #[test]
    fn a_second_process_waits_outside_and_leftovers_go() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path().to_owned());
        let lock = store.lock().unwrap();
        assert!(matches!(store.lock(), Err(InstallError::Busy { .. })));
        drop(lock);
        let staging = store.staging("b1-cpu").unwrap();
        fs_err::write(staging.join("half"), "x").unwrap();
        fs_err::create_dir_all(store.builds().join("not-ours")).unwrap();
        let _lock = store.lock().unwrap();
        assert!(!staging.exists());
        assert!(store.builds().join("not-ours").exists());
        assert!(store.list().unwrap().is_empty());
    }

    #[test]
    fn a_receipt_tells_what_changed() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path().to_owned());
        let _lock = store.lock().unwrap();
        let one = build(&store, "b1-cpu", "one");
        assert!(one.receipt.differences(&one.path, true).unwrap().is_empty());
        fs_err::write(one.path.join("llama-server"), "two").unwrap();
        fs_err::write(one.path.join("extra.dll"), "").unwrap();
        assert_eq!(one.receipt.differences(&one.path, false).unwrap(), ["`extra.dll` was not part of it"]);
        assert_eq!(one.receipt.differences(&one.path, true).unwrap().len(), 2);
    }

    #[test]
    fn a_shim_passes_its_arguments_on() {
        assert!(shim("llama-server.exe").ends_with("\\llama-server.exe\" %*\r\n"));
    }
}
