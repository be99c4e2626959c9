//! The machine against a small model of a runtime.

use std::collections::BTreeMap;
use std::time::Duration;

use core_types::runtime::{
    ContainerState, ContainerStatus, ContainerSummary, RuntimeEvent, RuntimeEventKind, SandboxState,
    SandboxStatus, SandboxSummary,
};
use core_types::{ContainerId, MonoTime, ObservedPod, PodUid, SandboxId, WallTime, keys};
use proptest::prelude::*;

use crate::*;

/// One container of the model; `exit_code` is a number that no other container has.
#[derive(Clone, Debug)]
struct ModelContainer {
    pod: usize,
    sandbox: u32,
    attempt: u32,
    state: ContainerState,
    exit_code: i32,
}

#[derive(Clone, Debug)]
struct ModelSandbox {
    pod: usize,
    attempt: u32,
    state: SandboxState,
}

#[derive(Clone, Debug, Default)]
struct Model {
    sandboxes: BTreeMap<u32, ModelSandbox>,
    containers: BTreeMap<u32, ModelContainer>,
    next_id: u32,
    inspections: usize,
}

fn uid(pod: usize) -> PodUid {
    PodUid::from(format!("uid-{pod}"))
}

fn labels(pod: usize) -> BTreeMap<String, String> {
    [
        (keys::POD_UID_LABEL, format!("uid-{pod}")),
        (keys::POD_NAME_LABEL, format!("pod-{pod}")),
        (keys::POD_NAMESPACE_LABEL, "ns".to_owned()),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .into()
}

impl Model {
    fn run_sandbox(&mut self, pod: usize) -> u32 {
        self.next_id += 1;
        let attempt = u32::try_from(self.sandboxes.values().filter(|s| s.pod == pod).count()).unwrap();
        self.sandboxes.insert(self.next_id, ModelSandbox { pod, attempt, state: SandboxState::Ready });
        self.next_id
    }

    fn create_container(&mut self, pod: usize) -> Option<u32> {
        let sandbox = *self.sandboxes.iter().rev().find(|(_, s)| s.pod == pod)?.0;
        self.next_id += 1;
        let attempt = u32::try_from(self.containers.values().filter(|c| c.pod == pod).count()).unwrap();
        let exit_code = i32::try_from(self.next_id).unwrap();
        let state = ContainerState::Created;
        self.containers.insert(self.next_id, ModelContainer { pod, sandbox, attempt, state, exit_code });
        Some(self.next_id)
    }

    fn set(&mut self, id: u32, state: ContainerState) {
        self.containers.get_mut(&id).unwrap().state = state;
    }

    fn sandbox_summary(&self, id: u32) -> SandboxSummary {
        let sandbox = &self.sandboxes[&id];
        SandboxSummary {
            id: SandboxId::from(format!("s{id:04}")),
            name: format!("pod-{}", sandbox.pod),
            namespace: "ns".to_owned(),
            uid: uid(sandbox.pod),
            attempt: sandbox.attempt,
            state: sandbox.state,
            created_at: WallTime::from_unix_secs(i64::from(id)),
            labels: labels(sandbox.pod),
            annotations: BTreeMap::new(),
            runtime_handler: String::new(),
        }
    }

    fn sandbox_status(&self, id: u32) -> SandboxStatus {
        let summary = self.sandbox_summary(id);
        let ips = match summary.state {
            SandboxState::Ready => vec![format!("10.0.0.{id}")],
            SandboxState::NotReady => Vec::new(),
        };
        SandboxStatus { summary, ips, host_network: false }
    }

    fn container_summary(&self, id: u32) -> ContainerSummary {
        let container = &self.containers[&id];
        ContainerSummary {
            id: ContainerId::from(format!("c{id:04}")),
            sandbox_id: SandboxId::from(format!("s{:04}", container.sandbox)),
            name: "main".to_owned(),
            attempt: container.attempt,
            state: container.state,
            image: "img".to_owned(),
            image_ref: "img@sha".to_owned(),
            created_at: WallTime::from_unix_secs(i64::from(id)),
            labels: labels(container.pod),
            annotations: BTreeMap::new(),
        }
    }

    fn container_status(&self, id: u32) -> ContainerStatus {
        let summary = self.container_summary(id);
        let ended = summary.state == ContainerState::Exited;
        ContainerStatus {
            id: summary.id,
            name: summary.name,
            attempt: summary.attempt,
            state: summary.state,
            created_at: summary.created_at,
            started_at: WallTime::default(),
            finished_at: WallTime::default(),
            exit_code: if ended { self.containers[&id].exit_code } else { 0 },
            image: summary.image,
            image_ref: summary.image_ref,
            image_id: String::new(),
            reason: String::new(),
            message: String::new(),
            labels: summary.labels,
            annotations: summary.annotations,
            mounts: Vec::new(),
            log_path: String::new(),
            resources: None,
            process: Default::default(),
        }
    }

    fn lists(&self) -> (Vec<SandboxSummary>, Vec<ContainerSummary>) {
        (
            self.sandboxes.keys().map(|id| self.sandbox_summary(*id)).collect(),
            self.containers.keys().map(|id| self.container_summary(*id)).collect(),
        )
    }

    fn inspect(&mut self, ask: &PodToInspect) -> InspectedPod {
        let number = |text: &str| text[1..].parse::<u32>().unwrap();
        self.inspections += ask.sandboxes.len() + ask.containers.len();
        let sandboxes = ask.sandboxes.iter().map(|row| number(row.id.as_str()));
        let containers = ask.containers.iter().map(|row| number(row.id.as_str()));
        InspectedPod {
            sandboxes: sandboxes
                .filter(|id| self.sandboxes.contains_key(id))
                .map(|id| self.sandbox_status(id))
                .collect(),
            containers: containers
                .filter(|id| self.containers.contains_key(id))
                .map(|id| InspectedContainer {
                    status: self.container_status(id),
                    termination_message: format!("message of {id}"),
                })
                .collect(),
        }
    }

    /// One whole look without failures or changes in between.
    fn look(&mut self, pleg: &mut Pleg, now: MonoTime, scope: Scope) -> (Vec<PlegOutcome>, Vec<PodUid>) {
        let relist = pleg.begin_relist(now, scope);
        let (sandboxes, containers) = self.lists();
        let listed = pleg.on_list(now, relist, sandboxes, containers);
        let mut outcomes = listed.outcomes;
        for ask in listed.to_inspect {
            let answers = self.inspect(&ask);
            outcomes.extend(pleg.on_inspected(&ask.uid, ask.observed_at, answers));
        }
        (outcomes, listed.confirmed)
    }

    /// The picture of a pod equals the model, except for addresses that are kept.
    fn check(&self, pod: usize, observed: Option<&ObservedPod>) {
        let mut sandboxes: Vec<SandboxStatus> = Vec::new();
        for (id, sandbox) in self.sandboxes.iter().rev() {
            if sandbox.pod == pod {
                sandboxes.push(self.sandbox_status(*id));
            }
        }
        sandboxes.sort_by_key(|status| std::cmp::Reverse(status.summary.attempt));
        let mut containers: Vec<ContainerStatus> = Vec::new();
        for (id, container) in self.containers.iter().rev() {
            if container.pod == pod {
                containers.push(self.container_status(*id));
            }
        }
        containers.sort_by_key(|status| std::cmp::Reverse(status.attempt));
        let shown = observed.map(|o| o.containers.iter().map(|c| c.status.clone()).collect::<Vec<_>>());
        assert_eq!(shown.unwrap_or_default(), containers);
        let shown = observed.map(|o| o.sandboxes.iter().map(|s| s.0.clone()).collect::<Vec<_>>());
        assert_eq!(shown.unwrap_or_default(), sandboxes);
    }
}

fn at(secs: u64) -> MonoTime {
    MonoTime::from_secs(secs)
}

fn running_pod() -> (Model, Pleg, u32, u32) {
    let (mut model, mut pleg) = (Model::default(), Pleg::new(Policy::default()));
    let sandbox = model.run_sandbox(0);
    let container = model.create_container(0).unwrap();
    model.set(container, ContainerState::Running);
    let (outcomes, _) = model.look(&mut pleg, at(10), Scope::All);
    assert_eq!(outcomes.len(), 1);
    (model, pleg, sandbox, container)
}

#[test]
fn a_started_container_and_its_sandbox_are_events_once() {
    let (mut model, mut pleg) = (Model::default(), Pleg::new(Policy::default()));
    model.run_sandbox(0);
    let container = model.create_container(0).unwrap();
    let (outcomes, _) = model.look(&mut pleg, at(1), Scope::All);
    assert_eq!(outcomes[0].events.len(), 1, "a created container is a change without an event");
    model.set(container, ContainerState::Running);
    let (outcomes, _) = model.look(&mut pleg, at(2), Scope::All);
    assert_eq!(
        outcomes[0].events,
        [PlegEvent::ContainerStarted { id: ContainerId::from("c0002"), name: "main".to_owned() }]
    );
    assert_eq!(outcomes[0].observed.ips, ["10.0.0.1"]);
    assert_eq!(outcomes[0].observed.observed_at, at(2));
    let (outcomes, confirmed) = model.look(&mut pleg, at(3), Scope::All);
    assert_eq!((outcomes.len(), confirmed), (0, vec![uid(0)]));
    assert_eq!(
        pleg.observed(&uid(0)).unwrap().observed_at,
        at(3),
        "a confirmed picture is as new as the look"
    );
}

#[test]
fn only_what_can_have_changed_is_inspected() {
    let (mut model, mut pleg, _, first) = running_pod();
    assert_eq!(model.inspections, 2);
    model.set(first, ContainerState::Exited);
    let (outcomes, _) = model.look(&mut pleg, at(11), Scope::One(uid(0)));
    assert_eq!(model.inspections, 3, "the ready sandbox is not asked again");
    assert_eq!(
        outcomes[0].events,
        [PlegEvent::ContainerDied {
            id: ContainerId::from("c0002"),
            name: "main".to_owned(),
            exit_code: Some(2)
        }]
    );
    let second = model.create_container(0).unwrap();
    model.set(second, ContainerState::Running);
    model.look(&mut pleg, at(12), Scope::One(uid(0)));
    assert_eq!(model.inspections, 4, "neither the sandbox nor the ended container is asked again");
    let observed = pleg.observed(&uid(0)).unwrap();
    assert_eq!(observed.containers[1].termination_message, "message of 2");
    assert_eq!(observed.containers[0].id().as_str(), "c0003", "newest first");
}

#[test]
fn a_requested_reinspection_asks_what_has_not_ended_and_survives_failure() {
    let (mut model, mut pleg, _, _) = running_pod();
    pleg.request_reinspect(uid(0));
    let relist = pleg.begin_relist(at(11), Scope::One(uid(0)));
    let (sandboxes, containers) = model.lists();
    let listed = pleg.on_list(at(11), relist, sandboxes, containers);
    assert_eq!(listed.to_inspect[0].containers.len(), 1);
    assert_eq!(listed.to_inspect[0].sandboxes.len(), 1);
    pleg.on_inspect_failed(at(11), &uid(0), at(11));
    let before = model.inspections;
    let (outcomes, _) = model.look(&mut pleg, at(12), Scope::All);
    assert_eq!(model.inspections, before + 2);
    assert!(outcomes[0].events.is_empty(), "nothing happened");
    let (outcomes, confirmed) = model.look(&mut pleg, at(13), Scope::All);
    assert_eq!((outcomes.len(), confirmed.len()), (0, 1));
}

#[test]
fn a_failed_inspection_gives_no_event_until_it_succeeds() {
    let (mut model, mut pleg, _, container) = running_pod();
    pleg.on_feed(at(10), EventFeed::Streaming);
    model.look(&mut pleg, at(10), Scope::All);
    model.set(container, ContainerState::Exited);
    for (now, retry_after_ms) in
        [(20, 100), (21, 200), (22, 400), (23, 800), (24, 1600), (25, 3200), (30, 5000)]
    {
        let relist = pleg.begin_relist(at(now), Scope::One(uid(0)));
        let (sandboxes, containers) = model.lists();
        let listed = pleg.on_list(at(now), relist, sandboxes, containers);
        pleg.on_inspect_failed(at(now), &uid(0), listed.to_inspect[0].observed_at);
        assert_eq!(pleg.next_look(), (at(now) + Duration::from_millis(retry_after_ms), Scope::One(uid(0))));
        assert_eq!(
            pleg.observed(&uid(0)).unwrap().observed_at,
            at(10),
            "the old picture stays, with its old time"
        );
    }
    let (outcomes, _) = model.look(&mut pleg, at(40), Scope::One(uid(0)));
    assert_eq!(outcomes[0].events.len(), 1);
    assert_eq!(pleg.next_look(), (at(310), Scope::All), "nothing is left to retry");
}

#[test]
fn a_vanished_pod_is_told_once_and_keeps_its_address() {
    let (mut model, mut pleg, sandbox, container) = running_pod();
    model.sandboxes.get_mut(&sandbox).unwrap().state = SandboxState::NotReady;
    let (outcomes, _) = model.look(&mut pleg, at(11), Scope::All);
    assert_eq!(outcomes[0].observed.ips, ["10.0.0.1"], "kept although the sandbox has no network any more");
    model.sandboxes.remove(&sandbox);
    model.containers.remove(&container);
    let (outcomes, _) = model.look(&mut pleg, at(12), Scope::All);
    let name = "main".to_owned();
    let id = ContainerId::from("c0002");
    assert_eq!(
        outcomes[0].events,
        [
            PlegEvent::SandboxChanged { id: SandboxId::from("s0001"), state: None },
            PlegEvent::ContainerDied { id: id.clone(), name: name.clone(), exit_code: None },
            PlegEvent::ContainerRemoved { id, name },
        ]
    );
    assert!(outcomes[0].observed.is_empty());
    assert_eq!(outcomes[0].observed.ips, ["10.0.0.1"]);
    let (outcomes, confirmed) = model.look(&mut pleg, at(13), Scope::All);
    assert_eq!((outcomes.len(), confirmed.len()), (0, 0));
    let (_, confirmed) = model.look(&mut pleg, at(14), Scope::One(uid(0)));
    assert_eq!(confirmed, [uid(0)], "who asks for one pod gets an answer even if there is nothing");
}

#[test]
fn a_late_answer_never_overwrites_a_newer_picture() {
    let (mut model, mut pleg, _, container) = running_pod();
    let old_look = pleg.begin_relist(at(11), Scope::All);
    let old_lists = model.lists();
    model.set(container, ContainerState::Exited);
    model.look(&mut pleg, at(12), Scope::One(uid(0)));
    let listed = pleg.on_list(at(13), old_look, old_lists.0, old_lists.1);
    assert_eq!(listed, Listed { confirmed: vec![uid(0)], ..Listed::default() });
    assert_eq!(pleg.observed(&uid(0)).unwrap().containers[0].state(), ContainerState::Exited);

    let relist = pleg.begin_relist(at(14), Scope::All);
    let other = model.create_container(0).unwrap();
    let lists = model.lists();
    let listed = pleg.on_list(at(14), relist, lists.0, lists.1);
    let old_answers = model.inspect(&listed.to_inspect[0]);
    model.set(other, ContainerState::Running);
    model.look(&mut pleg, at(15), Scope::One(uid(0)));
    assert_eq!(pleg.on_inspected(&uid(0), at(14), old_answers), None);
    model.check(0, pleg.observed(&uid(0)));
}

#[test]
fn a_look_that_began_later_and_read_earlier_takes_nothing_back() {
    let (mut model, mut pleg) = (Model::default(), Pleg::new(Policy::default()));
    pleg.on_feed(at(1), EventFeed::Streaming);
    model.run_sandbox(0);
    let slow = pleg.begin_relist(at(10), Scope::All);
    let later = pleg.begin_relist(at(11), Scope::One(uid(0)));
    let (sandboxes, before) = model.lists();
    let container = model.create_container(0).unwrap();
    model.set(container, ContainerState::Running);
    let (_, after) = model.lists();
    let listed = pleg.on_list(at(12), slow, sandboxes.clone(), after);
    for ask in listed.to_inspect {
        pleg.on_inspected(&ask.uid, ask.observed_at, model.inspect(&ask));
    }
    let listed = pleg.on_list(at(13), later, sandboxes, before);
    assert_eq!(listed.awaited.len(), 1, "nobody knows which of both is right");
    assert!(listed.outcomes.is_empty() && listed.confirmed.is_empty() && listed.to_inspect.is_empty());
    model.check(0, pleg.observed(&uid(0)));
    assert_eq!(pleg.next_look().1, Scope::One(uid(0)), "it is looked at again");
    // What a look says that began after the other had ended is believed.
    model.containers.clear();
    let (outcomes, _) = model.look(&mut pleg, at(14), Scope::One(uid(0)));
    assert!(outcomes[0].events.iter().any(|event| matches!(event, PlegEvent::ContainerRemoved { .. })));
}

#[test]
fn a_late_list_does_not_bring_back_a_pod_seen_to_be_gone() {
    let (mut model, mut pleg, sandbox, container) = running_pod();
    let old_look = pleg.begin_relist(at(11), Scope::All);
    let old_lists = model.lists();
    model.sandboxes.remove(&sandbox);
    model.containers.remove(&container);
    model.look(&mut pleg, at(12), Scope::One(uid(0)));
    let listed = pleg.on_list(at(13), old_look, old_lists.0, old_lists.1);
    assert_eq!(listed, Listed::default());
    assert_eq!(pleg.observed(&uid(0)), None);
    assert_eq!(pleg.next_look().1, Scope::One(uid(0)), "it is looked at again");
}

#[test]
fn a_look_at_one_pod_does_not_hide_the_others_from_a_full_list_under_way() {
    let (mut model, mut pleg) = (Model::default(), Pleg::new(Policy::default()));
    model.run_sandbox(0);
    model.run_sandbox(1);
    let full = pleg.begin_relist(at(1), Scope::All);
    let lists = model.lists();
    model.look(&mut pleg, at(2), Scope::One(uid(0)));
    let listed = pleg.on_list(at(3), full, lists.0, lists.1);
    let asked: Vec<&PodUid> = listed.to_inspect.iter().map(|pod| &pod.uid).collect();
    assert_eq!(asked, [&uid(1)]);
}

#[test]
fn a_full_list_names_pods_whose_newer_answers_are_outstanding() {
    let (mut model, mut pleg) = (Model::default(), Pleg::new(Policy::default()));
    model.run_sandbox(0);
    let full = pleg.begin_relist(at(1), Scope::All);
    let lists = model.lists();
    let one = pleg.begin_relist(at(2), Scope::One(uid(0)));
    assert_eq!(pleg.on_list(at(2), one, lists.0.clone(), lists.1.clone()).to_inspect.len(), 1);
    let listed = pleg.on_list(at(3), full, lists.0, lists.1);
    let awaited: Vec<&PodUid> = listed.awaited.iter().map(|(uid, _)| uid).collect();
    assert_eq!(
        (awaited, listed.to_inspect.len()),
        (vec![&uid(0)], 0),
        "it is there, whatever the answers will be"
    );
}

#[test]
fn foreign_rows_are_left_aside() {
    let (mut model, mut pleg) = (Model::default(), Pleg::new(Policy::default()));
    model.run_sandbox(0);
    model.run_sandbox(1);
    let relist = pleg.begin_relist(at(1), Scope::One(uid(0)));
    let (sandboxes, mut containers) = model.lists();
    let foreign = Model { containers: BTreeMap::new(), ..model.clone() }.create_container(0);
    assert!(foreign.is_some());
    model.create_container(0);
    let mut row = model.container_summary(model.next_id);
    row.labels.clear();
    containers.push(row);
    let listed = pleg.on_list(at(1), relist, sandboxes, containers);
    assert_eq!(listed.to_inspect.len(), 1, "the other pod is outside the scope");
    assert!(listed.to_inspect[0].containers.is_empty(), "a container without labels is nobody's");
}

#[test]
fn events_point_at_their_pod_or_at_everything() {
    let (_, mut pleg, _, _) = running_pod();
    let event = |id: &str, pod: Option<&str>| RuntimeEvent {
        kind: RuntimeEventKind::Stopped,
        container_id: ContainerId::from(id),
        pod_uid: pod.map(PodUid::from),
    };
    let mut scope = |id: &str, pod: Option<&str>| pleg.on_event(at(9), &event(id, pod));
    assert_eq!(scope("zz", Some("uid-7")), Some(Scope::One(uid(7))));
    assert_eq!(scope("c0002", None), Some(Scope::One(uid(0))));
    assert_eq!(scope("s0001", Some("")), Some(Scope::One(uid(0))));
    assert_eq!(scope("zz", None), Some(Scope::All));
}

#[test]
fn what_is_created_and_started_together_is_looked_at_once() {
    let (_, mut pleg, _, _) = running_pod();
    let event = |kind: RuntimeEventKind| RuntimeEvent {
        kind,
        container_id: ContainerId::from("zz"),
        pod_uid: Some(uid(7)),
    };
    let rest = pleg.next_look();
    for (secs, kind) in [(9, RuntimeEventKind::Created), (9, RuntimeEventKind::Started)] {
        assert_eq!(pleg.on_event(at(secs), &event(kind)), None);
    }
    let (due, scope) = pleg.next_look();
    assert_eq!((due, scope), (at(10), Scope::One(uid(7))));
    // A look at the pod for another reason is as good.
    pleg.begin_relist(due, Scope::One(uid(7)));
    assert_eq!(pleg.next_look(), rest);
    assert_eq!(pleg.on_event(at(11), &event(RuntimeEventKind::Stopped)), Some(Scope::One(uid(7))));
}

#[test]
fn what_a_picture_shows_needs_no_look_when_it_is_told() {
    let (_, mut pleg, _, _) = running_pod();
    let event = |kind: RuntimeEventKind, id: &str| RuntimeEvent {
        kind,
        container_id: ContainerId::from(id),
        pod_uid: Some(uid(0)),
    };
    let looks = |pleg: &Pleg| pleg.next_look_besides(|scope| *scope == Scope::All).map(|(_, scope)| scope);
    for id in ["s0001", "c0002"] {
        for kind in [RuntimeEventKind::Created, RuntimeEventKind::Started] {
            assert_eq!(pleg.on_event(at(11), &event(kind, id)), None);
        }
    }
    assert_eq!(looks(&pleg), None, "the picture came before the event");
    assert_eq!(pleg.on_event(at(11), &event(RuntimeEventKind::Started, "zz")), None);
    assert_eq!(looks(&pleg), Some(Scope::One(uid(0))), "it shows nothing of another container");
}

#[test]
fn full_relists_follow_the_feed_and_back_off_on_failure() {
    let mut pleg = Pleg::new(Policy::default());
    assert_eq!(pleg.next_look(), (at(0), Scope::All));
    let relist = pleg.begin_relist(at(1), Scope::All);
    pleg.on_list(at(2), relist, Vec::new(), Vec::new());
    assert_eq!(pleg.next_look(), (at(3), Scope::All), "one second after the last one ended");
    pleg.on_feed(at(2), EventFeed::Streaming);
    assert_eq!(pleg.next_look(), (at(2), Scope::All), "what the stream did not tell is looked at");
    let relist = pleg.begin_relist(at(2), Scope::All);
    pleg.on_list(at(2), relist, Vec::new(), Vec::new());
    assert_eq!(pleg.next_look(), (at(302), Scope::All));
    let mut delays_ms = Vec::new();
    for second in 302..310 {
        let relist = pleg.begin_relist(at(second), Scope::All);
        pleg.on_list_failed(at(second), &relist);
        delays_ms.push(pleg.next_look().0.since(at(second)).as_millis());
    }
    assert_eq!(delays_ms, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
    pleg.on_feed(at(310), EventFeed::Absent);
    assert_eq!(pleg.next_look(), (at(310), Scope::All), "a broken stream makes a full look due");
}

#[test]
fn health_follows_successful_relists() {
    let mut pleg = Pleg::new(Policy::default());
    assert_eq!(pleg.health(at(1)), Health::Unhealthy(Unhealthy::NeverSuccessful));
    let relist = pleg.begin_relist(at(10), Scope::All);
    pleg.on_list(at(11), relist, Vec::new(), Vec::new());
    assert_eq!(pleg.health(at(190)), Health::Healthy);
    let stale = |elapsed| {
        let (elapsed, threshold) = (Duration::from_secs(elapsed), Duration::from_secs(180));
        Health::Unhealthy(Unhealthy::Stale { elapsed, threshold })
    };
    assert_eq!(pleg.health(at(191)), stale(181));

    pleg.on_feed(at(200), EventFeed::Streaming);
    let relist = pleg.begin_relist(at(200), Scope::All);
    pleg.on_list(at(200), relist, Vec::new(), Vec::new());
    assert_eq!(pleg.health(at(500)), Health::Healthy, "not looking is the design while events flow");
    assert_eq!(pleg.health(at(681)), stale(481));
    let relist = pleg.begin_relist(at(300), Scope::All);
    pleg.on_list_failed(at(301), &relist);
    assert_eq!(pleg.health(at(480)), Health::Healthy);
    assert_eq!(pleg.health(at(481)), stale(281), "counted from the first failure");
}

/// One step of a random history.
#[derive(Clone, Debug)]
enum Step {
    RunSandbox(usize),
    StopSandbox(usize),
    RemoveSandbox(usize),
    Create(usize),
    Start(usize),
    Exit(usize),
    Lose(usize),
    Remove(usize),
    Look { scope: Option<usize>, race: Vec<Step>, fails: bool },
    Reinspect(usize),
}

fn runtime_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..3usize).prop_map(Step::RunSandbox),
        (0..8usize).prop_map(Step::StopSandbox),
        (0..8usize).prop_map(Step::RemoveSandbox),
        (0..3usize).prop_map(Step::Create),
        (0..8usize).prop_map(Step::Start),
        (0..8usize).prop_map(Step::Exit),
        (0..8usize).prop_map(Step::Lose),
        (0..8usize).prop_map(Step::Remove),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => runtime_step(),
        4 => (
            proptest::option::of(0..3usize),
            proptest::collection::vec(runtime_step(), 0..3),
            proptest::bool::weighted(0.3),
        )
            .prop_map(|(scope, race, fails)| Step::Look { scope, race, fails }),
        1 => (0..3usize).prop_map(Step::Reinspect),
    ]
}

