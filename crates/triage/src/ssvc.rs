//! CISA's SSVC decision tree, version 2.0.3, as a table (certcc/SSVC, `cisa:DT_CO:2.0.3`).

use std::sync::OnceLock;

use mailkeep_model::{
    Decision, MissionPrevalence, SsvcAutomatable, SsvcExploitation, SsvcTechnicalImpact,
    WellBeingImpact,
};

/// Mission and well-being impact, combined (`ssvc:MWI:1.0.0`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MissionWellBeing {
    /// Both are minimal.
    Low,
    /// Anything between.
    Medium,
    /// The mission is essential, or the harm irreversible.
    High,
}

impl MissionWellBeing {
    /// The stable name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }

    /// High if the mission prevalence is essential or the well-being impact irreversible, low if
    /// both are minimal, otherwise medium.
    pub fn combine(mission: MissionPrevalence, well_being: WellBeingImpact) -> Self {
        use MissionPrevalence as M;
        use WellBeingImpact as W;
        match (mission, well_being) {
            (M::Essential, _) | (_, W::Irreversible) => Self::High,
            (M::Minimal, W::Minimal) => Self::Low,
            (M::Minimal, W::Material) | (M::Support, W::Minimal | W::Material) => Self::Medium,
        }
    }
}

/// The decision for a set of inputs: one row for each exploitation, automatable and technical
/// impact; its cells are mission and well-being low, medium, high.
#[expect(
    clippy::match_same_arms,
    reason = "every row of CISA's table stands for itself"
)]
pub fn decide(
    exploitation: SsvcExploitation,
    automatable: SsvcAutomatable,
    technical_impact: SsvcTechnicalImpact,
    mission_well_being: MissionWellBeing,
) -> Decision {
    use Decision::{Act, Attend, Track, TrackStar};
    use SsvcAutomatable::{No, Yes};
    use SsvcExploitation::{Active, None, Poc};
    use SsvcTechnicalImpact::{Partial, Total};

    let [low, medium, high] = match (exploitation, automatable, technical_impact) {
        (None, No, Partial) => [Track, Track, Track],
        (None, No, Total) => [Track, Track, TrackStar],
        (None, Yes, Partial) => [Track, Track, Attend],
        (None, Yes, Total) => [Track, Track, Attend],
        (Poc, No, Partial) => [Track, Track, TrackStar],
        (Poc, No, Total) => [Track, TrackStar, Attend],
        (Poc, Yes, Partial) => [Track, Track, Attend],
        (Poc, Yes, Total) => [Track, TrackStar, Attend],
        (Active, No, Partial) => [Track, Track, Attend],
        (Active, No, Total) => [Track, Attend, Act],
        (Active, Yes, Partial) => [Attend, Attend, Act],
        (Active, Yes, Total) => [Attend, Act, Act],
    };
    match mission_well_being {
        MissionWellBeing::Low => low,
        MissionWellBeing::Medium => medium,
        MissionWellBeing::High => high,
    }
}

/// The decision in one sentence, with what it was made from. There are 36 of them, each put together
/// once.
pub(crate) fn decision_sentence(
    exploitation: SsvcExploitation,
    automatable: SsvcAutomatable,
    technical_impact: SsvcTechnicalImpact,
    mission_well_being: MissionWellBeing,
) -> &'static str {
    static SENTENCES: [[OnceLock<String>; 3]; 12] = [const { [const { OnceLock::new() }; 3] }; 12];
    let row = match exploitation {
        SsvcExploitation::None => 0,
        SsvcExploitation::Poc => 4,
        SsvcExploitation::Active => 8,
    } + match automatable {
        SsvcAutomatable::No => 0,
        SsvcAutomatable::Yes => 2,
    } + match technical_impact {
        SsvcTechnicalImpact::Partial => 0,
        SsvcTechnicalImpact::Total => 1,
    };
    let cell = match mission_well_being {
        MissionWellBeing::Low => 0,
        MissionWellBeing::Medium => 1,
        MissionWellBeing::High => 2,
    };
    SENTENCES[row][cell].get_or_init(|| {
        let decision = decide(
            exploitation,
            automatable,
            technical_impact,
            mission_well_being,
        );
        format!(
            "SSVC: exploitation {}, automatable {}, technical impact {}, mission and well-being \
             {}: {}",
            exploitation_name(exploitation),
            automatable_name(automatable),
            technical_impact_name(technical_impact),
            mission_well_being.name(),
            decision.name(),
        )
    })
}

