//! What only Windows has to say of itself: plain data, and the readers of its odd spellings, which are tested on every system.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::host::facts::Fact;
use crate::units::{Bytes, DriverVersion};

/// Present in the facts of a Windows machine only.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WindowsFacts {
    /// Every adapter of the display driver class, NVIDIA's or not; what is left of removed cards included.
    #[serde(default)]
    pub display_adapters: Fact<Vec<DisplayAdapter>>,
    /// The Visual C++ runtime 14 for x64, as its installer registered it: `14.42.34433`. Official builds need it.
    #[serde(default)]
    pub visual_cpp_runtime: Fact<String>,
    /// Hardware-accelerated GPU scheduling.
    #[serde(default)]
    pub hardware_scheduling: Fact<bool>,
    /// Whether programs that ask for it may use paths of more than 260 characters.
    #[serde(default)]
    pub long_paths: Fact<bool>,
    /// Developer mode: symbolic links without administrator rights.
    #[serde(default)]
    pub developer_mode: Fact<bool>,
    #[serde(default)]
    pub smart_app_control: Fact<SmartAppControl>,
    /// The antivirus programs that Windows knows of.
    #[serde(default)]
    pub antivirus: Fact<Vec<Antivirus>>,
    /// Files of llama.cpp that an antivirus removed or locked, by name.
    #[serde(default)]
    pub quarantined: Fact<Vec<String>>,
    /// Copies of the Visual C++ runtime beside builds, where they come before the system's.
    #[serde(default)]
    pub runtime_copies: Fact<Vec<RuntimeCopy>>,
    /// Files of builds that carry the Mark of the Web.
    #[serde(default)]
    pub marked_files: Fact<Vec<std::path::PathBuf>>,
    /// RAM and page files together: what all programs may commit.
    #[serde(default)]
    pub commit_limit: Fact<Bytes>,
    #[serde(default)]
    pub commit_available: Fact<Bytes>,
}

/// One antivirus program, as Windows' Security Center lists it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Antivirus {
    /// `Microsoft Defender Antivirus`
    pub name: String,
    /// Whether it watches files.
    pub enabled: bool,
}

/// A copy of `msvcp140.dll` or `vcruntime140.dll` that a program would load before the system's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RuntimeCopy {
    pub path: std::path::PathBuf,
    /// `14.29.30139.0`
    pub version: String,
}

/// One adapter of the display driver class key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DisplayAdapter {
    /// `NVIDIA GeForce RTX 3090`, `Microsoft Basic Display Adapter`
    pub name: String,
    /// Of the matching device id; absent for software adapters.
    pub pci: Option<PciId>,
    /// As Windows counts: `32.0.16.1692`.
    pub driver_version: String,
    /// As NVIDIA counts: 616.92. Absent for other makers.
    pub nvidia_driver: Option<DriverVersion>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PciId {
    pub vendor: u16,
    pub device: u16,
}

/// NVIDIA's vendor number on PCI.
/// Source: <https://pci-ids.ucw.cz/read/PC/10de>, checked 2026-11-23.
pub const PCI_VENDOR_NVIDIA: u16 = 0x10de;

/// Smart App Control: when enforced, unsigned programs and DLLs do not load (error 4551).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SmartAppControl {
    Off,
    Enforced,
    Evaluation,
}

#[cfg(any(windows, test))]
impl DisplayAdapter {
    /// From the values `DriverDesc`, `MatchingDeviceId` and `DriverVersion` of one numbered key of the class.
    pub(crate) fn from_registry(description: &str, matching_device_id: &str, driver_version: &str) -> Self {
        let pci = PciId::from_device_id(matching_device_id);
        let of_nvidia = pci.is_some_and(|id| id.vendor == PCI_VENDOR_NVIDIA);
        Self {
            name: description.to_owned(),
            pci,
            driver_version: driver_version.to_owned(),
            nvidia_driver: of_nvidia.then(|| nvidia_driver_version(driver_version)).flatten(),
        }
    }
}

#[cfg(any(windows, test))]
impl Antivirus {
    /// From the `STATE` that a program reports to Security Center: the fourth hexadecimal digit from the right tells
    /// what it does, and 1 is "on".
    /// Source: <https://learn.microsoft.com/windows/win32/api/iwscapi/ne-iwscapi-wsc_security_product_state> for the
    /// states, and recorded values (0x61100 on, 0x60100 off) for their place; checked 2026-11-23.
    pub(crate) fn from_registry(name: &str, state: u32) -> Self {
        Self { name: name.to_owned(), enabled: (state >> 12) & 0xf == 1 }
    }
}