fn nth_key<V>(map: &BTreeMap<u32, V>, n: usize) -> Option<u32> {
    map.keys().nth(n.checked_rem(map.len())?).copied()
}

fn apply(model: &mut Model, step: &Step) {
    let container = |model: &Model, n: usize| nth_key(&model.containers, n);
    match step {
        Step::RunSandbox(pod) => {
            model.run_sandbox(*pod);
        }
        Step::StopSandbox(n) => {
            if let Some(id) = nth_key(&model.sandboxes, *n) {
                model.sandboxes.get_mut(&id).unwrap().state = SandboxState::NotReady;
            }
        }
        Step::RemoveSandbox(n) => {
            if let Some(id) = nth_key(&model.sandboxes, *n) {
                model.sandboxes.remove(&id);
                model.containers.retain(|_, container| container.sandbox != id);
            }
        }
        Step::Create(pod) => {
            model.create_container(*pod);
        }
        Step::Start(n) => {
            if let Some(id) =
                container(model, *n).filter(|id| model.containers[id].state == ContainerState::Created)
            {
                model.set(id, ContainerState::Running);
            }
        }
        Step::Exit(n) => {
            if let Some(id) = container(model, *n) {
                model.set(id, ContainerState::Exited);
            }
        }
        Step::Lose(n) => {
            if let Some(id) =
                container(model, *n).filter(|id| model.containers[id].state == ContainerState::Running)
            {
                model.set(id, ContainerState::Unknown);
            }
        }
        Step::Remove(n) => {
            if let Some(id) = container(model, *n) {
                model.containers.remove(&id);
            }
        }
        Step::Look { .. } | Step::Reinspect(_) => {}
    }
}

