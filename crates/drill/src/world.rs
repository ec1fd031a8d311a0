//! The simulated world: hosts, services, senders and their messages. It knows no plan's progress; it
//! does what orders say, and sees for itself what serves.

use std::collections::BTreeMap;

use mailkeep_model::{HostName, Plan, RegionName, ServiceName};

use crate::draw::{About, Draw};
use crate::faults::Faults;
use crate::host::{DiskFull, Effects, Flaws, SimHost};
use crate::mail::{LATE_MINUTES, Message, retry_pause};

/// Hosts of one service in one region.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) region: RegionName,
    pub(crate) hosts: Vec<usize>,
    pub(crate) minimum: u32,
    pub(crate) serving: u32,
}

/// A service.
#[derive(Debug, Clone)]
pub(crate) struct SimService {
    pub(crate) name: ServiceName,
    pub(crate) minimum_total: u32,
    pub(crate) serving: u32,
    pub(crate) places: Vec<Place>,
    /// The fewest hosts above its minimum that ever served, over its regions and the total.
    pub(crate) margin: i64,
}

/// What happens next to a message or a host, by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Next {
    /// A sender has something new: service, place.
    Born(u32, u32),
    /// A sender tries.
    Try(u32),
    /// A session ends: host, message.
    SessionEnds(u32, u32),
    /// A queue is tried.
    Flush(u32),
}

/// A service below its minimum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Below {
    pub(crate) service: ServiceName,
    pub(crate) region: Option<RegionName>,
    pub(crate) serving: u32,
    pub(crate) minimum: u32,
}

/// The world.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) hosts: Vec<SimHost>,
    pub(crate) names: Vec<HostName>,
    pub(crate) by_name: BTreeMap<HostName, usize>,
    pub(crate) services: Vec<SimService>,
    pub(crate) messages: Vec<Message>,
    /// What happens next, to be put into the calendar by whoever owns that.
    pub(crate) next: Vec<(i64, Next)>,
    draw: Draw,
}

/// Seconds a queued message needs to its destination.
const PASS_ON: i64 = 3;

/// Seconds after which a sender gives a message up: RFC 5321 section 4.5.4.1 asks for four to five days.
const GIVES_UP: i64 = 5 * 24 * 3600;

/// Sessions a thousand that are cut right between the answer and its arrival, so that the sender tries
/// again what was taken.
const ANSWERS_LOST: u16 = 2;

impl World {
    pub(crate) fn new(plan: &Plan, draw: Draw) -> Self {
        let mut world = Self {
            hosts: Vec::new(),
            names: Vec::new(),
            by_name: BTreeMap::new(),
            services: Vec::new(),
            messages: Vec::new(),
            next: Vec::new(),
            draw,
        };
        for (name, service) in &plan.services {
            let at = world.services.len();
            let mut places = Vec::new();
            for (region, hosts) in &service.hosts {
                let mut members = Vec::new();
                for host in hosts {
                    let host = world.host(host);
                    world.hosts[host].places.push((at, places.len()));
                    members.push(host);
                }
                places.push(Place {
                    region: region.clone(),
                    hosts: members,
                    minimum: service.minimum.get(region).copied().unwrap_or(0),
                    serving: 0,
                });
            }
            world.services.push(SimService {
                name: name.clone(),
                minimum_total: service.minimum_total.unwrap_or(0),
                serving: 0,
                places,
                margin: i64::MAX,
            });
        }
        for step in &plan.steps {
            world.host(&step.host);
        }
        for host in &plan.out_of_service {
            let at = world.host(host);
            world.hosts[at].drained = true;
        }
        for at in 0..world.hosts.len() {
            world.see(at, 0);
        }
        world
    }

    fn host(&mut self, name: &HostName) -> usize {
        if let Some(&at) = self.by_name.get(name) {
            return at;
        }
        let at = self.hosts.len();
        self.hosts.push(SimHost::new(Vec::new()));
        self.names.push(name.clone());
        self.by_name.insert(name.clone(), at);
        at
    }

