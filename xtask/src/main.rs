//! `cargo xtask`: hands its arguments to the library of the same name, and holds nothing else.

use std::process::ExitCode;

fn main() -> ExitCode {
    xtask::run(std::env::args().skip(1).collect())
}
