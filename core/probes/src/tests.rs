//! The probe machine against tables and against random histories.

use std::time::Duration;

use core_status::ProbeResult;
use core_types::api::{Container, Probe};
use core_types::{ContainerId, MonoTime};
use proptest::prelude::*;

use crate::*;

const SECOND: Duration = Duration::from_secs(1);

fn at(secs: u64) -> MonoTime {
    MonoTime::from_secs(secs)
}

fn schedule() -> Schedule {
    Schedule {
        initial_delay: Duration::ZERO,
        period: 10 * SECOND,
        timeout: SECOND,
        success_threshold: 1,
        failure_threshold: 3,
    }
}

/// A machine of an agent that started at 0.
fn machine(kind: ProbeKind, schedule: Schedule) -> Machine {
    Machine::new(kind, schedule, Duration::ZERO, at(0))
}

fn instance(id: &str, age_secs: u64) -> Instance {
    Instance { id: ContainerId::from(id), age: Duration::from_secs(age_secs) }
}

/// Runs the probe when it is due, with an answer that comes at once.
fn answer(machine: &mut Machine, verdict: Verdict) -> Option<ProbeResult> {
    let due = machine.next_deadline().expect("a run is to come");
    let run = machine.begin(due).expect("it is due");
    machine.end(due, &run, verdict).published
}

#[test]
fn the_first_run_waits_for_the_initial_delay_and_the_next_for_the_period() {
    let mut machine = machine(ProbeKind::Readiness, Schedule { initial_delay: 5 * SECOND, ..schedule() });
    machine.see(at(102), Some(&instance("a", 2)), Gate::Open);
    assert_eq!(machine.next_deadline(), Some(at(105)));
    assert_eq!(machine.begin(at(104)), None);
    let run = machine.begin(at(105)).expect("it is due");
    assert_eq!(machine.next_deadline(), None, "one run at a time");
    machine.end(at(106), &run, Verdict::Success);
    assert_eq!(machine.next_deadline(), Some(at(115)));
    let run = machine.begin(at(115)).expect("it is due");
    machine.end(at(137), &run, Verdict::Success);
    assert_eq!(machine.next_deadline(), Some(at(145)), "missed periods are left out");
}

#[test]
fn a_young_agent_puts_the_first_run_off() {
    let mut young = Machine::new(ProbeKind::Readiness, schedule(), 7 * SECOND, at(100));
    young.see(at(103), Some(&instance("a", 1)), Gate::Open);
    assert_eq!(young.next_deadline(), Some(at(110)));
    young.see(at(111), Some(&instance("b", 0)), Gate::Open);
    assert_eq!(young.next_deadline(), Some(at(111)), "an agent older than the period does not");
    let mut adopted = Machine::new(ProbeKind::Readiness, schedule(), 7 * SECOND, at(100));
    adopted.see(at(101), Some(&instance("a", 51)), Gate::Open);
    assert_eq!(adopted.next_deadline(), Some(at(102)), "the status of a container from before waits for it");
}

#[test]
fn a_result_needs_its_threshold_in_a_row() {
    let mut machine = machine(ProbeKind::Readiness, Schedule { success_threshold: 2, ..schedule() });
    machine.see(at(1), Some(&instance("a", 0)), Gate::Open);
    use ProbeResult::{Failure, Success};
    for (verdict, published) in [
        (Verdict::Success, None),
        (Verdict::Failure, None),
        (Verdict::Success, None),
        (Verdict::Unknown, None),
        (Verdict::Success, Some(Success)),
        (Verdict::Success, None),
        (Verdict::Failure, None),
        (Verdict::TimedOut, None),
        (Verdict::Failure, Some(Failure)),
        (Verdict::Failure, None),
        (Verdict::Success, None),
        (Verdict::Success, Some(Success)),
    ] {
        assert_eq!(answer(&mut machine, verdict), published, "{verdict:?}");
    }
}

