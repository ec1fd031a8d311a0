//! Plans, approvals, and who may carry a plan out.

use mailkeep_model::{
    Actor, Event, EventKind, Lane, PlanId, Realm, RecordedEvent, RegionName, TeamName, Timestamp,
};
use mailkeep_store::{Approval, Claim, ClaimAnswer, KeptPlan, Store};

use super::{Bench, at, event, host};

fn plan(digest: &str) -> PlanId {
    PlanId::new(format!("sha256:{digest}")).unwrap()
}

fn live(second: i64, kind: EventKind) -> Event {
    Event {
        at: at(second),
        realm: Realm::Live,
        kind,
    }
}

fn made(second: i64, id: &PlanId) -> Event {
    live(
        second,
        EventKind::PlanMade {
            plan: id.clone(),
            parent: None,
            lane: Lane::Regular,
            hosts: 2,
            title: "postfix on two hosts".to_owned(),
        },
    )
}

fn started(second: i64, id: &PlanId) -> Event {
    live(
        second,
        EventKind::RolloutStarted {
            plan: id.clone(),
            by: ada(),
        },
    )
}

fn ada() -> Actor {
    Actor {
        name: "ada".to_owned(),
        team: None,
    }
}

fn keep(store: &mut dyn Store, second: i64, digest: &str) -> PlanId {
    let id = plan(digest);
    assert!(store.record_plan(&id, b"{}", &made(second, &id)).unwrap());
    id
}

fn claim(store: &mut dyn Store, id: &PlanId, who: &str, now: i64, until: i64) -> Claim {
    match store.claim_rollout(id, who, at(now), at(until)).unwrap() {
        ClaimAnswer::Claimed(claim) => claim,
        ClaimAnswer::Held { by, until } => panic!("held by {by} until {until}"),
    }
}

pub(crate) fn a_plan_is_kept_once(bench: &mut Bench) {
    let store = &mut *bench.store;
    let id = plan("aa");
    assert_eq!(store.plan(&id).unwrap(), None);
    let body = b"{\"format\":1}";
    assert!(store.record_plan(&id, body, &made(5, &id)).unwrap());
    assert!(!store.record_plan(&id, body, &made(6, &id)).unwrap());
    assert_eq!(store.plan(&id).unwrap().as_deref(), Some(&body[..]));
    assert_eq!(store.events_after(0, 10).unwrap().len(), 1);
    // Whose event cannot be appended is not kept either.
    let other = plan("bb");
    let mut wrong = made(7, &other);
    wrong.realm = Realm::Drill;
    let error = store.record_plan(&other, body, &wrong).unwrap_err();
    assert_eq!(error.kind(), "event-of-other-realm");
    assert_eq!(store.plan(&other).unwrap(), None);
}

pub(crate) fn plans_come_newest_first(bench: &mut Bench) {
    let store = &mut *bench.store;
    keep(store, 5, "aa");
    keep(store, 9, "bb");
    keep(store, 7, "cc");
    let kept = |digest, second| KeptPlan {
        id: plan(digest),
        made_at: at(second),
    };
    assert_eq!(
        store.plans().unwrap(),
        [kept("bb", 9), kept("cc", 7), kept("aa", 5)]
    );
}

pub(crate) fn a_plan_is_found_by_the_beginning_of_its_id(bench: &mut Bench) {
    let store = &mut *bench.store;
    keep(store, 1, "abcd");
    keep(store, 2, "abef");
    let found = |prefix: &str, limit| store.plans_with_prefix(prefix, limit).unwrap();
    assert_eq!(found("abc", 9), [plan("abcd")]);
    assert_eq!(found("sha256:abe", 9), [plan("abef")]);
    assert_eq!(found("ab", 9), [plan("abef"), plan("abcd")]);
    assert_eq!(found("ab", 1), [plan("abef")]);
    assert_eq!(found("b", 9), []);
    assert_eq!(found("a%", 9), []);
}