    /// Draws what is wrong with each planned host. `start` is the second at which a step starts.
    pub(crate) fn draw_flaws(
        &mut self,
        plan: &Plan,
        faults: &Faults,
        start: impl Fn(usize) -> i64,
    ) {
        for (number, step) in plan.steps.iter().enumerate() {
            let Some(&at) = self.by_name.get(&step.host) else {
                continue;
            };
            let draw = self.draw;
            let who = [at as u64];
            let variant = [u64::from(step.variant)];
            let starts = start(number);
            let span = |about, per_mille, longest| {
                draw.happens(about, &who, per_mille).then(|| {
                    let from = starts + draw.between(about, &[who[0], 1], -900, 1800);
                    (from, from + draw.between(about, &[who[0], 2], 60, longest))
                })
            };
            let gone = draw.happens(About::Gone, &who, faults.gone).then(|| {
                let from = starts + draw.between(About::Gone, &[who[0], 1], -900, 1800);
                (from, i64::MAX)
            });
            let never_back = draw.happens(About::NeverBack, &who, faults.never_back);
            let disk_fills = span(About::DiskFills, faults.disk_fills, 40 * 60);
            let for_good = draw.bits(About::DiskFills, &[who[0], 3]).is_multiple_of(3);
            let disk_full =
                draw.happens(About::DiskFull, &who, faults.disk_full)
                    .then(|| match draw.bits(About::DiskFull, &[who[0], 1]) % 3 {
                        0 => DiskFull::Before,
                        1 => DiskFull::Saving,
                        _ => DiskFull::Unpacking,
                    });
            let host = &mut self.hosts[at];
            // One family in four keeps its queue where an upgrade removes it.
            host.durable = !draw.happens(About::Fleet, &[7, variant[0]], 250);
            host.flaws = Flaws {
                package_broken: draw.happens(About::PackageBroken, &variant, faults.package_broken),
                stays_old: draw.happens(About::StaysOld, &who, faults.stays_old),
                probe_lost: draw.happens(About::ProbeLost, &who, faults.probe_lost),
                probe_lost_later: draw.happens(
                    About::ProbeLostLater,
                    &who,
                    faults.probe_lost_later,
                ),
                probe_lost_old: draw.happens(About::ProbeLostOld, &who, faults.roll_back_broken),
                reboots: draw.happens(About::Reboot, &who, faults.reboot) || never_back,
                never_back,
                mirror_gone: draw.happens(About::Mirror, &who, faults.mirror_gone),
                drain_fails: draw.happens(About::DrainFails, &who, faults.drain_fails),
                roll_back_broken: draw.happens(
                    About::RollBackBroken,
                    &who,
                    faults.roll_back_broken,
                ),
                disk_full,
                disk_fills: disk_fills
                    .map(|(from, until)| (from, if for_good { i64::MAX } else { until })),
                locked: span(About::PackageLock, faults.package_lock, 45 * 60),
                outage: gone.or(span(About::Outage, faults.outage, 30 * 60)),
                next_hop_down: span(About::NextHop, faults.next_hop_down, 40 * 60),
            };
            if let Some((_, until)) = host.flaws.next_hop_down {
                self.next.push((until, Next::Flush(index(at))));
            }
            if draw.happens(About::EndlessSession, &who, faults.endless_session) {
                // Somebody holds a session open from before the drain until long after it.
                let message = self.messages.len();
                let (service, place) = self.hosts[at].places.first().copied().unwrap_or((0, 0));
                if !self.hosts[at].places.is_empty() {
                    let mut endless = Message::new(index(service), index(place), starts);
                    endless.tries = 1;
                    self.messages.push(endless);
                    self.hosts[at].sessions.push(index(message));
                    let ends = starts + draw.between(About::EndlessSession, &[who[0], 1], 60, 3600);
                    self.next
                        .push((ends, Next::SessionEnds(index(at), index(message))));
                }
            }
        }
    }

    /// Looks whether a host serves, and counts it. The service that is below its minimum now, where one
    /// is that was not, or is further below.
    pub(crate) fn see(&mut self, at: usize, now: i64) -> Option<Below> {
        let serves = self.hosts[at].serves(now);
        if serves == self.hosts[at].serving {
            return None;
        }
        self.hosts[at].serving = serves;
        let mut below = None;
        for number in 0..self.hosts[at].places.len() {
            let (service, place) = self.hosts[at].places[number];
            let service = &mut self.services[service];
            let place = &mut service.places[place];
            if serves {
                place.serving += 1;
                service.serving += 1;
                continue;
            }
            place.serving -= 1;
            service.serving -= 1;
            if place.serving < place.minimum {
                below = Some(Below {
                    service: service.name.clone(),
                    region: Some(place.region.clone()),
                    serving: place.serving,
                    minimum: place.minimum,
                });
            } else if service.serving < service.minimum_total {
                below = Some(Below {
                    service: service.name.clone(),
                    region: None,
                    serving: service.serving,
                    minimum: service.minimum_total,
                });
            }
            let margin = i64::from(place.serving) - i64::from(place.minimum);
            let total = i64::from(service.serving) - i64::from(service.minimum_total);
            service.margin = service.margin.min(margin).min(total);
        }
        below
    }

