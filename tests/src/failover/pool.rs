//! The pool of origins as the control plane shows it.

use std::{thread, time::Duration};

use serde_json::{Value, json};

use crate::{
    Cluster,
    cluster::program,
    grpc::Refusal,
    tools::{self, arg},
    wait::{self, SOON},
};

/// How often the control plane is asked: each question is a process.
const ASK: Duration = Duration::from_millis(200);
/// How long an origin may take to be in sync again: it has to be near the head for a while first, longer after each lapse.
const IN_SYNC: Duration = Duration::from_secs(90);

/// The first part of a role change: from the first sign until it was decided.
pub const DETECT: &str = "until it was decided: detect";

/// The parts of a role change: how a row names them, and an event.
const PARTS: [(&str, &str); 5] = [
    (DETECT, "detect_ms"),
    ("until the active had yielded", "yield_ms"),
    ("until it was written: decide", "decide_ms"),
    ("until the next had opened: open", "open_ms"),
    ("until it had gone on with a stream: first frame", "first_frame_ms"),
];

const SERVICE: &str = "headwater.control.v1.OriginPoolService";

/// The pool `main`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    /// The fencing token.
    pub epoch: u64,
    /// Grows with each change.
    pub version: u64,
    /// The node that is active.
    pub active: String,
    /// The nodes without whose ack nothing is committed, by name.
    pub in_sync: Vec<String>,
    /// `AUTO` or `HOLD`.
    pub mode: String,
    /// The epoch of the last promotion with loss.
    pub loss_epoch: u64,
    /// Why roles changed last.
    pub cause: String,
    /// All of it, for people.
    pub text: String,
}

impl Cluster {
    /// The pool, if the control plane answers.
    pub fn pool(&self) -> Option<Pool> {
        let answer = self.operator().call(&format!("{SERVICE}/GetOriginPool"), &json!({"name": "originPools/main"}));
        Pool::read(&answer.ok()?["originPool"])
    }

    /// Waits until the pool is as wanted.
    #[track_caller]
    pub fn wait_pool(&self, what: &str, limit: Duration, wanted: impl Fn(&Pool) -> bool) -> Pool {
        let mut last = None;
        let found = wait::maybe(limit, || {
            last = self.pool().or(last.take());
            let found = last.clone().filter(&wanted);
            if found.is_none() {
                thread::sleep(ASK);
            }
            found
        });
        found.unwrap_or_else(|| panic!("waited {limit:?} in vain: {what}; the pool is {last:?}"))
    }

    /// Waits until all origins are in sync and one is active.
    #[track_caller]
    pub fn wait_in_sync(&self) -> Pool {
        let origins = self.origins().len();
        self.wait_pool("all origins to be in sync", IN_SYNC, |pool| {
            pool.in_sync.len() == origins && pool.in_sync.contains(&pool.active)
        })
    }

    /// Waits until all origins are in sync and the control plane hears every node: what it goes by in a fault is what it has
    /// heard before.
    #[track_caller]
    pub fn wait_all_heard(&self) -> Pool {
        let pool = self.wait_in_sync();
        wait::until("every node to be heard", SOON, || {
            let answer =
                self.operator().call("headwater.control.v1.MembershipService/ListNodes", &json!({"pageSize": 100}));
            let answer = answer.ok()?;
            let alive = answer["nodes"].as_array()?.iter().filter(|node| node["state"] == "NODE_STATE_ALIVE").count();
            if alive + 1 < self.nodes().len() {
                thread::sleep(ASK);
                return None;
            }
            Some(())
        });
        pool
    }

    /// Waits until all origins are in sync and roles may move: a control plane that has just started moves none.
    #[track_caller]
    pub fn wait_settled(&self) {
        let pool = self.wait_in_sync();
        let request = json!({
            "name": "originPools/main",
            "member": format!("nodes/{}", other(&pool.active)),
            "expectedEpoch": pool.epoch.to_string(),
            "validateOnly": true,
        });
        wait::until("roles to be free to move", SOON, || {
            let answer = self.operator().call(&format!("{SERVICE}/PromoteMember"), &request);
            if answer.is_err() {
                thread::sleep(ASK);
            }
            answer.ok()
        });
    }

    /// Waits until the pool has an epoch above this one.
    #[track_caller]
    pub fn wait_epoch_above(&self, epoch: u64) -> Pool {
        self.wait_pool(&format!("an epoch above {epoch}"), SOON, |pool| pool.epoch > epoch)
    }

    /// Lets no role move by itself: a loaded machine is no reason for it then. Gives the active origin.
    #[track_caller]
    pub fn hold_roles(&self) -> &str {
        let mut hold = program("headwater");
        tools::output(hold.args(["pools", "hold", "--reason", "a test", "--dir", arg(&self.dir())]));
        self.active()
    }

