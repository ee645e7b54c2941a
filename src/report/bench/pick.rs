//! Which run of a sweep serves best.

use super::BenchRun;
use crate::cli::fit::Preference;
use crate::units::grouped;

/// What is best at what was preferred, among those that keep their promise and whose answers may stand for f16's.
pub(super) fn pick(runs: &[BenchRun], prefer: Option<Preference>) -> (Option<usize>, String) {
    if runs.len() < 2 {
        return (None, String::new());
    }
    // Without any comparison there is nothing to tell the runs' quality by.
    let compared = runs.iter().any(|run| run.measured.quality.is_some());
    let good = runs.iter().enumerate().filter(|(_, run)| run.kept && is_good(run, compared));
    let score = |run: &BenchRun| match prefer {
        None | Some(Preference::Context) => f64::from(run.server.context),
        Some(Preference::Speed) => run.measured.tokens_per_second,
        Some(Preference::Quality) => match &run.measured.quality {
            Some(quality) => quality.agreement,
            None => f64::from(u8::from(run.cache_name() == "f16")),
        },
    };
    let what = match prefer {
        None | Some(Preference::Context) => "the largest context",
        Some(Preference::Speed) => "the fastest",
        Some(Preference::Quality) => "the nearest to f16",
    };
    let best = good
        .max_by(|one, two| score(one.1).total_cmp(&score(two.1)).then(one.1.server.context.cmp(&two.1.server.context)));
    match best {
        Some((index, run)) => {
            let quality = match &run.measured.quality {
                Some(quality) => format!("{}; {}", quality.verdict, quality.confidence),
                None => "f16 itself".to_owned(),
            };
            let context = grouped(u64::from(run.server.context));
            let name = &run.config;
            let held = if compared { format!(" of those whose quality holds ({quality})") } else { String::new() };
            let open = if compared { "" } else { "; quality was not compared" };
            (Some(index), format!("{name}, with {context} tokens: {what}{held}{open}"))
        }
        None => (None, "None keeps both its promise and f16's quality".to_owned()),
    }
}

/// Whether its answers may stand for f16's. Where others were compared, one that was not is no candidate.
fn is_good(run: &BenchRun, compared: bool) -> bool {
    match &run.measured.quality {
        Some(quality) => quality.holds(),
        None => !compared || run.cache_name() == "f16",
    }
}
