//! `completions SHELL`: the script that teaches a shell our flags.

use std::process::ExitCode;

use clap::CommandFactory as _;

use crate::cli::Cli;
use crate::cli::completions::Completions;
use crate::command::Program;

pub(super) fn run(program: &Program, arguments: &Completions) -> ExitCode {
    let mut script = Vec::new();
    let mut cli = Cli::command();
    let name = cli.get_name().to_owned();
    clap_complete::generate(arguments.shell, &mut cli, name, &mut script);
    program.printer.document(&script);
    ExitCode::SUCCESS
}
