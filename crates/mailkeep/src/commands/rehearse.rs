//! `mailkeep rehearse`: a plan against a simulated fleet.

use std::collections::BTreeMap;
use std::io::{self, Write as _};

use mailkeep_drill::{Faults, Figures, Rehearsal, rehearse};
use mailkeep_model::{HostState, Ledger, ServiceName, text};
use serde_json::json;

use super::Done;
use crate::app::{App, write_whole};
use crate::cli::rehearse::{FaultsNamed, RehearseArgs};
use crate::planning::kept::{self, Kept};
use crate::planning::words;

/// Hosts named that left the good path, in text; all of them are in the JSON.
const NAMED: usize = 20;

/// Runs it.
pub fn run(app: &App, args: &RehearseArgs) -> anyhow::Result<Done> {
    let fleet = app.fleet(args.fleet.as_deref())?;
    let store = app.store(fleet.as_ref())?;
    let kept = kept::find(&store, &args.plan)?;
    let (name, faults) = match args.faults {
        FaultsNamed::None => ("no faults", Faults::NONE),
        FaultsNamed::Some => ("some faults", Faults::SOME),
        FaultsNamed::Many => ("many faults", Faults::MANY),
    };
    let mut sum = Sum::default();
    let mut first = None;
    for seed in args.seed..args.seed.saturating_add(args.seeds) {
        let rehearsal = rehearse(&kept.plan, seed, &faults)?;
        sum.add(seed, &rehearsal);
        if first.is_none() {
            first = Some(rehearsal);
        }
    }
    if let (Some(path), Some(first)) = (&args.journal, &first) {
        let mut lines = Vec::new();
        for event in &first.events {
            serde_json::to_writer(&mut lines, event)?;
            lines.push(b'\n');
        }
        write_whole(path, &lines)?;
    }
    let mut out = Vec::new();
    if args.json {
        serde_json::to_writer_pretty(&mut out, &sum.json(&kept, args, first.as_ref()))?;
        writeln!(out)?;
    } else {
        sum.print(&mut out, &kept, args, name, first.as_ref())?;
    }
    io::stdout().lock().write_all(&out)?;
    Ok(if sum.breaches.is_empty() {
        Done::Nothing
    } else {
        Done::Findings
    })
}

/// All seeds together.
#[derive(Default)]
struct Sum {
    ended: BTreeMap<HostState, u64>,
    /// The least over all seeds.
    margin: BTreeMap<ServiceName, i64>,
    ledger: Ledger,
    kept_in_queues: u64,
    acts: u64,
    again: u64,
    crashes: u64,
    longest_out: i64,
    /// Seed, and what must never happen.
    breaches: Vec<(u64, String)>,
}

impl Sum {
    fn add(&mut self, seed: u64, rehearsal: &Rehearsal) {
        let figures: &Figures = &rehearsal.figures;
        for (&state, count) in &figures.ended {
            *self.ended.entry(state).or_default() += count;
        }
        for (service, &margin) in &figures.margin {
            let least = self.margin.entry(service.clone()).or_insert(margin);
            *least = margin.min(*least);
        }
        let (all, one) = (&mut self.ledger, &figures.ledger);
        all.sent += one.sent;
        all.delivered += one.delivered;
        all.duplicated += one.duplicated;
        all.late += one.late;
        all.lost += one.lost;
        all.refused += one.refused;
        self.kept_in_queues += figures.kept_in_queues;
        self.acts += figures.acts;
        self.again += figures.again;
        self.crashes += figures.crashes;
        self.longest_out = self.longest_out.max(figures.longest_out);
        let breaches = rehearsal.breaches.iter();
        self.breaches
            .extend(breaches.map(|breach| (seed, breach.to_string())));
    }

