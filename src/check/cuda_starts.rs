//! Asks whether this holds: CUDA starts.

use super::{Check, Context, Finding, Group, Needs, Remedy, remedy};
use crate::host::cuda_code::meaning as cuda_meaning;
use crate::host::facts::Fact;

pub(super) struct CudaStarts;

impl Check for CudaStarts {
    fn id(&self) -> &'static str {
        "cuda-starts"
    }
    fn title(&self) -> &'static str {
        "CUDA starts"
    }
    fn explanation(&self) -> &'static str {
        "The surest question is CUDA's own `cuInit`, asked in a child process so that a driver that hangs or \
         crashes takes nothing with it. 100 means no device, 3 and 999 a confused driver, 46 a busy card, 803 \
         libraries that do not fit the kernel module, 804 a compatibility library before a card that does not \
         allow it."
    }
    fn group(&self) -> Group {
        Group::Driver
    }
    fn needs(&self) -> Needs {
        Needs::Driver
    }
    fn breaks_driver(&self) -> bool {
        true
    }
    fn run(&self, context: &Context<'_>) -> Vec<Finding> {
        let api = match &context.facts.driver_api {
            Fact::Known { value, .. } => value,
            Fact::Unknown { unknown } => return vec![self.skip(unknown.clone())],
        };
        if let Some(died) = &api.died {
            return vec![
                self.fail(format!("The driver does not survive being asked: {died}"))
                    .seen("cuInit", api.library.display().to_string())
                    .remedy(remedy::reboot()),
            ];
        }
        match api.init {
            Some(0) => vec![self.pass(format!("{} devices", api.devices.len()))],
            Some(code) => {
                let meaning = cuda_meaning(code);
                let finding = self
                    .fail(format!("CUDA does not start: {meaning} ({code})"))
                    .seen("cuInit", api.library.display().to_string());
                vec![if code == 46 {
                    finding.remedy(Remedy::command("Let programs share the card", "sudo nvidia-smi -c 0"))
                } else {
                    finding.remedy(remedy::reboot())
                }]
            }
            None => vec![self.skip("the child process gave no answer")],
        }
    }
}
