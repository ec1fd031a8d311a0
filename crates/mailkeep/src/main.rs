//! The command line of Mailkeep. Everything is in the library; this turns an outcome into an exit
//! status.

use std::process::ExitCode;

use clap::Parser as _;
use mailkeep::app::App;
use mailkeep::cli::Cli;
use mailkeep::commands::Done;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are no errors; a closed pipe is nobody's.
            let _closed = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    match mailkeep::run(&cli) {
        Ok(Done::Nothing) => ExitCode::SUCCESS,
        Ok(Done::Findings) => ExitCode::from(1),
        Err(error) if mailkeep::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            App::complain(&error);
            ExitCode::from(2)
        }
    }
}
