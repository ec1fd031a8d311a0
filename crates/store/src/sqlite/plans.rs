//! Plans, their approvals, and who may carry them out.

use mailkeep_model::{Event, EventKind, PlanId, RecordedEvent, RegionName, TeamName, Timestamp};
use rusqlite::{OptionalExtension as _, Transaction};

use super::fault::Fault;
use super::{Commit, SqliteStore, append, damaged, recorded, text};
use crate::{Approval, Claim, ClaimAnswer, KeptPlan, StoreError};

/// The topic of events about hosts isolated by hand. No plan id looks like it.
pub(super) const ISOLATION: &str = "isolation";

/// The topic of plans that carry out recipes.
pub(super) const RECIPES: &str = "recipes";

/// The topic of attacks that somebody saw.
pub(super) const ATTACKS: &str = "attacks";

/// The topic of mail that a shield held, and of what people were told of it.
pub(super) const HELD_MAIL: &str = "held-mail";

/// Which events belong together, beyond their order.
pub(super) fn topic_of(kind: &EventKind) -> Option<&str> {
    match kind {
        EventKind::HostIsolated { .. } | EventKind::HostReleased { .. } => Some(ISOLATION),
        EventKind::RecipesPlanned { .. } => Some(RECIPES),
        EventKind::AttackSeen { .. } => Some(ATTACKS),
        EventKind::MessageReleased { .. } | EventKind::HeldMailTold { .. } => Some(HELD_MAIL),
        other => other.plan().map(PlanId::as_str),
    }
}

impl SqliteStore {
    pub(super) fn keep_plan(
        &mut self,
        id: &PlanId,
        canonical: &[u8],
        event: &Event,
    ) -> Result<bool, StoreError> {
        let realm = self.realm;
        self.write("keep a plan", Commit::Durable, |tx| {
            let new = tx.execute(
                "INSERT INTO plan (id, at, body) VALUES (?1, ?2, ?3) ON CONFLICT (id) DO NOTHING",
                (id.as_str(), event.at.as_microsecond(), canonical),
            )? > 0;
            if new {
                append(tx, realm, event)?;
            }
            Ok(new)
        })
    }

    pub(super) fn read_plan(&self, id: &PlanId) -> Result<Option<Vec<u8>>, StoreError> {
        self.read("read a plan", |conn| {
            Ok(conn
                .query_row(
                    "SELECT body FROM plan WHERE id = ?1",
                    [id.as_str()],
                    |row| row.get(0),
                )
                .optional()?)
        })
    }

    pub(super) fn list_plans(&self) -> Result<Vec<KeptPlan>, StoreError> {
        self.read("list the plans", |conn| {
            let mut statement =
                conn.prepare("SELECT id, at FROM plan ORDER BY at DESC, kept DESC")?;
            let mut rows = statement.query([])?;
            let mut plans = Vec::new();
            while let Some(row) = rows.next()? {
                plans.push(KeptPlan {
                    id: PlanId::new(text(row.get_ref(0)?)?).map_err(damaged)?,
                    made_at: Timestamp::from_microsecond(row.get(1)?).map_err(damaged)?,
                });
            }
            Ok(plans)
        })
    }

