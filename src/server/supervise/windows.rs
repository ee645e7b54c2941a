//! Job objects and console events.

use std::io;
use std::os::windows::io::AsRawHandle as _;
use std::os::windows::process::CommandExt as _;
use std::process::{Child, Command};

use windows_sys::Win32::Foundation::{CloseHandle, HANDLE};
use windows_sys::Win32::System::Console::{CTRL_BREAK_EVENT, GenerateConsoleCtrlEvent, SetConsoleCtrlHandler};
use windows_sys::Win32::System::JobObjects::{
    AssignProcessToJobObject, CreateJobObjectW, JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE,
    JOBOBJECT_EXTENDED_LIMIT_INFORMATION, JobObjectExtendedLimitInformation, SetInformationJobObject,
    TerminateJobObject,
};
use windows_sys::Win32::System::Threading::CREATE_NEW_PROCESS_GROUP;

/// A job that ends its processes when its last handle closes: with us, however we end.
#[derive(Debug)]
pub(super) struct Group {
    job: HANDLE,
}

#[expect(unsafe_code, reason = "job objects have no safe form in std")]
pub(super) fn spawn(command: &mut Command) -> io::Result<(Child, Group)> {
    // SAFETY: null means no security attributes and no name.
    let job = unsafe { CreateJobObjectW(std::ptr::null(), std::ptr::null()) };
    if job.is_null() {
        return Err(io::Error::last_os_error());
    }
    let group = Group { job };
    let mut limits = JOBOBJECT_EXTENDED_LIMIT_INFORMATION::default();
    limits.BasicLimitInformation.LimitFlags = JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE;
    let size = size_of::<JOBOBJECT_EXTENDED_LIMIT_INFORMATION>() as u32;
    // SAFETY: the pointer and the size describe one live structure of the kind that the class asks for.
    let set =
        unsafe { SetInformationJobObject(job, JobObjectExtendedLimitInformation, (&raw const limits).cast(), size) };
    if set == 0 {
        return Err(io::Error::last_os_error());
    }
    let mut child = command.creation_flags(CREATE_NEW_PROCESS_GROUP).spawn()?;
    // SAFETY: both handles are open.
    let assigned = unsafe { AssignProcessToJobObject(job, child.as_raw_handle()) };
    if assigned == 0 {
        let error = io::Error::last_os_error();
        let _ = child.kill();
        return Err(error);
    }
    Ok((child, group))
}

impl Group {
    /// Ctrl-Break: the only console event that a process group of its own receives. Without a console nobody hears it.
    #[expect(unsafe_code, reason = "console events have no safe form in std")]
    pub(super) fn ask_to_end(&mut self, child: &Child) -> bool {
        // SAFETY: a call without pointers.
        unsafe { GenerateConsoleCtrlEvent(CTRL_BREAK_EVENT, child.id()) != 0 }
    }

    #[expect(unsafe_code, reason = "job objects have no safe form in std")]
    pub(super) fn kill(&mut self, child: &mut Child) {
        // SAFETY: the job's handle is open until we are dropped.
        unsafe { TerminateJobObject(self.job, 1) };
        // Already gone is what we want.
        let _ = child.kill();
    }
}

impl Drop for Group {
    #[expect(unsafe_code, reason = "the handle is ours to close")]
    fn drop(&mut self) {
        // SAFETY: opened by us, closed once.
        unsafe { CloseHandle(self.job) };
    }
}

extern "system" fn on_event(_: u32) -> i32 {
    super::count_stop();
    1
}

#[expect(unsafe_code, reason = "std has no console handlers")]
pub(super) fn watch_signals() -> io::Result<()> {
    // SAFETY: the handler is a function for the life of the program and only adds to an atomic number.
    let set = unsafe { SetConsoleCtrlHandler(Some(on_event), 1) };
    if set == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
