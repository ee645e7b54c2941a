//! Parse, set the log level, the colours and the TLS provider, dispatch, print the failure, exit.

use std::process::ExitCode;

use clap::Parser as _;
use llama_doctor::cli::{Cli, Color, Global, words};
use llama_doctor::{command, report};

fn main() -> ExitCode {
    llama_doctor::host::console::prepare();
    let words = words::rewritten(std::env::args_os());
    // `--help` and mistakes are printed while the words are parsed: the colours are decided before.
    set_colors(Color::asked_for(&words));
    let cli = Cli::parse_from(words);
    set_log(&cli.global);
    match command::run(cli) {
        Ok(code) => code,
        Err(failure) => {
            report::printer::print_failure(&failure);
            ExitCode::from(failure.exit_code())
        }
    }
}

fn set_colors(color: Color) {
    match color {
        // anstream itself honours NO_COLOR and CLICOLOR.
        Color::Auto => {}
        Color::Always => anstream::ColorChoice::Always.write_global(),
        Color::Never => anstream::ColorChoice::Never.write_global(),
    }
}

/// Logs go to stderr: of our own code with `-vv`, of everything with `-vvv`.
fn set_log(global: &Global) {
    use tracing::level_filters::LevelFilter;
    let level = match global.verbose {
        0 | 1 => LevelFilter::WARN,
        2 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    // The subscriber writes colours; anstream drops them where they would show as gibberish.
    tracing_subscriber::fmt().with_writer(anstream::stderr).with_max_level(level).without_time().init();
}