    pub(super) fn find_plans(&self, prefix: &str, limit: usize) -> Result<Vec<PlanId>, StoreError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.read("look for a plan", |conn| {
            let mut statement = conn.prepare(
                "SELECT id FROM plan
                 WHERE substr(id, 1, length(?1)) = ?1
                    OR substr(id, 1, length(?1) + 7) = 'sha256:' || ?1
                 ORDER BY at DESC, kept DESC LIMIT ?2",
            )?;
            let mut rows = statement.query((prefix, limit))?;
            let mut plans = Vec::new();
            while let Some(row) = rows.next()? {
                plans.push(PlanId::new(text(row.get_ref(0)?)?).map_err(damaged)?);
            }
            Ok(plans)
        })
    }

    pub(super) fn keep_approval(
        &mut self,
        approval: &Approval,
        event: &Event,
    ) -> Result<(), StoreError> {
        let realm = self.realm;
        self.write("keep an approval", Commit::Durable, |tx| {
            known(tx, &approval.plan)?;
            tx.execute(
                "INSERT INTO approval (plan, region, team, digest, signature, at)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                (
                    approval.plan.as_str(),
                    approval.region.as_ref().map(RegionName::as_str),
                    approval.team.as_str(),
                    &approval.digest,
                    &approval.signature,
                    approval.at.as_microsecond(),
                ),
            )?;
            append(tx, realm, event)?;
            Ok(())
        })
    }

    pub(super) fn read_approvals(&self, plan: &PlanId) -> Result<Vec<Approval>, StoreError> {
        self.read("read the approvals of a plan", |conn| {
            let mut statement = conn.prepare(
                "SELECT region, team, digest, signature, at FROM approval
                 WHERE plan = ?1 ORDER BY nth",
            )?;
            let mut rows = statement.query([plan.as_str()])?;
            let mut approvals = Vec::new();
            while let Some(row) = rows.next()? {
                let region: Option<String> = row.get(0)?;
                approvals.push(Approval {
                    plan: plan.clone(),
                    region: region.map(RegionName::new).transpose().map_err(damaged)?,
                    team: TeamName::new(text(row.get_ref(1)?)?).map_err(damaged)?,
                    digest: row.get(2)?,
                    signature: row.get(3)?,
                    at: Timestamp::from_microsecond(row.get(4)?).map_err(damaged)?,
                });
            }
            Ok(approvals)
        })
    }

    pub(super) fn read_topic(
        &self,
        topic: &str,
        after: u64,
    ) -> Result<Vec<RecordedEvent>, StoreError> {
        let after = i64::try_from(after).unwrap_or(i64::MAX);
        self.read("read the events of a plan", |conn| {
            let mut statement = conn.prepare(
                "SELECT seq, body FROM event WHERE topic = ?1 AND seq > ?2 ORDER BY seq",
            )?;
            recorded(statement.query((topic, after))?)
        })
    }

    pub(super) fn claim(
        &mut self,
        plan: &PlanId,
        controller: &str,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<ClaimAnswer, StoreError> {
        // Durable, or a power cut could give the same fencing number twice.
        self.write("claim a rollout", Commit::Durable, |tx| {
            known(tx, plan)?;
            let held: Option<(String, i64)> = tx
                .query_row(
                    "SELECT controller, until FROM rollout_claim WHERE plan = ?1",
                    [plan.as_str()],
                    |row| Ok((row.get(0)?, row.get(1)?)),
                )
                .optional()?;
            if let Some((by, until)) = held
                && by != controller
                && until > now.as_microsecond()
            {
                return Ok(ClaimAnswer::Held {
                    by,
                    until: Timestamp::from_microsecond(until).map_err(damaged)?,
                });
            }
            let fence: i64 = tx.query_row(
                "INSERT INTO rollout_claim (plan, controller, fence, until) VALUES (?1, ?2, 1, ?3)
                 ON CONFLICT (plan) DO UPDATE SET controller = excluded.controller,
                     fence = fence + 1, until = excluded.until
                 RETURNING fence",
                (plan.as_str(), controller, until.as_microsecond()),
                |row| row.get(0),
            )?;
            Ok(ClaimAnswer::Claimed(Claim {
                plan: plan.clone(),
                fence: u64::try_from(fence).map_err(damaged)?,
                until,
            }))
        })
    }

    pub(super) fn renew(&mut self, claim: &mut Claim, until: Timestamp) -> Result<(), StoreError> {
        // Lost by a power cut, it only ends sooner.
        self.write("renew a claim", Commit::Quick, |tx| {
            ours(tx, claim)?;
            tx.execute(
                "UPDATE rollout_claim SET until = ?2 WHERE plan = ?1",
                (claim.plan.as_str(), until.as_microsecond()),
            )?;
            Ok(())
        })?;
        claim.until = until;
        Ok(())
    }

    pub(super) fn give_back(&mut self, claim: &Claim) -> Result<(), StoreError> {
        self.write("give a claim back", Commit::Quick, |tx| {
            let fence = i64::try_from(claim.fence).map_err(damaged)?;
            tx.execute(
                "UPDATE rollout_claim SET until = 0 WHERE plan = ?1 AND fence = ?2",
                (claim.plan.as_str(), fence),
            )?;
            Ok(())
        })
    }

    pub(super) fn append_under(
        &mut self,
        claim: &Claim,
        events: &[Event],
    ) -> Result<u64, StoreError> {
        let realm = self.realm;
        self.write("keep the journal of a rollout", Commit::Durable, |tx| {
            ours(tx, claim)?;
            let mut last = 0;
            for event in events {
                last = append(tx, realm, event)?;
            }
            Ok(last)
        })
    }
}