#[test]
fn the_first_success_of_an_adopted_container_restores_it() {
    let schedule = Schedule { success_threshold: 3, ..schedule() };
    let mut machine = Machine::new(ProbeKind::Readiness, schedule, Duration::ZERO, at(100));
    machine.see(at(101), Some(&instance("a", 96)), Gate::Open);
    assert_eq!(answer(&mut machine, Verdict::Success), Some(ProbeResult::Success));
}

#[test]
fn nothing_runs_before_the_container_has_started_and_at_once_when_it_has() {
    let mut machine = machine(ProbeKind::Liveness, schedule());
    machine.see(at(1), Some(&instance("a", 0)), Gate::Shut);
    assert_eq!(machine.next_deadline(), None);
    machine.see(at(14), Some(&instance("a", 13)), Gate::Open);
    assert_eq!(machine.next_deadline(), Some(at(14)));
    machine.see(at(15), None, Gate::Open);
    assert_eq!(machine.next_deadline(), None);
}

#[test]
fn a_failed_liveness_probe_and_a_startup_result_hold_until_another_container() {
    for (kind, verdict, holds) in [
        (ProbeKind::Liveness, Verdict::Failure, true),
        (ProbeKind::Liveness, Verdict::Success, false),
        (ProbeKind::Startup, Verdict::Failure, true),
        (ProbeKind::Startup, Verdict::Success, true),
        (ProbeKind::Readiness, Verdict::Failure, false),
    ] {
        let mut machine = machine(kind, Schedule { failure_threshold: 1, ..schedule() });
        machine.see(at(1), Some(&instance("a", 0)), Gate::Open);
        assert!(answer(&mut machine, verdict).is_some());
        machine.see(at(2), Some(&instance("a", 1)), Gate::Open);
        assert_eq!(machine.next_deadline().is_none(), holds, "{kind:?} {verdict:?}");
        machine.see(at(20), Some(&instance("b", 0)), Gate::Open);
        assert_eq!(machine.next_deadline(), Some(at(20)));
        assert_eq!(machine.result(), Some((&ContainerId::from("b"), ProbeResult::Unknown)));
    }
}

#[test]
fn the_answer_of_an_old_container_is_dropped() {
    let mut machine = machine(ProbeKind::Liveness, Schedule { failure_threshold: 1, ..schedule() });
    machine.see(at(1), Some(&instance("a", 0)), Gate::Open);
    let run = machine.begin(at(1)).expect("it is due");
    machine.see(at(2), Some(&instance("b", 0)), Gate::Open);
    let ending = machine.end(at(2), &run, Verdict::Failure);
    assert_eq!(ending, Ending { standing: Standing::Stale, published: None });
    assert_eq!(machine.next_deadline(), Some(at(2)));
}

#[test]
fn a_timeout_counts_only_when_the_agent_was_on_time() {
    let late = Duration::from_millis(501);
    let punctual = Duration::from_millis(500);
    for (begin_late, end_late, verdict, standing) in [
        (punctual, punctual, Verdict::TimedOut, Standing::Counted),
        (late, Duration::ZERO, Verdict::TimedOut, Standing::Starved),
        (Duration::ZERO, late, Verdict::TimedOut, Standing::Starved),
        (late, late, Verdict::Failure, Standing::Counted),
        (late, late, Verdict::Success, Standing::Counted),
    ] {
        let mut machine = machine(ProbeKind::Liveness, schedule());
        machine.see(at(1), Some(&instance("a", 0)), Gate::Open);
        let began_at = at(1) + begin_late;
        let run = machine.begin(began_at).expect("it is due");
        let ending = machine.end(began_at + SECOND + end_late, &run, verdict);
        assert_eq!(ending.standing, standing, "{begin_late:?} {end_late:?} {verdict:?}");
    }
}

