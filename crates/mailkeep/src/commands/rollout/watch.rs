//! `mailkeep rollout watch`: a view that is drawn again where standard output is a terminal, and lines
//! of a log where it is not.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

use mailkeep_rollout::evidence::Evidence;
use mailkeep_store::SqliteStore;

use super::place::Place;
use super::{account, journal, open, status, view};
use crate::app::App;
use crate::cli::rollout::WatchRolloutArgs;
use crate::commands::Done;
use crate::planning::kept::{self, Kept};

/// How often the log is looked at.
const EVERY: Duration = Duration::from_secs(1);

/// The newest events below the table.
const TAIL: usize = 8;

pub(super) fn run(app: &App, args: &WatchRolloutArgs) -> anyhow::Result<Done> {
    let (fleet, store) = open(app, args.fleet.as_deref())?;
    let kept = kept::find(&store, &args.plan)?;
    let place = Place::of(app, fleet.as_ref(), &kept.id);
    if io::stdout().is_terminal() && !args.plain {
        live(app, args, &store, &kept, &place)
    } else {
        plain(app, args, &store, &kept, &place)
    }
}

fn now(app: &App) -> mailkeep_model::Timestamp {
    if app.fixed_time {
        app.now
    } else {
        crate::now()
    }
}

fn plain(
    app: &App,
    args: &WatchRolloutArgs,
    store: &SqliteStore,
    kept: &Kept,
    place: &Place,
) -> anyhow::Result<Done> {
    let mut seen = 0;
    let mut unattended = None;
    loop {
        // Looked at before the lines are read: an end that comes between is told at the next round.
        let told = account(store, kept, now(app))?;
        let mut out = io::stdout().lock();
        for recorded in journal(store, &kept.id, seen)? {
            seen = recorded.seq;
            writeln!(out, "{}", view::event(&recorded))?;
        }
        out.flush()?;
        drop(out);
        let now_unattended = status::unattended(&told, place);
        if unattended != now_unattended {
            if let Some(line) = &now_unattended {
                App::warn(line);
            }
            unattended = now_unattended;
        }
        if args.once || told.ended_at.is_some() {
            return Ok(status::done(told.state));
        }
        std::thread::sleep(EVERY);
    }
}

/// Columns and rows of the terminal, as far as it says.
fn size() -> (usize, usize) {
    let (rows, columns) = console::Term::stdout().size();
    (usize::from(columns).max(40), usize::from(rows).max(10))
}

fn live(
    app: &App,
    args: &WatchRolloutArgs,
    store: &SqliteStore,
    kept: &Kept,
    place: &Place,
) -> anyhow::Result<Done> {
    let mut last = String::new();
    loop {
        let told = account(store, kept, now(app))?;
        let events = journal(store, &kept.id, 0)?;
        let from = events.len().saturating_sub(TAIL);
        let tail: Vec<String> = events.iter().skip(from).map(view::event).collect();
        let mut head = view::head(&told);
        head.extend(status::unattended(&told, place));
        let screen = screen(&told, head, &tail, app.colour, size());
        if screen != last {
            let mut out = io::stdout().lock();
            // Home, the screen, and nothing of the last one after it.
            let first = if last.is_empty() { "\x1b[2J" } else { "" };
            write!(out, "{first}\x1b[H{screen}\x1b[J")?;
            out.flush()?;
            last = screen;
        }
        if args.once || told.ended_at.is_some() {
            return Ok(status::done(told.state));
        }
        std::thread::sleep(EVERY);
    }
}

/// All that fits: head and ledger always, of the hosts first those in work, then those in trouble.
fn screen(
    told: &Evidence,
    mut lines: Vec<String>,
    tail: &[String],
    colour: bool,
    (columns, rows): (usize, usize),
) -> String {
    lines.extend(view::ledger(told));
    lines.push(String::new());
    let room = rows.saturating_sub(lines.len() + tail.len() + 3);
    let mut shown = told.clone();
    shown.hosts.sort_by_key(|host| {
        let state = host.state;
        let in_work = state.is_out_of_service() && !state.is_end();
        let waits = state == mailkeep_model::HostState::Waiting;
        (!in_work, state.is_end() && host.trouble.is_none(), waits)
    });
    let mut hosts = view::hosts(&shown, view::Paint::new(colour), columns);
    if hosts.len() > room {
        let hidden = hosts.len() - room.max(1);
        hosts.truncate(room.max(1));
        hosts.push(format!(
            "... and {hidden} lines more: `mailkeep rollout status`"
        ));
    }
    lines.extend(hosts);
    lines.push(String::new());
    lines.extend(tail.iter().cloned());
    let mut screen = String::new();
    for line in lines {
        screen.push_str(&fit(&line, columns));
        // What stood in this line before is cleared.
        screen.push_str("\x1b[K\n");
    }
    screen
}

/// At most so many characters, not counting our own colours.
fn fit(line: &str, columns: usize) -> String {
    let mut fitted = String::new();
    let mut count = 0;
    let mut code = false;
    for c in line.chars() {
        if c == '\x1b' {
            code = true;
        }
        if code {
            code = !c.is_ascii_alphabetic();
            fitted.push(c);
            continue;
        }
        count += 1;
        if count <= columns {
            fitted.push(c);
        }
    }
    fitted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_cut_at_the_edge_and_keeps_its_colours() {
        assert_eq!(fit("abcdef", 3), "abc");
        assert_eq!(fit("\x1b[32mproven\x1b[0m now", 4), "\x1b[32mprov\x1b[0m");
        assert_eq!(fit("", 3), "");
    }
}