fn approval(plan: &PlanId, region: Option<&str>, second: i64) -> Approval {
    Approval {
        plan: plan.clone(),
        region: region.map(|name| RegionName::new(name).unwrap()),
        team: TeamName::new("mail").unwrap(),
        digest: plan.as_str().to_owned(),
        signature: "-----BEGIN SSH SIGNATURE-----\n...\n".to_owned(),
        at: at(second),
    }
}

fn approved(approval: &Approval) -> Event {
    Event {
        at: approval.at,
        realm: Realm::Live,
        kind: EventKind::PlanApproved {
            plan: approval.plan.clone(),
            region: approval.region.clone(),
            team: approval.team.clone(),
            digest: approval.digest.clone(),
        },
    }
}

pub(crate) fn an_approval_needs_its_plan(bench: &mut Bench) {
    let store = &mut *bench.store;
    let given = approval(&plan("aa"), None, 1);
    let error = store
        .record_approval(&given, &approved(&given))
        .unwrap_err();
    assert_eq!(error.kind(), "no-such-plan");
    assert_eq!(store.events_after(0, 10).unwrap(), []);
}

pub(crate) fn approvals_come_in_order(bench: &mut Bench) {
    let store = &mut *bench.store;
    let id = keep(store, 1, "aa");
    let other = keep(store, 2, "bb");
    let all = [
        approval(&id, Some("eu"), 9),
        approval(&other, None, 4),
        approval(&id, None, 3),
    ];
    for given in &all {
        store.record_approval(given, &approved(given)).unwrap();
    }
    let [first, second, third] = all;
    assert_eq!(store.approvals_of(&id).unwrap(), [first, third]);
    assert_eq!(store.approvals_of(&other).unwrap(), [second]);
    assert_eq!(store.approvals_of(&plan("cc")).unwrap(), []);
    assert_eq!(store.events_of_plan(&id, 0).unwrap().len(), 3);
}

pub(crate) fn the_events_of_a_plan_come_alone(bench: &mut Bench) {
    let store = &mut *bench.store;
    let id = keep(store, 1, "aa");
    let other = keep(store, 2, "bb");
    store.append_event(&event(3)).unwrap();
    store.append_event(&started(4, &id)).unwrap();
    store.append_event(&started(5, &other)).unwrap();
    let seqs = |id, after| -> Vec<u64> {
        let events = store.events_of_plan(id, after).unwrap();
        events.iter().map(|recorded| recorded.seq).collect()
    };
    assert_eq!(seqs(&id, 0), [1, 4]);
    assert_eq!(seqs(&id, 1), [4]);
    assert_eq!(seqs(&other, 0), [2, 5]);
    assert!(seqs(&id, u64::MAX).is_empty());
}

pub(crate) fn events_of_a_topic_come_alone(bench: &mut Bench) {
    let store = &mut *bench.store;
    store.append_event(&event(1)).unwrap();
    let isolated = live(
        2,
        EventKind::HostIsolated {
            host: host("mx1"),
            by: ada(),
            reason: "exploited".to_owned(),
            below_minimum: false,
        },
    );
    store.append_event(&isolated).unwrap();
    keep(store, 3, "aa");
    let recipes = live(4, EventKind::RecipesPlanned { plan: plan("aa") });
    store.append_event(&recipes).unwrap();
    let found = store.recipe_events().unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].event, recipes);
    let events = store.isolation_events().unwrap();
    assert_eq!(events.len(), 1);
    assert_eq!((events[0].seq, &events[0].event), (2, &isolated));
    let released = live(
        5,
        EventKind::MessageReleased {
            message: "a1".to_owned(),
            recipients: vec!["ada@example.org".to_owned()],
            by: ada(),
        },
    );
    let told = live(
        6,
        EventKind::HeldMailTold {
            person: "ada@example.org".to_owned(),
            messages: vec!["a2".to_owned()],
            lessons: Vec::new(),
        },
    );
    let attack = live(
        7,
        EventKind::AttackSeen {
            rule: "exim-parameter-quote".to_owned(),
            source: None,
            target: "198.51.100.1".parse().unwrap(),
            host: None,
            first: at(1),
            last: at(2),
            alerts: 3,
        },
    );
    let several = [released.clone(), told.clone(), attack.clone()];
    store.append_events(&several).unwrap();
    let only = |events: Vec<RecordedEvent>| -> Vec<_> {
        events.into_iter().map(|recorded| recorded.event).collect()
    };
    assert_eq!(only(store.held_mail_events().unwrap()), [released, told]);
    assert_eq!(only(store.attack_events().unwrap()), [attack]);
    store.append_events(&[]).unwrap();
    let stray = Event {
        realm: Realm::Drill,
        ..isolated.clone()
    };
    let error = store.append_events(&[isolated, stray]).unwrap_err();
    assert_eq!(error.kind(), "event-of-other-realm");
    assert_eq!(store.isolation_events().unwrap().len(), 1, "all or none");
}