proptest! {
    /// Whatever happens, also between a list and its inspection, and whatever fails: one clean look shows the model,
    /// and a second one shows no change.
    #[test]
    fn a_clean_look_shows_the_runtime_as_it_is(steps in proptest::collection::vec(step(), 1..40)) {
        let (mut model, mut pleg) = (Model::default(), Pleg::new(Policy::default()));
        let mut now = 0;
        for step in &steps {
            now += 1;
            match step {
                Step::Look { scope, race, fails } => {
                    let scope = scope.map_or(Scope::All, |pod| Scope::One(uid(pod)));
                    let relist = pleg.begin_relist(at(now), scope);
                    let (sandboxes, containers) = model.lists();
                    let listed = pleg.on_list(at(now), relist, sandboxes, containers);
                    race.iter().for_each(|step| apply(&mut model, step));
                    for ask in listed.to_inspect {
                        if *fails {
                            pleg.on_inspect_failed(at(now), &ask.uid, ask.observed_at);
                            continue;
                        }
                        let before = pleg.observed(&ask.uid).cloned();
                        let answers = model.inspect(&ask);
                        let outcome = pleg.on_inspected(&ask.uid, ask.observed_at, answers).unwrap();
                        prop_assert_eq!(outcome.observed.observed_at, at(now));
                        if before.is_some_and(|b| ObservedPod { observed_at: at(now), ..b } == outcome.observed) {
                            prop_assert!(outcome.events.is_empty(), "an event without a change");
                        }
                    }
                }
                Step::Reinspect(pod) => pleg.request_reinspect(uid(*pod)),
                other => apply(&mut model, other),
            }
        }
        model.look(&mut pleg, at(now + 1), Scope::All);
        for pod in 0..3 {
            model.check(pod, pleg.observed(&uid(pod)));
        }
        let inspections = model.inspections;
        let (outcomes, _) = model.look(&mut pleg, at(now + 2), Scope::All);
        prop_assert_eq!(outcomes, Vec::new());
        prop_assert_eq!(model.inspections, inspections, "nothing changed, so nothing is asked");
        prop_assert_eq!(pleg.next_look().1, Scope::All);
    }
}