    fn json(
        &self,
        kept: &Kept,
        args: &RehearseArgs,
        first: Option<&Rehearsal>,
    ) -> serde_json::Value {
        let ended: BTreeMap<&str, u64> = self
            .ended
            .iter()
            .map(|(state, &count)| (state.name(), count))
            .collect();
        json!({
            "realm": "drill",
            "plan": kept.id,
            "seed": args.seed,
            "seeds": args.seeds,
            "hosts": ended,
            "least_above_minimum": self.margin,
            "longest_out_seconds": self.longest_out,
            "acts": self.acts,
            "acts_begun_again": self.again,
            "controller_crashes": self.crashes,
            "ledger": self.ledger,
            "kept_in_queues": self.kept_in_queues,
            "breaches": self.breaches.iter().map(|(seed, breach)| json!({
                "seed": seed,
                "breach": breach,
            })).collect::<Vec<_>>(),
            "first": first.map(|first| json!({
                "outcome": first.figures.outcome,
                "ended_at": first.figures.ended_at,
                "minutes": first.figures.minutes,
                "hosts": first.hosts.iter().map(|(host, (state, why))| json!({
                    "host": host,
                    "state": state,
                    "why": why,
                })).collect::<Vec<_>>(),
            })),
        })
    }

    fn print(
        &self,
        out: &mut Vec<u8>,
        kept: &Kept,
        args: &RehearseArgs,
        faults: &str,
        first: Option<&Rehearsal>,
    ) -> io::Result<()> {
        let hosts = words::count(kept.plan.steps.len(), "host");
        let last = args.seed.saturating_add(args.seeds - 1);
        let seeds = if args.seeds == 1 {
            format!("seed {}", args.seed)
        } else {
            format!("seeds {} to {last}", args.seed)
        };
        writeln!(
            out,
            "Rehearsed {} ({hosts}) with {faults}, {seeds}. Nothing real was touched.\n",
            kept.id.short()
        )?;
        if let Some(figures) = first.map(|first| &first.figures)
            && let (1, Some(outcome), Some(end)) = (args.seeds, figures.outcome, figures.ended_at)
        {
            let minutes = usize::try_from(figures.minutes).unwrap_or(0);
            let (outcome, end) = (format!("{outcome:?}").to_lowercase(), words::utc(end));
            let minutes = words::count(minutes, "minute");
            writeln!(
                out,
                "outcome:    {outcome}, {end}, {minutes} after the first drain"
            )?;
        }
        let ended: Vec<String> = self
            .ended
            .iter()
            .map(|(state, count)| format!("{count} {}", state.name()))
            .collect();
        writeln!(out, "hosts:      {}", ended.join(", "))?;
        if args.seeds == 1 {
            let astray = first.iter().flat_map(|first| &first.hosts);
            let astray: Vec<_> = astray
                .filter(|(_, (state, _))| *state != HostState::Proven)
                .collect();
            for (host, (state, why)) in astray.iter().take(NAMED) {
                let why = why.as_deref().unwrap_or("no reason given");
                let line = format!("{host} {}: {why}", state.name());
                writeln!(out, "            {}", text::printable_max(&line, 160))?;
            }
            if let Some(more) = astray.len().checked_sub(NAMED).filter(|&more| more > 0) {
                writeln!(out, "            and {more} more")?;
            }
        }
        for (service, margin) in &self.margin {
            writeln!(
                out,
                "in service: {service} had never fewer than {margin} above its minimum"
            )?;
        }
        writeln!(
            out,
            "controller: died {}, {} acts, {} of them begun again\nlongest out of service: {} s",
            words::count(usize::try_from(self.crashes).unwrap_or(usize::MAX), "time"),
            self.acts,
            self.again,
            self.longest_out,
        )?;
        for (seed, breach) in &self.breaches {
            let line = format!("broken promise, seed {seed}: {breach}");
            writeln!(out, "{}", text::printable(&line))?;
        }
        if self.kept_in_queues > 0 {
            writeln!(
                out,
                "kept in queues of hosts left out of service: {}",
                self.kept_in_queues
            )?;
        }
        writeln!(
            out,
            "ledger: sent {}, delivered {}, duplicated {}, lost {}",
            self.ledger.sent, self.ledger.delivered, self.ledger.duplicated, self.ledger.lost
        )
    }
}
