//! Asks whether this holds: the kernel log holds no GPU errors.

use super::{Check, Context, Finding, Group, Needs, Remedy};
use crate::host::facts::Fact;

pub(super) struct DriverErrorLog;

impl Check for DriverErrorLog {
    fn id(&self) -> &'static str {
        "driver-error-log"
    }
    fn title(&self) -> &'static str {
        "The kernel log holds no GPU errors"
    }
    fn explanation(&self) -> &'static str {
        "The driver writes its errors to the kernel log as `NVRM: Xid ... N`. 13, 31 and 43 are a program's own \
         fault; 48, 63, 64, 94 and 95 are memory errors; 74 is NVLink; 61, 62, 109, 119 and 120 are the card's \
         controllers not answering; 79 is a lost card. Only root may read the log on many systems; then it is not \
         checked."
    }
    fn group(&self) -> Group {
        Group::Driver
    }
    fn needs(&self) -> Needs {
        Needs::Card
    }
    fn run(&self, context: &Context<'_>) -> Vec<Finding> {
        let lines = match &context.facts.kernel_driver.messages {
            Fact::Known { value, .. } => value,
            Fact::Unknown { unknown } => {
                return vec![self.skip(format!("{unknown}; look with `sudo dmesg | grep Xid`"))];
            }
        };
        // A program's own faults (13, 31, 43, 45) say nothing about the machine; 79 has a check of its own.
        let number = |line: &String| line.rsplit_once("): ")?.1.split(',').next()?.trim().parse::<u32>().ok();
        let bad = lines
            .iter()
            .filter(|line| line.contains("Xid"))
            .find(|line| number(line).is_some_and(|number| !matches!(number, 13 | 31 | 43 | 45 | 79)));
        let hmm = lines.iter().find(|line| line.contains("request_free_mem_region"));
        match (bad, hmm) {
            (None, None) => vec![self.pass("no Xid")],
            (_, Some(line)) => {
                vec![self
                .warn("The driver's memory module fails with this kernel's address layout")
                .seen(line.clone(), "kernel log")
                .remedy(Remedy::command(
                    "Switch off the feature that fails, then restart",
                    "echo 'options nvidia_uvm uvm_disable_hmm=1' | sudo tee /etc/modprobe.d/nvidia-uvm-hmm.conf",
                ))]
            }
            (Some(line), None) => vec![
                self.warn(format!("The driver logged an error of the card: Xid {}", number(line).unwrap_or_default()))
                    .seen(line.clone(), "kernel log")
                    .remedy(Remedy::advice("Look the number up: https://docs.nvidia.com/deploy/xid-errors/")),
            ],
        }
    }
}
