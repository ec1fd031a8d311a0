//! How far a download or an import is: on a terminal a bar, elsewhere nothing.

use std::io::{self, IsTerminal};

use indicatif::{ProgressBar, ProgressStyle};

use crate::app::App;

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Bytes of one file.
    Bytes,
    /// Files of a directory, entries of an archive, documents of a provider.
    Documents,
}

/// How far something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// So many are done.
    pub done: u64,
    /// Of so many, where that is known.
    pub total: Option<u64>,
    /// Of what.
    pub unit: Unit,
}

impl Step {
    /// Bytes of a file.
    pub fn bytes(done: u64, total: Option<u64>) -> Self {
        Self {
            done,
            total,
            unit: Unit::Bytes,
        }
    }

    /// Documents.
    pub fn documents(done: u64, total: Option<u64>) -> Self {
        Self {
            done,
            total,
            unit: Unit::Documents,
        }
    }
}

/// Hears how far something is.
pub type Progress<'p> = dyn FnMut(Step) + 'p;

/// A progress bar on standard error, if that is a terminal. It is gone when this value is.
#[derive(Debug)]
pub struct Bar {
    bar: ProgressBar,
    form: Option<(Unit, bool)>,
}

impl Bar {
    /// A bar with a few words before it.
    pub fn new(app: &App, message: String) -> Self {
        let bar = if app.quiet || !io::stderr().is_terminal() {
            ProgressBar::hidden()
        } else {
            ProgressBar::new_spinner()
        };
        bar.set_message(message);
        Self { bar, form: None }
    }

    /// Shows how far it is.
    pub fn show(&mut self, step: Step) {
        if self.bar.is_hidden() {
            return;
        }
        let form = (step.unit, step.total.is_some());
        if self.form != Some(form) {
            self.form = Some(form);
            let template = match form {
                (Unit::Bytes, true) => "{msg} {bar:30} {bytes}/{total_bytes}",
                (Unit::Bytes, false) => "{msg} {bytes}",
                (Unit::Documents, true) => "{msg} {bar:30} {pos}/{len} documents",
                (Unit::Documents, false) => "{msg} {pos} documents",
            };
            if let Ok(style) = ProgressStyle::with_template(template) {
                self.bar.set_style(style);
            }
        }
        match step.total {
            Some(total) => self.bar.set_length(total),
            None => self.bar.unset_length(),
        }
        self.bar.set_position(step.done);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