#[test]
fn a_container_that_hangs_is_found_on_a_starved_node_too() {
    let mut machine = machine(ProbeKind::Liveness, schedule());
    machine.see(at(1), Some(&instance("a", 0)), Gate::Open);
    for run_number in 1.. {
        let due = machine.next_deadline().expect("a run is to come");
        let run = machine.begin(due + SECOND).expect("it is due");
        if machine.end(due + 2 * SECOND, &run, Verdict::TimedOut).published.is_some() {
            assert!(run_number > 10, "{run_number}");
            break;
        }
        assert!(run_number < 100);
    }
}

#[test]
fn runs_after_the_first_fall_together_with_those_of_other_containers() {
    for start_ms in [1, 7, 20, 1_019] {
        let start = at(0) + Duration::from_millis(start_ms);
        let mut machine = machine(ProbeKind::Liveness, Schedule { period: SECOND, ..schedule() });
        machine.see(start, Some(&instance("a", 0)), Gate::Open);
        assert_eq!(machine.next_deadline(), Some(start), "the first is not put off");
        let mut due = start;
        for _ in 0..3 {
            let run = machine.begin(due).expect("a run");
            machine.end(due, &run, Verdict::Success);
            let next = machine.next_deadline().expect("another");
            assert_eq!(next.as_nanos() % 20_000_000, 0);
            assert!(next.since(due) >= SECOND && next.since(due) < SECOND + Duration::from_millis(20));
            due = next;
        }
    }
}

#[test]
fn spreads_lie_below_the_period_and_differ() {
    let of = |name: &str| spread(name, 10 * SECOND);
    let all: Vec<Duration> = (0..100).map(|n| of(&format!("pod-{n}/main/Liveness"))).collect();
    assert!(all.iter().all(|spread| *spread < 10 * SECOND));
    assert!(all.iter().any(|s| *s < 3 * SECOND) && all.iter().any(|s| *s > 7 * SECOND));
    assert_eq!(of("a"), of("a"));
}

#[test]
fn requests_are_what_the_spec_says() {
    let container: Container = serde_json::from_value(serde_json::json!({
        "name": "main", "ports": [{"name": "web", "containerPort": 8080}], "env": [{"name": "A", "value": "x"}],
    }))
    .expect("a container");
    let ask = |probe: serde_json::Value| {
        let probe: Probe = serde_json::from_value(probe).expect("a probe");
        let all = ProbeGates { http2: true, grpc_tls: true };
        [ProbeGates::default(), all].map(|gates| request(&probe, &container, "fd00::1", gates))
    };
    let ask_any = |probe: serde_json::Value| {
        let [without, with_gates] = ask(probe);
        assert_eq!(without, with_gates, "gates change nothing where nothing is asked of them");
        without
    };
    let http = ask_any(serde_json::json!({"httpGet": {"path": "ok?a=b", "port": "web", "scheme": "HTTPS",
        "httpHeaders": [{"name": "X", "value": "y"}]}}));
    let Ok(ProbeRequest::Http(http)) = http else { panic!("{http:?}") };
    assert_eq!(http.url(), "https://[fd00::1]:8080/ok?a=b");
    assert_eq!(http.headers, [("X".to_owned(), "y".to_owned())]);
    let exec = ask_any(serde_json::json!({"exec": {"command": ["echo", "$(A)", "$(B)", "$$(A)"]}}));
    let command = ["echo", "x", "$(B)", "$(A)"].map(str::to_owned).to_vec();
    assert_eq!(exec, Ok(ProbeRequest::Exec { command }));
    let tcp = ask_any(serde_json::json!({"tcpSocket": {"port": 7, "host": "example.org"}}));
    assert_eq!(tcp, Ok(ProbeRequest::Tcp { host: "example.org".to_owned(), port: 7 }));
    let grpc = ask_any(serde_json::json!({"grpc": {"port": 9, "service": "s"}}));
    let wanted = ProbeRequest::Grpc {
        host: "fd00::1".to_owned(),
        port: 9,
        service: "s".to_owned(),
        mode: GrpcMode::Plaintext,
    };
    assert_eq!(grpc, Ok(wanted));
    let versions =
        ask(serde_json::json!({"httpGet": {"port": "web", "protocol": "HTTP2"}})).map(|made| match made {
            Ok(ProbeRequest::Http(http)) => http.version,
            other => panic!("{other:?}"),
        });
    assert_eq!(versions, [HttpVersion::Http1, HttpVersion::Http2]);
    let modes = ask(serde_json::json!({"grpc": {"port": 9, "mode": "TLS"}})).map(|made| match made {
        Ok(ProbeRequest::Grpc { mode, .. }) => mode,
        other => panic!("{other:?}"),
    });
    assert_eq!(modes, [GrpcMode::Plaintext, GrpcMode::Tls]);
    assert!(matches!(
        ask_any(serde_json::json!({"tcpSocket": {"port": "none"}})),
        Err(RequestError::NoSuchPort { .. })
    ));
    assert!(matches!(ask_any(serde_json::json!({})), Err(RequestError::NoAction { .. })));
}