    /// Asks for another member to be active.
    pub fn promote(&self, member: &str, expected_epoch: u64) -> Result<Value, Refusal> {
        let request = json!({
            "name": "originPools/main",
            "member": format!("nodes/{member}"),
            "expectedEpoch": expected_epoch.to_string(),
            "reason": "a drill",
        });
        self.operator().call(&format!("{SERVICE}/PromoteMember"), &request)
    }

    /// Promotes the standby, once it is in sync; gives the pool as it is then.
    #[track_caller]
    pub fn promote_the_other(&self) -> Pool {
        self.wait_settled();
        wait::until("the standby to be promoted", IN_SYNC, || {
            let seen = self.wait_in_sync();
            self.promote(other(&seen.active), seen.epoch).ok()
        });
        self.wait_in_sync()
    }

    /// Promotes the standby of the pool as it was seen; asks again if it was not in sync at that moment.
    #[track_caller]
    pub fn promote_as_asked(&self, seen: &Pool) {
        let mut told = String::new();
        let promoted = wait::maybe(SOON, || match self.promote(other(&seen.active), seen.epoch) {
            Ok(_) => Some(()),
            Err(refusal) => {
                told = refusal.text;
                None
            }
        });
        assert!(promoted.is_some(), "PromoteMember: {told}");
    }

    /// Makes a member active at once, in sync or not.
    #[track_caller]
    pub fn force(&self, member: &str, expected_epoch: u64) {
        let request = json!({
            "name": "originPools/main",
            "member": format!("nodes/{member}"),
            "expectedEpoch": expected_epoch.to_string(),
            "reason": "a drill",
            "mode": "PROMOTE_MODE_FORCE",
        });
        self.operator().ok(&format!("{SERVICE}/PromoteMember"), request);
    }

    /// Calls a verb of the pool with its epoch.
    pub fn pool_verb(&self, verb: &str, expected_epoch: u64) -> Result<Value, Refusal> {
        let request = json!({
            "name": "originPools/main",
            "expectedEpoch": expected_epoch.to_string(),
            "reason": "a drill",
        });
        self.operator().call(&format!("{SERVICE}/{verb}"), &request)
    }

    /// How long the parts of a role change took, out of its event: there is exactly one, with cause and evidence.
    #[track_caller]
    pub fn parts_of_grant(&self, epoch: u64) -> Vec<(&'static str, Duration)> {
        let epoch = epoch.to_string();
        let events = wait::until(&format!("the event of epoch {epoch}"), SOON, || {
            let mut events = self.events("code=pool.granted");
            events.retain(|event| event["details"]["epoch"] == *epoch);
            if events.is_empty() {
                thread::sleep(ASK);
            }
            (!events.is_empty()).then_some(events)
        });
        assert_eq!(events.len(), 1, "one event for one role change: {events:?}");
        let details = &events[0]["details"];
        for needed in ["cause", "evidence"] {
            assert!(details[needed].as_str().is_some_and(|text| !text.is_empty()), "{needed}: {details}");
        }
        let part = |(name, key): (&'static str, &str)| {
            let ms = details[key].as_str()?.parse().ok()?;
            Some((name, Duration::from_millis(ms)))
        };
        PARTS.into_iter().filter_map(part).collect()
    }

    /// The events that the control plane keeps and that the filter lets through, newest first.
    pub fn events(&self, filter: &str) -> Vec<Value> {
        let request = json!({"pageSize": 1000, "filter": filter, "orderBy": "sequence desc"});
        let answer = self.operator().call("headwater.control.v1.EventService/ListEvents", &request);
        answer.ok().and_then(|answer| answer["events"].as_array().cloned()).unwrap_or_default()
    }
}

/// The origin that is not this one, of a pool of two; of others one that is not.
pub fn other(origin: &str) -> &'static str {
    if origin == "origin-1" { "origin-2" } else { "origin-1" }
}

impl Pool {
    fn read(value: &Value) -> Option<Self> {
        let number = |name: &str| value[name].as_str().and_then(|text| text.parse().ok()).unwrap_or_default();
        let node = |value: &Value| value.as_str().map(|name| name.trim_start_matches("nodes/").to_owned());
        let members = value["members"].as_array()?;
        let in_sync = members.iter().filter(|member| member["inSync"] == true).filter_map(|m| node(&m["node"]));
        Some(Self {
            epoch: number("epoch"),
            version: number("version"),
            active: node(&value["active"]).unwrap_or_default(),
            in_sync: in_sync.collect(),
            mode: value["mode"].as_str().unwrap_or_default().trim_start_matches("POOL_MODE_").to_owned(),
            loss_epoch: number("lossEpoch"),
            cause: value["lastChange"]["cause"].as_str().unwrap_or_default().to_owned(),
            text: value.to_string(),
        })
    }
}
