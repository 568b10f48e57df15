use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::Cli;
use super::output::print;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  modelseal completions bash > ~/.local/share/bash-completion/completions/modelseal
  modelseal completions zsh > ~/.zfunc/_modelseal
  modelseal completions fish > ~/.config/fish/completions/modelseal.fish")]
pub(super) struct Arguments {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<u8> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Cli::command(), "modelseal", &mut script);
    print(&String::from_utf8_lossy(&script))?;
    Ok(0)
}