#[derive(Clone, Debug)]
enum Step {
    Wait(u64),
    Container(Option<u8>),
    Gate(Gate),
    Begin,
    End(Verdict),
}

fn step() -> impl Strategy<Value = Step> {
    let verdict = prop_oneof![
        Just(Verdict::Success),
        Just(Verdict::Failure),
        Just(Verdict::TimedOut),
        Just(Verdict::Unknown)
    ];
    prop_oneof![
        4 => (0u64..15_000).prop_map(Step::Wait),
        1 => proptest::option::of(0u8..3).prop_map(Step::Container),
        1 => prop_oneof![Just(Gate::Open), Just(Gate::Shut)].prop_map(Step::Gate),
        4 => Just(Step::Begin),
        4 => verdict.prop_map(Step::End),
    ]
}

fn kinds() -> impl Strategy<Value = ProbeKind> {
    prop_oneof![Just(ProbeKind::Startup), Just(ProbeKind::Liveness), Just(ProbeKind::Readiness)]
}

proptest! {
    /// PR-1, and: results come only after their threshold, nothing runs while held, gated, running or without a container.
    #[test]
    fn histories_keep_the_rules(kind in kinds(), steps in proptest::collection::vec(step(), 1..120)) {
        let mut machine = machine(kind, schedule());
        let (mut now, mut id, mut gate) = (at(1), None::<u8>, Gate::Open);
        let mut runs: Vec<Run> = Vec::new();
        let (mut answered, mut held) = (0u32, false);
        for step in steps {
            match step {
                Step::Wait(ms) => now = now + Duration::from_millis(ms),
                Step::Container(new) => {
                    if new != id {
                        (id, answered, held) = (new, 0, false);
                    }
                }
                Step::Gate(new) => gate = new,
                Step::Begin => {
                    let due = machine.next_deadline();
                    prop_assert!(due.is_none() || (id.is_some() && !held));
                    if let Some(run) = machine.begin(now) {
                        prop_assert!(due.is_some_and(|due| due <= now));
                        prop_assert_eq!(machine.next_deadline(), None);
                        runs.push(run);
                    }
                }
                Step::End(verdict) => {
                    let Some(run) = runs.pop() else { continue };
                    let ending = machine.end(now, &run, verdict);
                    let name = id.map(|id| ContainerId::from(format!("c{id}").as_str()));
                    if name.as_ref() != Some(&run.container) {
                        prop_assert_eq!(ending, Ending { standing: Standing::Stale, published: None });
                    }
                    answered += u32::from(ending.standing == Standing::Counted);
                    if let Some(result) = ending.published {
                        let threshold = if result == ProbeResult::Failure { 3 } else { 1 };
                        prop_assert!(answered >= threshold);
                        prop_assert_eq!(machine.result(), name.as_ref().map(|name| (name, result)));
                        held = kind == ProbeKind::Startup
                            || (kind == ProbeKind::Liveness && result == ProbeResult::Failure);
                    }
                }
            }
            let shown = id.map(|id| instance(&format!("c{id}"), 0));
            machine.see(now, shown.as_ref(), gate);
        }
    }
}
