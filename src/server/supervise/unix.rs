//! Process groups and signals.

use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command};

#[derive(Debug)]
pub(super) struct Group {
    leader: libc::pid_t,
    ended: bool,
}

#[cfg_attr(not(target_os = "linux"), expect(clippy::unnecessary_wraps, reason = "equal to Windows'"))]
#[expect(unsafe_code, reason = "pre_exec runs between fork and exec")]
pub(super) fn spawn(command: &mut Command) -> io::Result<(Child, Group)> {
    command.process_group(0);
    #[cfg(target_os = "linux")]
    {
        // SAFETY: getpid is a plain system call.
        let parent = unsafe { libc::getpid() };
        // SAFETY: the closure makes two system calls, both safe between fork and exec, and allocates nothing.
        unsafe {
            command.pre_exec(move || {
                if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) != 0 {
                    return Err(io::Error::last_os_error());
                }
                // We died before the line above: nobody would ever send the signal.
                if libc::getppid() != parent {
                    return Err(io::Error::from_raw_os_error(libc::ESRCH));
                }
                Ok(())
            });
        }
    }
    let child = command.spawn()?;
    let leader = libc::pid_t::try_from(child.id()).map_err(io::Error::other)?;
    Ok((child, Group { leader, ended: false }))
}

impl Group {
    /// One signal: llama-server ends at once at the second (b11434 `tools/server/server.cpp`, `signal_handler`).
    #[expect(unsafe_code, reason = "kill has no safe form in std")]
    pub(super) fn ask_to_end(&mut self, _: &Child) -> bool {
        // SAFETY: a system call on a child that is not reaped yet, so the number is still its own.
        unsafe { libc::kill(self.leader, libc::SIGINT) == 0 }
    }

    /// The leader, and what it started.
    #[expect(unsafe_code, reason = "killpg has no safe form in std")]
    pub(super) fn kill(&mut self, child: &mut Child) {
        if !self.ended {
            self.ended = true;
            // SAFETY: a system call; the group is ours, and absent members make it fail harmlessly.
            unsafe { libc::killpg(self.leader, libc::SIGKILL) };
            // Already gone is what we want.
            let _ = child.kill();
        }
    }
}

extern "C" fn on_signal(_: libc::c_int) {
    super::count_stop();
}

#[expect(unsafe_code, reason = "std has no signal handlers")]
pub(super) fn watch_signals() -> io::Result<()> {
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        // SAFETY: sigaction is plain data, valid when zeroed; the handler only adds to an atomic number, which signals allow.
        let outcome = unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = on_signal as *const () as libc::sighandler_t;
            libc::sigemptyset(&raw mut action.sa_mask);
            libc::sigaction(signal, &raw const action, std::ptr::null_mut())
        };
        if outcome != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}
