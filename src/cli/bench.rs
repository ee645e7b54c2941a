//! `bench`: the promise measured.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::fit::FitArguments;
use super::launch::LaunchArguments;

#[derive(Debug, Clone, Args)]
#[command(after_help = super::words::help())]
pub struct BenchCommand {
    /// A `.gguf` file, `org/repo[:QUANT]`, a URL or a catalogue name; two or more run together
    #[arg(value_name = "MODEL", required_unless_present = "plan")]
    pub models: Vec<String>,
    #[command(flatten)]
    pub place: LaunchArguments,
    #[command(flatten)]
    pub protocol: ProtocolArguments,
    /// Use a plan that `fit --json` wrote instead of making one
    #[arg(long, value_name = "FILE", conflicts_with = "models")]
    pub plan: Option<PathBuf>,
    #[command(flatten)]
    pub fit: FitArguments,
}

/// How much is measured.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Measurement")]
pub struct ProtocolArguments {
    /// Compare configurations: `32K f16`, `32K q8_0`, `64K q8_0` and `128K q4_0` as far as they fit, or the plan's options
    #[arg(long)]
    pub sweep: bool,
    /// The short variant: 64 tokens, one run, two fills, a few questions
    #[arg(long)]
    pub quick: bool,
    /// Tokens that each timed run generates
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    pub tokens: u32,
    /// Timed runs at each fill; their median counts
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    pub runs: u32,
    /// Do not compare the cache type's answers with f16's
    #[arg(long)]
    pub no_quality: bool,
    /// Measure for no longer than this; the report names what was left out. `0.5` is half a minute
    #[arg(long, value_name = "MINUTES", default_value = "30", value_parser = minutes)]
    pub time_limit: Duration,
    /// Folder for the report and the servers' logs
    #[arg(long, value_name = "DIR", default_value = "bench")]
    pub report: PathBuf,
}

impl ProtocolArguments {
    /// What `setup --start` measures: memory and a short answer, no comparison with f16.
    pub fn short(report: PathBuf) -> Self {
        Self {
            sweep: false,
            quick: true,
            tokens: 64,
            runs: 1,
            no_quality: true,
            time_limit: Duration::from_mins(10),
            report,
        }
    }
}

/// A week bounds what people mean, and what a clock can add up.
const MOST_MINUTES: f64 = 7.0 * 24.0 * 60.0;

fn minutes(text: &str) -> Result<Duration, String> {
    let minutes = text.parse::<f64>().ok().filter(|minutes| *minutes > 0.0 && *minutes <= MOST_MINUTES);
    let minutes = minutes.ok_or_else(|| format!("not a number of minutes between 0 and {MOST_MINUTES}"))?;
    Ok(Duration::from_secs_f64(minutes * 60.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minutes_are_a_positive_number() {
        assert_eq!(minutes("30").unwrap(), Duration::from_mins(30));
        assert_eq!(minutes("0.05").unwrap(), Duration::from_secs(3));
        for wrong in ["0", "-1", "NaN", "inf", "1e300", "soon", ""] {
            assert!(minutes(wrong).is_err(), "{wrong}");
        }
    }
}
