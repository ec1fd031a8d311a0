//! `mailkeep shield export`: the rules for another program.

use std::io::{self, Write as _};

use mailkeep_inspect::rules::export;

use crate::app::App;
use crate::cli::shield::ExportArgs;
use crate::commands::Done;

/// Runs it.
pub(super) fn run(app: &App, args: &ExportArgs) -> anyhow::Result<Done> {
    let bundle = super::load(args.bundle.as_deref())?;
    let export = export(&bundle, &args.port);
    io::stdout().lock().write_all(export.text.as_bytes())?;
    app.say(&format!(
        "{} rules of Suricata for {} of {} rules; {} cannot be expressed, and stand at the end with the reason",
        export.written,
        export.expressed,
        export.expressed + export.left_out.len(),
        export.left_out.len()
    ));
    Ok(Done::Nothing)
}
