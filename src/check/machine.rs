//! The doctor's whole answer: what `check --json` prints and the report for people is made of.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Context, Finding, Selection, Status, Verdict, run, verdict};
use crate::build::Build;
use crate::build::cuda_libraries::CudaLibrary;
use crate::host::facts::{DriverFacts, Facts, Gpu, HostFacts};

pub const SCHEMA: &str = "llama-doctor/check/1";

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Diagnosis {
    pub schema: String,
    pub host: HostFacts,
    pub gpus: Vec<Gpu>,
    pub driver: DriverFacts,
    pub cuda_libraries: Vec<CudaLibrary>,
    pub builds: Vec<Build>,
    pub findings: Vec<Finding>,
    pub verdict: Verdict,
}

impl Diagnosis {
    /// Judges the machine. The verdict is over the selected findings.
    pub fn of(facts: &Facts, selection: &Selection) -> Self {
        let context = Context::new(facts);
        let findings = run(&context, selection);
        Self {
            schema: SCHEMA.to_owned(),
            host: facts.host.clone(),
            gpus: facts.gpus.clone(),
            driver: facts.driver.clone(),
            cuda_libraries: facts.cuda_libraries.clone(),
            builds: facts.builds.clone(),
            verdict: verdict(&context, &findings),
            findings,
        }
    }

    pub fn count(&self, status: Status) -> usize {
        self.findings.iter().filter(|finding| finding.status == status).count()
    }
}