/// The files of llama.cpp that a record of Defender's detection history names. The records are binary, with their
/// texts in UTF-16; only names are taken, not folders.
#[cfg(any(windows, test))]
pub(crate) fn quarantined_in(record: &[u8]) -> Vec<String> {
    // A text can begin at an even or at an odd place.
    let mut names: Vec<String> = [0, 1]
        .into_iter()
        .filter_map(|start| record.get(start..))
        .flat_map(|bytes| {
            let units: Vec<u16> = bytes.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
            let texts = units.split(|unit| !(0x20..0xd800).contains(unit));
            texts.filter(|text| text.len() >= 6).map(String::from_utf16_lossy).collect::<Vec<_>>()
        })
        .filter_map(|text| Some(text.rsplit_once('\\')?.1.to_ascii_lowercase()))
        .filter(|name| ["ggml", "llama", "mtmd"].iter().any(|start| name.starts_with(start)))
        .filter(|name| [".dll", ".exe"].iter().any(|end| name.ends_with(end)))
        .collect();
    names.sort();
    names.dedup();
    names
}

/// The power plans that every Windows has.
/// Source: winnt.h, `GUID_MAX_POWER_SAVINGS`, `GUID_TYPICAL_POWER_SAVINGS`, `GUID_MIN_POWER_SAVINGS`, and powercfg's
/// list for the fourth; checked 2026-11-23.
#[cfg(any(windows, test))]
pub(crate) fn power_plan(guid: &str) -> &str {
    match guid.trim_matches(['{', '}']).to_ascii_lowercase().as_str() {
        "a1841308-3541-4fab-bc81-f71556f20b4a" => "power saver",
        "381b4222-f694-41f0-9685-ff5bb260df2e" => "balanced",
        "8c5e7fda-e8bf-4a96-9a85-a6e23a8c635c" => "high performance",
        "e9a42b02-d5df-448d-aa00-03f14749eb61" => "ultimate performance",
        _ => "a plan of its own",
    }
}

#[cfg(any(windows, test))]
impl PciId {
    /// From `pci\ven_10de&dev_2204&subsys_…`, in any case.
    pub(crate) fn from_device_id(text: &str) -> Option<Self> {
        let text = text.to_ascii_lowercase();
        let number = |key: &str| {
            let digits = text.split_once(key)?.1.get(..4)?;
            u16::from_str_radix(digits, 16).ok()
        };
        text.starts_with("pci\\").then_some(())?;
        Some(Self { vendor: number("ven_")?, device: number("dev_")? })
    }
}

#[cfg(any(windows, test))]
impl SmartAppControl {
    /// From `VerifiedAndReputablePolicyState`.
    /// Source: <https://learn.microsoft.com/windows/apps/develop/smart-app-control/test-your-app-with-smart-app-control>, checked 2026-11-23.
    pub(crate) const fn from_policy_state(number: u32) -> Option<Self> {
        match number {
            0 => Some(Self::Off),
            1 => Some(Self::Enforced),
            2 => Some(Self::Evaluation),
            _ => None,
        }
    }
}

/// NVIDIA's own version is hidden in the last five digits of Windows' one: `32.0.16.1692` is 616.92.
#[cfg(any(windows, test))]
pub(crate) fn nvidia_driver_version(of_windows: &str) -> Option<DriverVersion> {
    let groups: Vec<&str> = of_windows.trim().split('.').collect();
    let [_, _, third, fourth] = groups[..] else { return None };
    let fourth: u32 = fourth.parse().ok()?;
    let digits = format!("{third}{fourth:04}");
    let last_five = digits.get(digits.len().checked_sub(5)?..)?;
    let (branch, minor) = last_five.split_at_checked(3)?;
    Some(DriverVersion { branch: branch.parse().ok()?, minor: minor.parse().ok()?, patch: None })
}

