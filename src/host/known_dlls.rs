//! The libraries that Windows has open before any program starts: they come from System32, whatever lies elsewhere.

use std::collections::BTreeSet;

use super::{Host, platform};

/// What records them: the output of this command stands for the registry on a recorded machine.
pub const KNOWN_DLLS_COMMAND: &str = r"reg query HKLM\SYSTEM\CurrentControlSet\Control\Session Manager\KnownDLLs";

impl Host {
    /// Lower-case names, `kernel32.dll`. Empty where the machine runs no Windows or does not tell.
    pub fn known_dlls(&self) -> BTreeSet<String> {
        let names = match self {
            Self::Live => platform::known_dlls(),
            Self::Recorded { outputs, .. } => outputs
                .get(KNOWN_DLLS_COMMAND)
                .map(|output| from_reg_query(&String::from_utf8_lossy(output)))
                .unwrap_or_default(),
        };
        // Values such as `DllDirectory` are folders.
        names.into_iter().map(|name| name.to_ascii_lowercase()).filter(|name| !name.contains(['\\', '/'])).collect()
    }
}

/// `    kernel32    REG_SZ    kernel32.dll`
fn from_reg_query(output: &str) -> Vec<String> {
    let value =
        |line: &str| Some(line.split_once("REG_SZ").or_else(|| line.split_once("REG_EXPAND_SZ"))?.1.trim().to_owned());
    output.lines().filter_map(value).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_registrys_list_is_read() {
        let output = "\nHKEY_LOCAL_MACHINE\\SYSTEM\\…\\KnownDLLs\n    DllDirectory    REG_EXPAND_SZ    %SystemRoot%\\system32\n    \
            kernel32    REG_SZ    kernel32.dll\n    _wow64cpu    REG_SZ    Wow64cpu.dll\n";
        let outputs = [(KNOWN_DLLS_COMMAND.to_owned(), output.as_bytes().to_vec())].into();
        let host = Host::Recorded { root: "/".into(), environment: std::collections::BTreeMap::default(), outputs };
        let expected: BTreeSet<String> = ["kernel32.dll".to_owned(), "wow64cpu.dll".to_owned()].into();
        assert_eq!(host.known_dlls(), expected);
    }
}
