//! `cargo xtask bench`: builds the program as users get it, and starts the benchmarks, which are a
//! package of their own (`xtask/bench`) so that nothing else here links the rooms.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

/// Runs them with these arguments.
pub fn run(root: &Path, arguments: &[String]) -> ExitCode {
    #[cfg(target_os = "linux")]
    if let Some((first, rest)) = arguments.split_first()
        && first == "rollout"
    {
        return rollout(root, rest);
    }
    // The program that is measured, and the option that names another build of it.
    let measured = match arguments.first().map(String::as_str) {
        Some("filter") => Some(("mailkeep", "--mailkeep")),
        Some("shield") => Some(("mailkeep-shield", "--shield")),
        _ => None,
    };
    let measured = measured.filter(|(_, option)| !arguments.iter().any(|given| given == option));
    if !build(root, "xtask-bench") || measured.is_some_and(|(package, _)| !build(root, package)) {
        return ExitCode::FAILURE;
    }
    let target = std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| OsString::from("target"));
    let release = root.join(target).join("release");
    let mut command = std::process::Command::new(release.join("xtask-bench"));
    command.args(arguments).current_dir(root);
    if let Some((program, option)) = measured {
        command.arg(option).arg(release.join(program));
    }
    match command.status() {
        Ok(status) => status
            .code()
            .and_then(|code| u8::try_from(code).ok())
            .map_or(ExitCode::FAILURE, ExitCode::from),
        Err(error) => {
            eprintln!("bench: cannot start it: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The rollout needs no room, but a lab: it is measured by this program itself.
#[cfg(target_os = "linux")]
fn rollout(root: &Path, arguments: &[String]) -> ExitCode {
    use crate::lab::bench;
    if matches!(arguments, [help] if help == "help" || help == "--help") {
        crate::say(format_args!("{}", bench::HELP.trim_end()));
        return ExitCode::SUCCESS;
    }
    if !bench::has_binary(arguments) && !build(root, "mailkeep") {
        return ExitCode::FAILURE;
    }
    let target = crate::suite::target_directory(root);
    bench::run(arguments, &target.join("release").join("mailkeep"))
}

fn build(root: &Path, package: &str) -> bool {
    crate::cargo()
        .args(["build", "--release", "--locked", "--package", package])
        .current_dir(root)
        .status()
        .is_ok_and(|status| status.success())
}
