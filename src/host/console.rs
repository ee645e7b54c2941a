//! What the system is told before anything is printed or loaded.
#![cfg_attr(windows, expect(unsafe_code, reason = "the error mode is set through a C function only"))]

/// No dialog may stop us: on Windows a missing DLL or an empty drive would open one and wait for a click.
/// Children inherit the mode, so llama-server and our probes are quiet, too.
///
/// Output needs nothing: std writes UTF-16 to a console whatever its code page, and `anstream` turns colours into
/// console calls, or drops them, where the console knows no escape sequences.
pub fn prepare() {
    #[cfg(windows)]
    {
        use windows_sys::Win32::System::Diagnostics::Debug::{
            GetErrorMode, SEM_FAILCRITICALERRORS, SEM_NOGPFAULTERRORBOX, SEM_NOOPENFILEERRORBOX, SetErrorMode,
        };
        // SAFETY: both functions only read and write flags of this process; no other thread runs yet.
        unsafe {
            SetErrorMode(GetErrorMode() | SEM_FAILCRITICALERRORS | SEM_NOGPFAULTERRORBOX | SEM_NOOPENFILEERRORBOX);
        }
    }
}

#[cfg(all(test, windows))]
mod tests {
    use windows_sys::Win32::System::Diagnostics::Debug::{
        GetErrorMode, SEM_FAILCRITICALERRORS, SEM_NOGPFAULTERRORBOX, SEM_NOOPENFILEERRORBOX,
    };

    #[test]
    fn the_mode_is_set_and_stays() {
        super::prepare();
        super::prepare();
        let wanted = SEM_FAILCRITICALERRORS | SEM_NOGPFAULTERRORBOX | SEM_NOOPENFILEERRORBOX;
        // SAFETY: a call without arguments.
        assert_eq!(unsafe { GetErrorMode() } & wanted, wanted);
    }
}
