//! How often roles move by themselves, and not at all.

use std::time::Duration;

use super::world::World;
use crate::{By, Mode, MoveLimits, PoolEvent, PoolRules};

/// The active freezes until it is replaced, and wakes again.
fn freeze_the_active(world: &mut World) -> Option<u64> {
    let (active, epoch) = (world.active(), world.epoch());
    world.freeze(&active);
    let mut took = 0;
    while world.epoch() == epoch && took < 120_000 {
        world.run(10);
        took += 10;
    }
    let moved = world.epoch() > epoch;
    world.thaw(&active);
    world.run(2_000);
    moved.then_some(took)
}

#[test]
fn three_moves_for_silence_thirty_seconds_apart_then_the_pool_is_held() {
    let mut world = World::pair(&["e1", "e2"]);
    assert!(freeze_the_active(&mut world).unwrap() < 800);
    let second = freeze_the_active(&mut world).unwrap();
    assert!((26_000..30_100).contains(&second), "{second} ms");
    assert!(freeze_the_active(&mut world).unwrap() > 26_000);
    assert_eq!(world.pool.record().mode, Mode::Auto);
    assert_eq!(freeze_the_active(&mut world), None);
    assert_eq!(world.pool.record().mode, Mode::Hold);
    assert_eq!(world.told(|event| matches!(event, PoolEvent::Held { .. })), 1);

    let released = world.pool.released(By::default()).unwrap();
    world.pool.handle_written(released.record, world.now);
    assert!(freeze_the_active(&mut world).unwrap() < 800, "an operator let it go");
}

#[test]
fn a_drill_raises_the_limits() {
    let moves = MoveLimits { silence_max: 1000, silence_apart: Duration::ZERO, ..MoveLimits::default() };
    let mut world = World::running(&["o1", "o2"], &["e1", "e2"], PoolRules { moves, ..PoolRules::default() });
    for _ in 0..5 {
        assert!(freeze_the_active(&mut world).unwrap() < 800);
    }
}

#[test]
fn processes_that_die_are_replaced_every_time() {
    let mut world = World::pair(&["e1", "e2"]);
    for round in 1..6 {
        let active = world.active();
        let name = *world.origins.keys().find(|name| **name == active).unwrap();
        world.restart(name);
        world.until(1_100, |world| world.epoch() == round + 1 && world.is_served());
        world.run(1_000);
        assert_eq!((world.loss_epoch(), world.in_sync().len()), (0, 2));
    }
    assert_eq!(world.pool.record().mode, Mode::Auto);
}

#[test]
fn a_held_pool_moves_no_role_until_its_time_is_over() {
    let mut world = World::pair(&["e1"]);
    let by = By { author: "operator".into(), reason: "kernel patch".into() };
    let held = world.pool.held(Some(world.wall_ms + 60_000), by.clone()).unwrap();
    assert_eq!(held.events, [PoolEvent::Held { by, until_unix_ms: Some(world.wall_ms + 60_000) }]);
    world.pool.handle_written(held.record, world.now);
    world.run(100);
    world.kill("o1");
    world.run(59_000);
    assert_eq!((world.epoch(), world.pool.record().mode), (1, Mode::Hold));
    let (_, evidence) = world.pool.alarms().next().unwrap();
    assert!(evidence.contains("the pool is held"), "{evidence}");
    world.until(2_000, |world| world.active() == "o2");
    assert_eq!(world.told(|event| matches!(event, PoolEvent::Released { .. })), 1);
}
