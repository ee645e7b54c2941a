//! Processes that end with us: by our own stop, by our crash, by a signal to us.
//!
//! Unix: a process group of its own (so that Ctrl-C reaches us alone and we stop the server in order) and, on Linux, the kernel's
//! parent-death signal. Windows: a job object that the system ends with our last handle.

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

#[cfg(unix)]
use unix as platform;
#[cfg(windows)]
use windows as platform;

/// How often the user asked us to stop.
static STOPS: AtomicU32 = AtomicU32::new(0);

/// From here on Ctrl-C and a polite kill are counted instead of ending us.
pub fn watch_signals() -> io::Result<()> {
    platform::watch_signals()
}

pub fn stops_asked() -> u32 {
    STOPS.load(Ordering::SeqCst)
}

fn count_stop() {
    STOPS.fetch_add(1, Ordering::SeqCst);
}

/// A process that we started; dropping it ends it.
#[derive(Debug)]
pub struct Supervised {
    child: Child,
    group: platform::Group,
    log: PathBuf,
    status: Option<ExitStatus>,
}

impl Supervised {
    /// Starts the program with both outputs in the log file, which is emptied first.
    pub fn start(program: &Path, arguments: &[String], without: &[String], log: &Path) -> io::Result<Self> {
        if let Some(folder) = log.parent() {
            fs_err::create_dir_all(folder)?;
        }
        let out: File = fs_err::File::create(log)?.into_parts().0;
        let err = out.try_clone()?;
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(out).stderr(err);
        for name in without {
            command.env_remove(name);
        }
        let (child, group) = platform::spawn(&mut command)?;
        Ok(Self { child, group, log: log.to_owned(), status: None })
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn log(&self) -> &Path {
        &self.log
    }

    /// How it ended, if it did.
    pub fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        if self.status.is_none() {
            self.status = self.child.try_wait()?;
        }
        Ok(self.status)
    }

    /// Asks it to end, waits, and kills what is left of its group. A further Ctrl-C cuts the wait short.
    pub fn stop(&mut self, patience: Duration) -> io::Result<ExitStatus> {
        let asked_before = stops_asked();
        let hears = self.ended()?.is_none() && self.group.ask_to_end(&self.child);
        let end = Instant::now() + if hears { patience } else { Duration::ZERO };
        while self.ended()?.is_none() && Instant::now() < end && stops_asked() <= asked_before {
            std::thread::sleep(Duration::from_millis(50));
        }
        self.group.kill(&mut self.child);
        let status = match self.status {
            Some(status) => status,
            None => self.child.wait()?,
        };
        self.status = Some(status);
        Ok(status)
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        // Nothing to tell anyone any more; what matters is that it is gone.
        let _ = self.stop(Duration::from_secs(5));
    }
}
