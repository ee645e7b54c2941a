//! Asks whether this holds: Smart App Control lets llama.cpp run.

use super::{Check, Context, Finding, Group, Remedy};
use crate::host::windows_facts::SmartAppControl;

pub(super) struct SmartAppControlOff;

impl Check for SmartAppControlOff {
    fn id(&self) -> &'static str {
        "smart-app-control-off"
    }
    fn title(&self) -> &'static str {
        "Smart App Control lets llama.cpp run"
    }
    fn explanation(&self) -> &'static str {
        "Windows' Smart App Control blocks programs and libraries without a known signature; llama.cpp's are not \
         signed. Blocked libraries look like missing ones (error 4551). It can be switched off in Windows \
         Security, and on some versions of Windows 11 not on again without a new installation."
    }
    fn group(&self) -> Group {
        Group::System
    }
    fn run(&self, context: &Context<'_>) -> Vec<Finding> {
        let Some(windows) = context.windows() else { return vec![self.skip("a matter of Windows")] };
        match windows.smart_app_control.value() {
            None => vec![self.skip("Windows does not say")],
            Some(SmartAppControl::Off) => vec![self.pass("off")],
            Some(SmartAppControl::Evaluation) => vec![self.pass("it watches, and blocks nothing")],
            Some(SmartAppControl::Enforced) => vec![
                self.warn("Smart App Control is on: Windows may block llama.cpp's unsigned libraries")
                    .seen("VerifiedAndReputablePolicyState is 1", "registry")
                    .remedy(Remedy::command("Its switch", "start windowsdefender://smartapp")),
            ],
        }
    }
}