fn exploitation_name(value: SsvcExploitation) -> &'static str {
    match value {
        SsvcExploitation::None => "none",
        SsvcExploitation::Poc => "poc",
        SsvcExploitation::Active => "active",
    }
}

fn automatable_name(value: SsvcAutomatable) -> &'static str {
    match value {
        SsvcAutomatable::No => "no",
        SsvcAutomatable::Yes => "yes",
    }
}

pub(crate) fn technical_impact_name(value: SsvcTechnicalImpact) -> &'static str {
    match value {
        SsvcTechnicalImpact::Partial => "partial",
        SsvcTechnicalImpact::Total => "total",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXPLOITATION: [SsvcExploitation; 3] = [
        SsvcExploitation::None,
        SsvcExploitation::Poc,
        SsvcExploitation::Active,
    ];
    const AUTOMATABLE: [SsvcAutomatable; 2] = [SsvcAutomatable::No, SsvcAutomatable::Yes];
    const IMPACT: [SsvcTechnicalImpact; 2] =
        [SsvcTechnicalImpact::Partial, SsvcTechnicalImpact::Total];
    const MWB: [MissionWellBeing; 3] = [
        MissionWellBeing::Low,
        MissionWellBeing::Medium,
        MissionWellBeing::High,
    ];

    /// The whole tree, written once more as one letter a cell, in the order of CISA's own table.
    #[test]
    fn all_36_cells_are_cisas() {
        let expected = "TTT TTS TTA TTA  TTS TSA TTA TSA  TTA TA! AA! A!!";
        let mut cells = expected.chars().filter(|c| *c != ' ');
        for e in EXPLOITATION {
            for a in AUTOMATABLE {
                for i in IMPACT {
                    for m in MWB {
                        let want = match cells.next().unwrap() {
                            'T' => Decision::Track,
                            'S' => Decision::TrackStar,
                            'A' => Decision::Attend,
                            _ => Decision::Act,
                        };
                        assert_eq!(decide(e, a, i, m), want, "{e:?} {a:?} {i:?} {m:?}");
                    }
                }
            }
        }
        assert_eq!(cells.next(), None);
    }

    #[test]
    fn each_of_the_36_sentences_says_its_own_inputs_and_decision() {
        for e in EXPLOITATION {
            for a in AUTOMATABLE {
                for i in IMPACT {
                    for m in MWB {
                        let expected = format!(
                            "SSVC: exploitation {}, automatable {}, technical impact {}, mission \
                             and well-being {}: {}",
                            exploitation_name(e),
                            automatable_name(a),
                            technical_impact_name(i),
                            m.name(),
                            decide(e, a, i, m).name()
                        );
                        assert_eq!(decision_sentence(e, a, i, m), expected);
                    }
                }
            }
        }
    }

    #[test]
    fn a_more_urgent_input_never_lowers_the_decision() {
        for e in EXPLOITATION {
            for a in AUTOMATABLE {
                for i in IMPACT {
                    for m in MWB {
                        let here = decide(e, a, i, m);
                        assert!(here <= decide(SsvcExploitation::Active, a, i, m));
                        assert!(here <= decide(e, SsvcAutomatable::Yes, i, m));
                        assert!(here <= decide(e, a, SsvcTechnicalImpact::Total, m));
                        assert!(here <= decide(e, a, i, MissionWellBeing::High));
                    }
                }
            }
        }
    }

    #[test]
    fn act_is_reached_only_by_what_is_exploited() {
        for e in [SsvcExploitation::None, SsvcExploitation::Poc] {
            for a in AUTOMATABLE {
                for i in IMPACT {
                    for m in MWB {
                        assert_ne!(decide(e, a, i, m), Decision::Act);
                    }
                }
            }
        }
    }

    #[test]
    fn mission_and_well_being_combine_to_the_higher() {
        use MissionPrevalence as M;
        use WellBeingImpact as W;
        for (mission, well_being, combined) in [
            (M::Minimal, W::Minimal, MissionWellBeing::Low),
            (M::Minimal, W::Material, MissionWellBeing::Medium),
            (M::Support, W::Minimal, MissionWellBeing::Medium),
            (M::Support, W::Material, MissionWellBeing::Medium),
            (M::Essential, W::Minimal, MissionWellBeing::High),
            (M::Essential, W::Irreversible, MissionWellBeing::High),
            (M::Minimal, W::Irreversible, MissionWellBeing::High),
        ] {
            assert_eq!(MissionWellBeing::combine(mission, well_being), combined);
        }
    }
}
