//! Chance, from a seed: every draw is a function of the seed and of what is drawn, never of what was
//! drawn before. So a run that a crash interrupts meets the same broken package as one that it does not.

/// What a draw is about. The numbers keep draws apart; they are never stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub(crate) enum About {
    Crash = 1,
    Cut,
    DiskFills,
    DiskFull,
    DrainFails,
    Downtime,
    Duration,
    EndlessSession,
    Fleet,
    Gone,
    Hang,
    LeaseTaken,
    LongCut,
    LosesReply,
    Mirror,
    NeverBack,
    NextHop,
    OtherPlan,
    Outage,
    PackageBroken,
    PackageLock,
    ProbeLost,
    ProbeLostLater,
    ProbeLostOld,
    Reboot,
    RollBackBroken,
    Sender,
    Session,
    StaysOld,
    Unreachable,
}

/// The source of all draws of one run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Draw {
    seed: u64,
}

impl Draw {
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// 64 bits: `SplitMix64`'s finisher over each number in turn.
    pub(crate) fn bits(self, about: About, what: &[u64]) -> u64 {
        let mut state = mix(self.seed ^ mix(about as u64));
        for &number in what {
            state = mix(state ^ number);
        }
        state
    }

    /// A number from `from` up to, not including, `to`; `from` where there is none.
    pub(crate) fn between(self, about: About, what: &[u64], from: i64, to: i64) -> i64 {
        let span = u64::try_from(to.saturating_sub(from)).unwrap_or(0).max(1);
        from.saturating_add(i64::try_from(self.bits(about, what) % span).unwrap_or(0))
    }

    /// True in so many of a thousand cases.
    pub(crate) fn happens(self, about: About, what: &[u64], per_mille: u16) -> bool {
        per_mille > 0 && self.bits(about, what) % 1000 < u64::from(per_mille)
    }
}

fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draw_depends_on_the_seed_and_on_what_is_drawn_alone() {
        let draw = Draw::new(7);
        assert_eq!(
            draw.bits(About::Hang, &[1, 2]),
            draw.bits(About::Hang, &[1, 2])
        );
        assert_ne!(
            draw.bits(About::Hang, &[1, 2]),
            draw.bits(About::Hang, &[2, 1])
        );
        assert_ne!(draw.bits(About::Hang, &[1]), draw.bits(About::Gone, &[1]));
        assert_ne!(
            draw.bits(About::Hang, &[1]),
            Draw::new(8).bits(About::Hang, &[1])
        );
    }

    #[test]
    fn what_happens_in_a_tenth_of_cases_does() {
        let draw = Draw::new(1);
        let hits = (0..10_000).filter(|&n| draw.happens(About::Hang, &[n], 100));
        let hits = hits.count();
        assert!((900..1_100).contains(&hits), "{hits}");
        assert!(!(0..10_000).any(|n| draw.happens(About::Hang, &[n], 0)));
    }
}