pub(crate) fn a_claim_is_exclusive_until_it_ends(bench: &mut Bench) {
    let store = &mut *bench.store;
    let id = plan("aa");
    let error = store.claim_rollout(&id, "one", at(0), at(9)).unwrap_err();
    assert_eq!(error.kind(), "no-such-plan");
    keep(store, 1, "aa");
    let other = keep(store, 2, "bb");
    let first = claim(store, &id, "one", 10, 20);
    assert_eq!(first.fence, 1);
    assert_eq!(
        store.claim_rollout(&id, "two", at(19), at(30)).unwrap(),
        ClaimAnswer::Held {
            by: "one".to_owned(),
            until: at(20)
        }
    );
    // Another plan is another claim.
    assert_eq!(claim(store, &other, "two", 19, 30).fence, 1);
}

pub(crate) fn an_expired_claim_can_be_taken_over_and_then_counts_no_more(bench: &mut Bench) {
    let store = &mut *bench.store;
    let id = keep(store, 1, "aa");
    let mut first = claim(store, &id, "one", 10, 20);
    store.append_claimed(&first, &[started(11, &id)]).unwrap();
    let second = claim(store, &id, "two", 20, 30);
    assert_eq!(second.fence, 2);
    let before = store.events_after(0, 99).unwrap();
    let error = store
        .append_claimed(&first, &[started(21, &id)])
        .unwrap_err();
    assert_eq!(error.kind(), "claim-lost");
    let error = store.renew_claim(&mut first, at(99)).unwrap_err();
    assert_eq!(error.kind(), "claim-lost");
    assert_eq!(first.until, at(20));
    store.give_back_claim(&first).unwrap();
    assert_eq!(store.events_after(0, 99).unwrap(), before);
    let last = store
        .append_claimed(&second, &[started(22, &id), started(23, &id)])
        .unwrap();
    assert_eq!(last, before.len() as u64 + 2);
}

pub(crate) fn a_controller_that_asks_again_gets_a_higher_fence(bench: &mut Bench) {
    let store = &mut *bench.store;
    let id = keep(store, 1, "aa");
    let first = claim(store, &id, "one", 10, 20);
    let again = claim(store, &id, "one", 11, 21);
    assert!(again.fence > first.fence);
    let error = store
        .append_claimed(&first, &[started(12, &id)])
        .unwrap_err();
    assert_eq!(error.kind(), "claim-lost");
}

pub(crate) fn a_claim_given_back_is_free(bench: &mut Bench) {
    let store = &mut *bench.store;
    let id = keep(store, 1, "aa");
    let first = claim(store, &id, "one", 10, 1_000);
    store.give_back_claim(&first).unwrap();
    let second = claim(store, &id, "two", 11, 1_000);
    assert_eq!(second.fence, 2);
}

pub(crate) fn an_ended_claim_that_nobody_took_can_be_renewed(bench: &mut Bench) {
    let store = &mut *bench.store;
    let id = keep(store, 1, "aa");
    let mut first = claim(store, &id, "one", 10, 20);
    store.renew_claim(&mut first, at(50)).unwrap();
    assert_eq!(first.until, at(50));
    let until: Timestamp = at(50);
    assert_eq!(
        store.claim_rollout(&id, "two", at(40), at(90)).unwrap(),
        ClaimAnswer::Held {
            by: "one".to_owned(),
            until
        }
    );
}
