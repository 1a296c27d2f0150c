//! `enrolld completions` and `enrolld man`: what shells and `man` know of the command line, from its own definitions.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Command, CommandFactory};
use clap_complete::Shell;

use super::print;
use super::{Cli, CommandError};

/// Print the completions for a shell
///
/// A script that lets the shell complete commands and options of this version.
#[derive(Debug, clap::Args)]
#[command(after_help = COMPLETIONS_HELP)]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    pub shell: Shell,
}

const COMPLETIONS_HELP: &str = "\
Examples:
  enrolld completions bash > /etc/bash_completion.d/enrolld
  enrolld completions zsh > /usr/local/share/zsh/site-functions/_enrolld
  enrolld completions fish > ~/.config/fish/completions/enrolld.fish";

/// Prints them.
///
/// # Errors
/// Standard output cannot be written to.
pub fn completions(args: &CompletionsArgs) -> Result<ExitCode, CommandError> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "enrolld", &mut script);
    print(&String::from_utf8(script).map_err(CommandError::failed)?)?;
    Ok(ExitCode::SUCCESS)
}

/// Write the manual pages into a folder
///
/// One page for enrolld, and one for each of its commands: enrolld.1, enrolld-run.1, enrolld-dead-letters-list.1. Pages of these names that are
/// there are replaced.
#[derive(Debug, clap::Args)]
#[command(after_help = MAN_HELP)]
pub struct ManArgs {
    /// The folder; it must be there
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,
}

const MAN_HELP: &str = "\
Examples:
  enrolld man /usr/local/share/man/man1
  man enrolld-run";

/// Writes them.
///
/// # Errors
/// A page cannot be written.
pub fn man(args: &ManArgs) -> Result<ExitCode, CommandError> {
    let mut root = Cli::command().disable_help_subcommand(true);
    root.build();
    pages(&root, "enrolld", &args.folder).map_err(|error| CommandError::failed(format!("{}: {error}", args.folder.display())))?;
    Ok(ExitCode::SUCCESS)
}

/// A command's page, and those of the commands under it. Options that every command has are on each.
fn pages(command: &Command, name: &str, folder: &Path) -> io::Result<()> {
    for under in command.get_subcommands().filter(|under| !under.is_hide_set()) {
        pages(under, &format!("{name}-{}", under.get_name()), folder)?;
    }
    let page = clap_mangen::Man::new(command.clone().display_name(name.to_owned()))
        .title(name.to_uppercase())
        .source(concat!("enrolld ", env!("CARGO_PKG_VERSION")))
        .manual("enrolld");
    let mut text = Vec::new();
    page.render_title(&mut text)?;
    page.render_name_section(&mut text)?;
    page.render_synopsis_section(&mut text)?;
    page.render_description_section(&mut text)?;
    page.render_options_section(&mut text)?;
    if command.has_subcommands() {
        page.render_subcommands_section(&mut text)?;
    }
    if let Some(more) = command.get_after_help() {
        text.extend_from_slice(as_it_stands(&more.to_string()).as_bytes());
    }
    std::fs::File::create(folder.join(format!("{name}.1")))?.write_all(&text)
}

/// What stands below a command's help, in lines as they are: commands that are wrapped and spread cannot be copied.
fn as_it_stands(text: &str) -> String {
    let mut section = String::from(".SH EXAMPLES\n.nf\n");
    for line in text.lines().filter(|line| *line != "Examples:") {
        let line = line.replace('\\', "\\e").replace('-', "\\-");
        let guard = if line.starts_with(['.', '\'']) { "\\&" } else { "" };
        section.push_str(&format!("{guard}{line}\n"));
    }
    section.push_str(".fi\n");
    section
}