    /// Lets happen to messages what an act did to a host.
    pub(crate) fn take_in(&mut self, at: usize, effects: Effects, now: i64) {
        for message in effects.cut {
            let pause = retry_pause(self.messages[message as usize].tries);
            if self
                .draw
                .happens(About::Cut, &[u64::from(message), at as u64], 300)
            {
                // It was taken, and the answer went down with the session.
                self.messages[message as usize].sent = true;
                self.hosts[at].queue.push(message);
            }
            self.next.push((now + pause, Next::Try(message)));
        }
        // `lost` is gone from the queue, and that is all there is to it: the account finds out.
        drop(effects.lost);
        if effects.flush {
            self.next.push((now + PASS_ON, Next::Flush(index(at))));
        }
    }

    /// Goes on with a message or a queue.
    pub(crate) fn happen(&mut self, next: Next, now: i64) {
        match next {
            Next::Born(service, region) => {
                let number = index(self.messages.len());
                self.messages.push(Message::new(service, region, now));
                self.attempt(number, now);
            }
            Next::Try(number) => self.attempt(number, now),
            Next::SessionEnds(host, number) => self.end_session(host, number, now),
            Next::Flush(host) => self.flush(host, now),
        }
    }

    /// Tries the servers of its region, then all others, each group in an order drawn.
    fn attempt(&mut self, number: u32, now: i64) {
        let message = &mut self.messages[number as usize];
        if message.acknowledged {
            return;
        }
        message.tries += 1;
        let tries = message.tries;
        let (service, region) = (message.service as usize, message.region as usize);
        let pick = self
            .draw
            .bits(About::Sender, &[u64::from(number), u64::from(tries)]);
        let places = &self.services[service].places;
        let near = places.get(region).into_iter();
        let far = places.iter().enumerate().filter(|(at, _)| *at != region);
        let found = near.chain(far.map(|(_, place)| place)).find_map(|place| {
            let count = place.hosts.len().max(1);
            let first = usize::try_from(pick % count as u64).unwrap_or(0);
            let order = place
                .hosts
                .iter()
                .cycle()
                .skip(first)
                .take(place.hosts.len());
            order.copied().find(|&host| self.hosts[host].serves(now))
        });
        let Some(host) = found else {
            // A sender that finds nobody gives up in the end, and tells the author.
            if now - self.messages[number as usize].born < GIVES_UP {
                self.next
                    .push((now + retry_pause(tries), Next::Try(number)));
            }
            return;
        };
        self.hosts[host].sessions.push(number);
        let what = [u64::from(number), u64::from(tries), 1];
        // Most sessions take seconds; one in fifty dawdles for minutes.
        let longest = if self.draw.happens(About::Session, &what, 20) {
            540
        } else {
            20
        };
        let lasts = self.draw.between(About::Session, &what, 1, longest);
        self.next
            .push((now + lasts, Next::SessionEnds(index(host), number)));
    }

    fn end_session(&mut self, host: u32, number: u32, now: i64) {
        let at = host as usize;
        let sessions = &mut self.hosts[at].sessions;
        let Some(open) = sessions.iter().position(|&known| known == number) else {
            // It was cut before.
            return;
        };
        sessions.swap_remove(open);
        let message = &mut self.messages[number as usize];
        message.sent = true;
        let what = [u64::from(number), u64::from(message.tries), 2];
        if self.draw.happens(About::Session, &what, ANSWERS_LOST) {
            let pause = retry_pause(message.tries);
            self.next.push((now + pause, Next::Try(number)));
        } else {
            message.acknowledged = true;
        }
        self.hosts[at].queue.push(number);
        self.next.push((now + PASS_ON, Next::Flush(host)));
    }

    fn flush(&mut self, host: u32, now: i64) {
        let at = host as usize;
        if !self.hosts[at].passes_on(now) {
            return;
        }
        for number in std::mem::take(&mut self.hosts[at].queue) {
            let message = &mut self.messages[number as usize];
            message.late |= message.arrived == 0 && now - message.born > LATE_MINUTES * 60;
            message.arrived += 1;
        }
    }

    /// How many copies of each message lie in a queue.
    pub(crate) fn kept(&self) -> Vec<u32> {
        let mut kept = vec![0; self.messages.len()];
        for host in &self.hosts {
            for &number in &host.queue {
                kept[number as usize] += 1;
            }
        }
        kept
    }
}

/// Places are small.
pub(crate) fn index(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleets::Drawn;

    #[test]
    fn a_sender_that_finds_nobody_gives_up_after_five_days() {
        let plan = Drawn::new(1).unwrap().plan().unwrap();
        let mut world = World::new(&plan, Draw::new(1));
        for host in &mut world.hosts {
            host.drained = true;
        }
        world.happen(Next::Born(0, 0), 0);
        let mut tries = 0;
        let mut last = 0;
        while let Some((at, next)) = world.next.pop() {
            world.happen(next, at);
            tries += 1;
            last = at;
        }
        assert!((100..200).contains(&tries), "{tries}");
        assert!(last < GIVES_UP + 3600);
        assert!(!world.messages[0].sent);
    }
}