/// `Windows 11 Pro 24H2 (build 26100)`. The registry's `ProductName` still says 10 on Windows 11; the build number decides.
/// Source: <https://learn.microsoft.com/windows/release-health/windows11-release-information> (11 begins at 22000), checked 2026-11-23.
#[cfg(any(windows, test))]
pub(crate) fn system_name(product: Option<&str>, display_version: Option<&str>, major: u32, build: u32) -> String {
    // Wine puts the maker's name before it.
    let product = match product.map(|name| name.trim_start_matches("Microsoft ")) {
        Some(name) if build >= 22000 => name.replacen("Windows 10", "Windows 11", 1),
        Some(name) => name.to_owned(),
        None if build >= 22000 => "Windows 11".to_owned(),
        None => format!("Windows {major}"),
    };
    let release = display_version.map(|version| format!(" {version}")).unwrap_or_default();
    format!("{product}{release} (build {build})")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_driver_version_hides_in_the_last_five_digits() {
        let nvidia = |text: &str| nvidia_driver_version(text).map(|version| version.to_string());
        assert_eq!(nvidia("32.0.16.1692").as_deref(), Some("616.92"));
        assert_eq!(nvidia("31.0.15.5161").as_deref(), Some("551.61"));
        assert_eq!(nvidia("32.0.15.6094").as_deref(), Some("560.94"));
        assert_eq!(nvidia("30.0.14.7168").as_deref(), Some("471.68"));
        // A group of fewer than four digits lost its leading zeros.
        assert_eq!(nvidia("32.0.15.900").as_deref(), Some("509.00"));
        for text in ["", "32.0.16", "32.0.16.x", "a.b.c.d", "1.2.3.4.5", "32.0.é.1692"] {
            assert_eq!(nvidia(text), None, "{text}");
        }
    }

    #[test]
    fn device_ids_name_the_maker() {
        let nvidia = PciId::from_device_id(r"PCI\VEN_10DE&DEV_2204&SUBSYS_40C51458");
        assert_eq!(nvidia, Some(PciId { vendor: PCI_VENDOR_NVIDIA, device: 0x2204 }));
        assert_eq!(PciId::from_device_id(r"ROOT\BasicDisplay"), None);
        assert_eq!(PciId::from_device_id(r"pci\ven_10"), None);
        assert_eq!(PciId::from_device_id(r"pci\ven_é0de&dev_2204"), None);
    }

    #[test]
    fn only_nvidias_adapters_have_nvidias_version() {
        let card = DisplayAdapter::from_registry("NVIDIA GeForce RTX 3090", r"pci\ven_10de&dev_2204", "32.0.15.7602");
        assert_eq!(card.nvidia_driver.map(|version| version.to_string()).as_deref(), Some("576.02"));
        let other = DisplayAdapter::from_registry("Intel(R) UHD Graphics", r"pci\ven_8086&dev_3e92", "31.0.101.2115");
        assert_eq!(other.nvidia_driver, None);
    }

    #[test]
    fn policy_states_beyond_the_documented_three_are_none() {
        assert_eq!(SmartAppControl::from_policy_state(1), Some(SmartAppControl::Enforced));
        assert_eq!(SmartAppControl::from_policy_state(3), None);
    }

    #[test]
    fn security_centers_states_are_read() {
        let enabled = |state| Antivirus::from_registry("Microsoft Defender Antivirus", state).enabled;
        assert!(enabled(0x61100) && enabled(0x41010));
        assert!(!enabled(0x60100) && !enabled(0x62100) && !enabled(0));
    }

    #[test]
    fn a_detection_names_its_file_without_its_folder() {
        let wide = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
        let mut record = vec![8, 0, 0, 0, 0x0a];
        record.extend(wide("Magic.Version:1.2\0Trojan:Win32/Wacatac.B!ml\0"));
        record.extend(wide("C:\\Users\\anna\\llama\\ggml-cpu-ivybridge.dll\0C:\\x\\notes.txt\0"));
        record.push(7);
        record.extend(wide("containerfile:_D:\\llama-b11434.zip\0D:\\Llama-Server.exe"));
        assert_eq!(quarantined_in(&record), ["ggml-cpu-ivybridge.dll", "llama-server.exe"]);
        assert!(quarantined_in(&[]).is_empty() && quarantined_in(&[0xff; 9]).is_empty());
    }

    #[test]
    fn power_plans_have_names() {
        assert_eq!(power_plan("{A1841308-3541-4fab-bc81-f71556f20b4a}"), "power saver");
        assert_eq!(power_plan("8a9b"), "a plan of its own");
    }

    #[test]
    fn windows_11_is_told_by_its_build() {
        assert_eq!(system_name(Some("Windows 10 Pro"), Some("24H2"), 10, 26100), "Windows 11 Pro 24H2 (build 26100)");
        assert_eq!(system_name(Some("Windows 10 Home"), Some("22H2"), 10, 19045), "Windows 10 Home 22H2 (build 19045)");
        assert_eq!(system_name(None, None, 10, 17763), "Windows 10 (build 17763)");
    }
}
