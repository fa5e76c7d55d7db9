//! Sets of cases: what a chapter of the page has, and what a test runs in one go.

use super::{
    Act::{Alone, In},
    Case, Form,
    Goal::{FramesAboveOwn, Median, P99, Stall, Time},
    Place, Row, case,
    cases::{control, crash, cuts, loss, members, planned, standby, undisturbed, vip},
    nginx,
    row::Promise,
};

/// A set of cases.
#[derive(Debug)]
pub struct Set {
    /// In a word.
    pub name: &'static str,
    /// For people.
    pub title: &'static str,
    /// In the order of the table.
    pub cases: &'static [Case],
}

impl Set {
    /// Runs it; each row is shown as soon as it is there. Where the machine lacks something, says so and shows nothing.
    pub fn run(&self, form: Form, mut show: impl FnMut(&Row) + Send) {
        case::run(self.cases, form, &mut show);
    }
}

/// The set of this name.
pub fn find(name: &str) -> Option<&'static Set> {
    ALL.iter().find(|set| set.name == name)
}

/// What a case has where it does not say otherwise.
const USUAL: Case = Case {
    name: "",
    title: "",
    note: "nobody cut, nothing lost",
    promise: Promise::NobodyNotices,
    goals: &[],
    act: Alone(|_| Vec::new()),
};
/// What is promised when the active origin dies.
const CRASH: Case = Case { goals: &[Median(100), P99(400)], ..USUAL };
/// What is promised when it freezes, or is cut off.
const FREEZE: Case = Case { goals: &[P99(1000)], ..USUAL };
/// What is promised of all that operators do.
const PLANNED: Case = Case { note: "nothing lost", goals: &[FramesAboveOwn(2)], ..USUAL };

