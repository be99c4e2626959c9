//! The Lease machine against tables, and against an API server that loses, refuses and changes things at random.

use proptest::prelude::*;

use super::*;

fn machine() -> LeaseMachine {
    let settings = LeaseSettings { node: "n1".to_owned(), duration_seconds: 40 };
    LeaseMachine::new(settings, Spread::new("n1", 0), MonoTime::ZERO)
}

fn wall(now: MonoTime) -> WallTime {
    WallTime::from_unix_nanos(i64::try_from(now.as_nanos()).unwrap())
}

/// The next call, at the time at which it is due.
fn due(machine: &mut LeaseMachine, owner: Option<&str>) -> (MonoTime, Option<LeaseCall>) {
    let now = machine.next_deadline().expect("no call is under way");
    (now, machine.next_call(now, wall(now), owner))
}

fn known(version: &str) -> LeaseAnswer {
    let mut lease = Lease::default();
    lease.metadata.resource_version = Some(version.to_owned());
    LeaseAnswer::Known(Box::new(lease))
}

#[test]
fn a_lease_is_made_with_its_owner_and_renewed_every_ten_seconds() {
    let mut machine = machine();
    assert_eq!(due(&mut machine, Some("u")).1, Some(LeaseCall::Get));
    machine.on_answer(MonoTime::ZERO, LeaseAnswer::NotFound);
    let (now, call) = due(&mut machine, Some("u"));
    let Some(LeaseCall::Create(lease)) = call else { panic!("{call:?}") };
    let want = serde_json::json!({
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {
            "name": "n1", "namespace": "kube-node-lease",
            "ownerReferences": [{ "apiVersion": "v1", "kind": "Node", "name": "n1", "uid": "u" }],
        },
        "spec": {
            "holderIdentity": "n1", "leaseDurationSeconds": 40, "renewTime": "1970-01-01T00:00:00.000000Z",
        },
    });
    assert_eq!(serde_json::to_value(&*lease).unwrap(), want);
    machine.on_answer(now, LeaseAnswer::Known(lease));
    for _ in 0..20 {
        let before = now;
        let (now, call) = due(&mut machine, Some("u"));
        let waited = now.since(before).as_secs_f64();
        assert!(waited >= 10.0, "{waited}");
        let Some(LeaseCall::Update(lease)) = call else { panic!("{call:?}") };
        machine.on_answer(before, LeaseAnswer::Known(lease));
        let next = machine.next_deadline().unwrap().since(before).as_secs_f64();
        assert!((10.0..=10.4).contains(&next), "{next}");
    }
}

#[test]
fn without_an_owner_no_lease_is_made_but_one_that_is_there_is_renewed() {
    let mut machine = machine();
    due(&mut machine, None);
    machine.on_answer(MonoTime::ZERO, LeaseAnswer::NotFound);
    assert_eq!(due(&mut machine, None).1, None);
    let (now, call) = due(&mut machine, None);
    assert!(now >= MonoTime::from_secs(10) && call == Some(LeaseCall::Get), "{now:?} {call:?}");
    machine.on_answer(now, known("1"));
    let (now, call) = due(&mut machine, None);
    let Some(LeaseCall::Update(lease)) = call else { panic!("{call:?}") };
    assert_eq!(lease.metadata.owner_references, None);
    machine.on_answer(now, LeaseAnswer::Known(lease));
    let (_, call) = due(&mut machine, Some("u"));
    let Some(LeaseCall::Update(lease)) = call else { panic!("{call:?}") };
    assert_eq!(lease.metadata.owner_references.unwrap()[0].uid, "u");
}

#[test]
fn a_conflict_asks_for_the_object_and_tries_again() {
    let mut machine = machine();
    due(&mut machine, Some("u"));
    machine.on_answer(MonoTime::ZERO, known("1"));
    due(&mut machine, Some("u"));
    machine.on_answer(MonoTime::ZERO, LeaseAnswer::Conflict);
    assert_eq!(due(&mut machine, Some("u")).1, Some(LeaseCall::Get));
    machine.on_answer(MonoTime::ZERO, known("2"));
    let (now, call) = due(&mut machine, Some("u"));
    let Some(LeaseCall::Update(lease)) = call else { panic!("{call:?}") };
    assert_eq!((now, lease.metadata.resource_version.as_deref()), (MonoTime::ZERO, Some("2")));
}

