//! How a pool is shown.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    time::{Duration, SystemTime},
};

use cluster::{Liveness, Mode, PoolViewMember};
use rpc::control::{PoolInfo, rfc3339};
use serde_json::{Value, json};

use crate::table::{harmless, write_rows};

/// A pool as text: what it is, what moved the active role last, its members.
pub(super) fn page(pool: &PoolInfo) -> String {
    let view = &pool.view;
    let mut text = format!("== {}\n", view.id.resource());
    let active = view.active.as_ref().map_or("nobody", |node| node.as_str());
    let mut facts = vec![
        ("active", active.to_owned()),
        ("epoch", view.epoch.to_string()),
        ("version", view.version.to_string()),
        ("roles", roles(pool)),
    ];
    if view.loss_epoch.0 > 0 {
        facts.push(("loss in epoch", view.loss_epoch.to_string()));
    }
    if let Some(change) = &pool.last_change {
        let at = rfc3339(SystemTime::UNIX_EPOCH + Duration::from_millis(change.at_unix_ms));
        facts.push(("last change", format!("{} at {at}: {}", change.cause.as_str(), harmless(&change.evidence))));
        let spans: Vec<_> =
            spans(&change.durations_ms).map(|(part, ms)| format!("{} {ms} ms", harmless(part))).collect();
        if !spans.is_empty() {
            facts.push(("it took", spans.join(", ")));
        }
    }
    let width = facts.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, value) in facts {
        let _ = writeln!(text, "  {name:<width$}  {value}");
    }
    let _ = writeln!(text, "members: {}", view.members.len());
    write_rows(&mut text, &members(pool));
    text.push('\n');
    text
}

/// The parts of a change in the order in which they happen, those that are not known here last.
fn spans(durations_ms: &BTreeMap<String, u64>) -> impl Iterator<Item = (&String, &u64)> {
    const ORDER: [&str; 5] = ["detect", "yield", "decide", "open", "first_frame"];
    let place = |part: &str| ORDER.iter().position(|known| *known == part).unwrap_or(ORDER.len());
    let mut spans: Vec<_> = durations_ms.iter().collect();
    spans.sort_by_key(|(part, _)| place(part));
    spans.into_iter()
}

fn roles(pool: &PoolInfo) -> String {
    match (pool.mode, pool.hold_until) {
        (Mode::Auto, _) => "move by themselves".to_owned(),
        (Mode::Hold, None) => "are held until they are released".to_owned(),
        (Mode::Hold, Some(until)) => format!("are held until {}", rfc3339(until)),
    }
}

fn members(pool: &PoolInfo) -> Vec<Value> {
    let row = |member: &PoolViewMember| {
        let heard = pool.heard.get(&member.member.node);
        json!({
            "member": member.member.node.as_str(),
            "role": member.role.as_str(),
            "in sync": if member.in_sync { "yes" } else { "no" },
            "heard": heard.map_or(Liveness::Gone, |(liveness, _)| *liveness).as_str(),
            "serves": if heard.is_some_and(|(_, serves)| *serves) { "yes" } else { "no" },
            "peer": member.peer.to_string(),
            "public": member.public.to_string(),
            "incarnation": member.member.incarnation.to_string(),
        })
    };
    pool.view.members.iter().map(row).collect()
}

/// A pool as JSON.
pub(super) fn json(pool: &PoolInfo) -> Value {
    let mode = if pool.mode == Mode::Hold { "hold" } else { "auto" };
    json!({
        "name": pool.view.id.resource(),
        "active": pool.view.active,
        "epoch": pool.view.epoch,
        "version": pool.view.version,
        "loss_epoch": pool.view.loss_epoch,
        "mode": mode,
        "hold_until": pool.hold_until.map(rfc3339),
        "last_change": pool.last_change,
        "store_id": pool.store_id,
        "members": pool.view.members.iter().zip(members(pool)).map(|(member, row)| json!({
            "node": member.member.node,
            "incarnation": member.member.incarnation,
            "role": member.role,
            "in_sync": member.in_sync,
            "heard": row["heard"],
            "serves": row["serves"] == "yes",
            "peer": member.peer,
            "public": member.public,
        })).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use cluster::{Cause, Epoch, Incarnation, LastChange, Member, NodeId, PoolId, PoolView, Role};

    use super::*;

    fn member(name: &str, role: Role, in_sync: bool) -> PoolViewMember {
        let member = Member { node: NodeId::new(name).unwrap(), incarnation: Incarnation::from_bits(7) };
        let address = |port: u16| format!("127.0.0.1:{port}").parse().unwrap();
        PoolViewMember { member, role, in_sync, public: address(1945), peer: address(9001) }
    }

    fn pool() -> PoolInfo {
        let members = vec![member("origin-1", Role::Active, true), member("origin-2", Role::Standby, false)];
        let active = members[0].member.node.clone();
        PoolInfo {
            heard: BTreeMap::from([(active.clone(), (Liveness::Alive, true))]),
            view: PoolView {
                id: PoolId::main(),
                version: 12,
                written_by: String::new(),
                epoch: Epoch(7),
                loss_epoch: Epoch(0),
                active: Some(active),
                members,
            },
            active_incarnation: Some(Incarnation::from_bits(7)),
            mode: Mode::Auto,
            hold_until: None,
            last_change: Some(LastChange {
                cause: Cause::Promoted,
                evidence: "asked for\u{1b}[2J".into(),
                at_unix_ms: 1_790_000_000_123,
                durations_ms: BTreeMap::from([("decide".into(), 3), ("detect".into(), 40), ("open".into(), 12)]),
            }),
            store_id: "store".into(),
        }
    }

    #[test]
    fn a_pool_is_shown_with_its_members_and_what_moved_the_role() {
        let text = page(&pool());
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(
            lines[..6],
            [
                "== originPools/main",
                "  active       origin-1",
                "  epoch        7",
                "  version      12",
                "  roles        move by themselves",
                "  last change  promoted at 2026-09-21T14:13:20.123Z: asked for\u{fffd}[2J",
            ]
        );
        assert_eq!(lines[6..8], ["  it took      detect 40 ms, decide 3 ms, open 12 ms", "members: 2"]);
        let words = |line: &str| line.split_whitespace().take(5).map(str::to_owned).collect::<Vec<_>>().join(" ");
        assert_eq!(words(lines[9]), "origin-1 active yes alive yes");
        assert_eq!(words(lines[10]), "origin-2 standby no gone no", "one that is not heard");
    }

    #[test]
    fn a_pool_that_is_held_says_until_when() {
        let held = |hold_until| page(&PoolInfo { mode: Mode::Hold, hold_until, ..pool() });
        assert!(held(None).contains("are held until they are released"));
        let until = SystemTime::UNIX_EPOCH + Duration::from_secs(1_790_000_000);
        assert!(held(Some(until)).contains("are held until 2026-09-21T14:13:20Z"));
    }

    #[test]
    fn json_has_values_where_text_has_words() {
        let json = json(&pool());
        assert_eq!(
            (&json["epoch"], &json["mode"], &json["members"][0]["serves"]),
            (&7.into(), &"auto".into(), &true.into())
        );
        assert_eq!(json["members"][1]["in_sync"], false);
    }
}