/// All sets.
pub static ALL: &[Set] = &[
    Set {
        name: "crash",
        title: "The active origin dies",
        cases: &[
            Case {
                name: "undisturbed",
                title: "nothing happens",
                note: "the stream's own",
                act: In(Place::Loopback, undisturbed),
                ..USUAL
            },
            Case { name: "kill", title: "kill -9 the active origin", act: In(Place::Loopback, crash::kill), ..CRASH },
            Case {
                name: "restart",
                title: "kill -9 the active origin, started again at once",
                act: In(Place::Loopback, crash::kill_and_start_at_once),
                ..CRASH
            },
        ],
    },
    Set {
        name: "freeze",
        title: "The active origin freezes",
        cases: &[Case {
            name: "stop",
            title: "SIGSTOP of the active origin for 5 s",
            act: In(Place::Loopback, crash::freeze),
            ..FREEZE
        }],
    },
    Set {
        name: "planned",
        title: "Operators move the role",
        cases: &[
            Case { name: "promote", title: "PromoteMember", act: In(Place::Loopback, planned::promote), ..PLANNED },
            Case {
                name: "terminate",
                title: "SIGTERM of the active origin",
                act: In(Place::Loopback, planned::terminate),
                ..PLANNED
            },
            Case {
                name: "rolling_restart",
                title: "rolling restart of both origins",
                act: In(Place::Loopback, planned::rolling_restart),
                ..PLANNED
            },
            Case {
                name: "two_operators",
                title: "two operators promote at once",
                act: In(Place::Loopback, planned::two_operators),
                ..PLANNED
            },
            Case {
                name: "fail_back",
                title: "FailBack to a primary that returned",
                act: In(Place::Loopback, planned::fail_back),
                ..PLANNED
            },
        ],
    },
    Set {
        name: "standby",
        title: "The standby dies or freezes",
        cases: &[
            Case {
                name: "kill",
                title: "kill -9 the standby",
                goals: &[Stall(50)],
                act: In(Place::Loopback, standby::kill),
                ..USUAL
            },
            Case {
                name: "stop",
                title: "SIGSTOP of the standby for 2 s",
                goals: &[Stall(250)],
                act: In(Place::Loopback, standby::freeze),
                ..USUAL
            },
            Case {
                name: "flap",
                title: "the standby freezes for 0.4 s in every second",
                note: "nobody cut, nothing lost; waited for at most 4 times",
                goals: &[Stall(250)],
                act: In(Place::Flapping, standby::flap),
                ..USUAL
            },
        ],
    },
    Set {
        name: "control",
        title: "The control plane is gone",
        cases: &[
            Case {
                name: "dead",
                title: "control plane dead, an edge restarted meanwhile",
                note: "nothing happens for 30 s",
                act: In(Place::OneEdge, control::dead),
                ..USUAL
            },
            Case {
                name: "standby_dies",
                title: "control plane gone, then the standby dies (serve)",
                goals: &[Stall(650)],
                act: In(Place::OneEdge, control::dead_then_standby_dies),
                ..USUAL
            },
            Case {
                name: "active_dies",
                title: "control plane gone, then the active dies",
                note: "viewers held",
                promise: Promise::NobodyIsCut,
                goals: &[Time(control::PROMOTED, 4000)],
                act: In(Place::OneEdge, control::dead_then_active_dies),
            },
            Case {
                name: "restored",
                title: "control plane restored from an old store",
                note: "nothing happens; no epoch twice",
                act: In(Place::OneEdge, control::restored_from_an_old_copy),
                ..USUAL
            },
            Case {
                name: "emptied",
                title: "control plane restarted with an empty store",
                note: "nothing happens; no epoch twice",
                act: In(Place::OneEdge, control::emptied),
                ..USUAL
            },
        ],
    },
    Set {
        name: "stall",
        title: "The control plane is gone, and the active waits",
        cases: &[Case {
            name: "standby_dies",
            title: "control plane gone, then the standby dies (stall)",
            note: "stops; nobody cut, nothing lost",
            promise: Promise::NobodyIsCut,
            act: In(Place::Stall, control::dead_then_standby_dies_stall),
            ..USUAL
        }],
    },
    Set {
        name: "vip",
        title: "The encoder publishes to the origins' virtual IP",
        cases: &[Case {
            name: "kill",
            title: "kill -9 the active origin, encoder at the VIP",
            note: "no viewer cut, time never falls; lost: what was on its way into the dead process",
            promise: Promise::EncoderComesBack,
            goals: &[Time(vip::ACCEPTED, 300)],
            act: In(Place::Vip, vip::kill),
        }],
    },
    Set {
        name: "move",
        title: "The encoder moves while the active dies",
        cases: &[Case {
            name: "kill",
            title: "encoder moves to the other edge while the active dies",
            note: "one timeline: no viewer cut, nothing twice, time never falls",
            promise: Promise::EncoderComesBack,
            act: In(Place::EitherEdge, vip::encoder_moves),
            ..USUAL
        }],
    },
    Set {
        name: "loss",
        title: "More is gone than one origin",
        cases: &[
            Case {
                name: "none_in_sync",
                title: "none in sync, and the active dies",
                act: In(Place::Loopback, loss::none_in_sync),
                ..LOSS
            },
            Case {
                name: "all_restart",
                title: "both origins killed and started again",
                act: In(Place::Loopback, loss::all_restart),
                ..LOSS
            },
            Case {
                name: "operator",
                title: "none in sync, and the active dies (unclean: never)",
                note: "nobody cut; nothing happens until an operator decides; what is lost is named",
                act: In(Place::NeverUnclean, loss::an_operator_decides),
                ..LOSS
            },
        ],
    },
    Set {
        name: "members",
        title: "A pool of three",
        cases: &[
            Case {
                name: "one_behind",
                title: "one of two standbys is behind, and the active dies",
                act: In(Place::ThreeOrigins, members::one_behind),
                ..CRASH
            },
            Case {
                name: "both",
                title: "the active dies, and as soon as another is active, that one too",
                act: In(Place::ThreeOrigins, members::one_after_the_other),
                ..USUAL
            },
            Case {
                name: "candidate",
                title: "the active dies, and the one that is granted the role freezes",
                note: "nobody cut, nothing lost; the next one serves",
                act: In(Place::ThreeOrigins, members::candidate_freezes),
                ..USUAL
            },
        ],
    },
    Set {
        name: "edges",
        title: "Most edges die with the active",
        cases: &[Case {
            name: "kill",
            title: "kill -9 the active origin and three of four edges",
            note: "nobody else cut, nothing lost",
            promise: Promise::NobodyIsCut,
            goals: &[Time(crash::PROMOTED, 6000)],
            act: In(Place::FourEdges, crash::kill_with_most_edges),
        }],
    },
    Set {
        name: "sides",
        title: "The network is cut in two",
        cases: &[
            Case {
                name: "one_edge",
                title: "only active and one of three edges cut",
                act: In(Place::ThreeEdges, cuts::active_from_one_of_three_edges),
                ..VIA
            },
            Case {
                name: "in_two",
                title: "active with two of three edges, control plane with the standby",
                note: "no encoder cut; what was committed alone is named SPLIT",
                promise: Promise::ViewersJoinAgain,
                goals: &[Time(crash::PROMOTED, 6000)],
                act: In(Place::ThreeEdges, cuts::in_two),
            },
        ],
    },
    Set {
        name: "cables",
        title: "The active is cut off",
        cases: &[
            Case {
                name: "active_off",
                title: "active origin cut off",
                act: In(Place::Hosts, cuts::active_off),
                ..FREEZE
            },
            Case {
                name: "all_edges",
                title: "active cut from all edges",
                act: In(Place::Hosts, cuts::active_from_all_edges),
                ..FREEZE
            },
            Case {
                name: "minority",
                title: "active and the other edge cut off together",
                act: In(Place::HostsOtherEdge, cuts::active_with_a_minority),
                ..FREEZE
            },
        ],
    },
    Set {
        name: "links",
        title: "Single cables of the active are cut",
        cases: &[
            Case {
                name: "standby",
                title: "only active and standby cut",
                note: "no promotion; nothing lost",
                goals: &[Stall(250)],
                act: In(Place::Hosts, cuts::active_from_standby),
                ..USUAL
            },
            Case {
                name: "control_plane",
                title: "only active and control plane cut",
                note: "nothing happens; alarm CP_LINK",
                act: In(Place::Hosts, cuts::active_from_control_plane),
                ..USUAL
            },
            Case {
                name: "edge-1",
                title: "only active and edge-1 cut",
                act: In(Place::Hosts, |scene| cuts::active_from_an_edge(scene, "edge-1")),
                ..VIA
            },
            Case {
                name: "edge-2",
                title: "only active and edge-2 cut",
                act: In(Place::Hosts, |scene| cuts::active_from_an_edge(scene, "edge-2")),
                ..VIA
            },
        ],
    },
    Set {
        name: "nginx",
        title: "Another server under the same drill",
        cases: &[
            Case {
                name: "kill",
                title: "nginx-rtmp: kill -9 the origin, started again at once",
                act: Alone(nginx::kill),
                ..OTHER
            },
            Case {
                name: "stop",
                title: "nginx-rtmp: SIGSTOP of the origin for 5 s",
                act: Alone(nginx::freeze),
                ..OTHER
            },
        ],
    },
];

/// What is promised when nobody has all the frames any more.
const LOSS: Case = Case { note: "nobody cut; what is lost is named", promise: Promise::NobodyIsCutWithLoss, ..USUAL };
/// What is promised when an edge has to go round.
const VIA: Case = Case { note: "no promotion; on by `via`", goals: &[P99(1000)], ..USUAL };
/// Another server promises us nothing.
const OTHER: Case = Case { note: "encoder at its origin", promise: Promise::Nothing, ..USUAL };