#[test]
fn five_updates_fail_then_the_object_is_asked_for_with_back_off() {
    let mut machine = machine();
    due(&mut machine, Some("u"));
    machine.on_answer(MonoTime::ZERO, known("1"));
    let (now, call) = due(&mut machine, Some("u"));
    assert!(matches!(call, Some(LeaseCall::Update(_))));
    machine.on_answer(now, known("2"));
    for failures in 1..=5 {
        let (now, call) = due(&mut machine, Some("u"));
        assert!(matches!(call, Some(LeaseCall::Update(_))));
        assert_eq!(machine.on_answer(now, LeaseAnswer::Failed), failures);
    }
    let mut waits = Vec::new();
    for _ in 0..8 {
        let (now, call) = due(&mut machine, Some("u"));
        assert_eq!(call, Some(LeaseCall::Get));
        machine.on_answer(now, LeaseAnswer::Failed);
        waits.push(machine.next_deadline().unwrap().since(now).as_millis());
    }
    assert_eq!(waits, [200, 400, 800, 1600, 3200, 6400, 7000, 7000]);
}

/// What the API server holds and does.
#[derive(Default)]
struct Server {
    lease: Option<Lease>,
    version: u64,
}

impl Server {
    fn answer(&mut self, call: LeaseCall) -> LeaseAnswer {
        match (call, &self.lease) {
            (LeaseCall::Get, None) => LeaseAnswer::NotFound,
            (LeaseCall::Get, Some(lease)) => LeaseAnswer::Known(Box::new(lease.clone())),
            (LeaseCall::Create(_), Some(_)) | (LeaseCall::Update(_), None) => LeaseAnswer::Failed,
            (LeaseCall::Create(lease), None) => self.store(*lease),
            (LeaseCall::Update(lease), Some(current)) => {
                match lease.metadata.resource_version == current.metadata.resource_version {
                    true => self.store(*lease),
                    false => LeaseAnswer::Conflict,
                }
            }
        }
    }

    fn store(&mut self, mut lease: Lease) -> LeaseAnswer {
        self.version += 1;
        lease.metadata.resource_version = Some(self.version.to_string());
        self.lease = Some(lease.clone());
        LeaseAnswer::Known(Box::new(lease))
    }

    fn renewed_at(&self) -> Option<WallTime> {
        let spec = self.lease.as_ref()?.spec.as_ref()?;
        spec.renew_time.as_ref().map(|time| WallTime::from_api(&core_types::api::Time(time.0)))
    }
}

proptest! {
    /// Whatever goes wrong: once it has stopped, the lease is renewed within its duration and stays so.
    #[test]
    fn the_lease_is_renewed_again_whatever_happened(faults in proptest::collection::vec(0_u8..5, 0..60)) {
        let (mut machine, mut server) = (machine(), Server::default());
        let mut now = MonoTime::ZERO;
        for fault in faults {
            now = machine.next_deadline().unwrap();
            let Some(call) = machine.next_call(now, wall(now), Some("u")) else { continue };
            let answer = match fault {
                0 => LeaseAnswer::Failed,
                1 => {
                    // It arrived, but the answer was lost.
                    server.answer(call);
                    LeaseAnswer::Failed
                }
                2 => {
                    server.lease = None;
                    server.answer(call)
                }
                3 => {
                    if let Some(lease) = server.lease.clone() {
                        server.store(lease);
                    }
                    server.answer(call)
                }
                _ => server.answer(call),
            };
            machine.on_answer(now, answer);
        }
        let calm = now;
        while now < calm + Duration::from_secs(120) {
            now = machine.next_deadline().unwrap();
            if let Some(call) = machine.next_call(now, wall(now), Some("u")) {
                let answer = server.answer(call);
                machine.on_answer(now, answer);
            }
            if now > calm + Duration::from_secs(40) {
                let age = wall(now).since(server.renewed_at().expect("there is a lease"));
                prop_assert!(age <= Duration::from_secs(11), "{age:?}");
            }
        }
    }
}
