//! Which container image has a build that runs here.

use super::judged::{Preference, judged, preference};
use super::machine::Machine;
use super::{ChooseError, Rejected, Wanted, system_name};
use crate::host::facts::OperatingSystem;
use crate::manifest::releases::{AssetName, Image, Role, releases};
use crate::source::github::Artifact;

/// The container image whose build runs best here, with the reasons.
pub fn choose_image(wanted: Wanted, machine: &Machine) -> Result<(&'static Image, Vec<String>), ChooseError> {
    let mut rejected = Vec::new();
    let mut best: Option<(Preference, &Image, Vec<String>)> = None;
    for image in &releases().images {
        let name = AssetName {
            name: image.tag.clone(),
            role: Role::Layer,
            tag: None,
            system: Some(OperatingSystem::Linux),
            backend: "cuda".to_owned(),
            cuda: Some(image.cuda),
            arch: machine.arch.clone(),
        };
        let nothing = Artifact { name: String::new(), url: String::new(), size: None, sha256: None };
        let mut judged = judged(name, &nothing, machine);
        if machine.system != OperatingSystem::Linux || !image.arch.contains(&machine.arch) {
            judged.obstacle = Some(format!("is not for {} on {}", system_name(machine.system), machine.arch));
        } else if let Some(obstacle) = machine.library_obstacle(&image.glibc, &image.glibcxx) {
            judged.obstacle = Some(obstacle);
        } else if !wanted.takes(&judged.name) {
            judged.obstacle = Some(format!("is not `--backend {}`", wanted.named()));
        }
        let preference = preference(&judged, machine);
        if let Some(why) = judged.obstacle {
            rejected.push(Rejected { name: image.tag.clone(), why });
        } else if best.as_ref().is_none_or(|(known, ..)| preference > *known) {
            best = Some((preference, image, judged.reasons));
        }
    }
    match best {
        Some((_, image, reasons)) => Ok((image, reasons)),
        None => Err(ChooseError::NoImage { rejected }),
    }
}