fn known(tx: &Transaction<'_>, plan: &PlanId) -> Result<(), Fault> {
    let found = tx
        .query_row("SELECT 1 FROM plan WHERE id = ?1", [plan.as_str()], |_| {
            Ok(())
        })
        .optional()?;
    found.ok_or_else(|| Fault::Store(StoreError::NoSuchPlan { plan: plan.clone() }))
}

fn ours(tx: &Transaction<'_>, claim: &Claim) -> Result<(), Fault> {
    let fence: Option<i64> = tx
        .query_row(
            "SELECT fence FROM rollout_claim WHERE plan = ?1",
            [claim.plan.as_str()],
            |row| row.get(0),
        )
        .optional()?;
    if fence.map(u64::try_from) == Some(Ok(claim.fence)) {
        Ok(())
    } else {
        Err(Fault::Store(StoreError::ClaimLost {
            plan: claim.plan.clone(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use mailkeep_model::Realm;

    use super::*;
    use crate::Store as _;

    fn event(kind: EventKind) -> Event {
        Event {
            at: Timestamp::UNIX_EPOCH,
            realm: Realm::Live,
            kind,
        }
    }

    #[test]
    fn a_state_of_the_first_schema_is_brought_up_with_its_events() {
        let dir = tempfile::tempdir().unwrap();
        let feed = mailkeep_model::FeedId::new("kev").unwrap();
        let old = event(EventKind::FeedFailed {
            feed,
            reason: "gone".to_owned(),
        });
        let told = event(EventKind::HeldMailTold {
            person: "ada@example.org".to_owned(),
            messages: Vec::new(),
            lessons: Vec::new(),
        });
        let by = mailkeep_model::Actor {
            name: "ada".to_owned(),
            team: None,
        };
        let released = event(EventKind::MessageReleased {
            message: "a1".to_owned(),
            recipients: Vec::new(),
            by: by.clone(),
        });
        let attack = event(EventKind::AttackSeen {
            rule: "exim-parameter-quote".to_owned(),
            source: None,
            target: "198.51.100.1".parse().unwrap(),
            host: None,
            first: Timestamp::UNIX_EPOCH,
            last: Timestamp::UNIX_EPOCH,
            alerts: 3,
        });
        let mut store = SqliteStore::open(dir.path(), Realm::Live).unwrap();
        for one in [&old, &told, &released, &attack] {
            store.append_event(one).unwrap();
        }
        // As the first release wrote it.
        store
            .conn
            .execute_batch(
                "DROP INDEX event_of_topic; ALTER TABLE event DROP COLUMN topic;
                 DROP TABLE rollout_claim; DROP TABLE approval; DROP TABLE plan;
                 DROP TABLE check_findings;
                 CREATE TABLE check_findings (
                     scope TEXT NOT NULL PRIMARY KEY REFERENCES check_scope (scope),
                     body TEXT NOT NULL
                 ) STRICT;
                 PRAGMA user_version = 1;",
            )
            .unwrap();
        drop(store);
        let error = SqliteStore::open_read_only(dir.path(), Realm::Live).unwrap_err();
        assert_eq!(error.kind(), "older-schema");
        let mut store = SqliteStore::open(dir.path(), Realm::Live).unwrap();
        let plan = PlanId::new("sha256:aa").unwrap();
        store
            .append_event(&event(EventKind::RolloutStarted {
                plan: plan.clone(),
                by,
            }))
            .unwrap();
        assert_eq!(store.events_after(0, 10).unwrap()[0].event, old);
        let events = |recorded: Vec<RecordedEvent>| -> Vec<Event> {
            recorded.into_iter().map(|one| one.event).collect()
        };
        let held = events(store.held_mail_events().unwrap());
        assert_eq!(held, [told, released]);
        assert_eq!(events(store.attack_events().unwrap()), [attack]);
        let changed = store.conn.execute("UPDATE event SET topic = 'x'", []);
        assert!(changed.is_err(), "events are append-only again");
        assert_eq!(store.events_of_plan(&plan, 0).unwrap()[0].seq, 5);
        store.check_integrity().unwrap();
    }
}
