//! The agent is killed at random moments while pods come and go: nobody notices but by the pause.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use lab::agent::is_ready;
use serde_json::{Value, json};
use tests::cluster::{Member, apply, bound};
use tests::{LATER, eventually, manifest, status};

const KILLS: usize = 50;
const STEADY: usize = 10;
const PODS: usize = 30;

/// Numbers that look random and are the same in each run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

fn churning(number: usize) -> Value {
    let mut pod = bound("churn-1", manifest::idle(&format!("churn-{number}")));
    pod["metadata"]["labels"] = json!({ "set": "churn" });
    pod["spec"]["terminationGracePeriodSeconds"] = json!(1);
    pod
}

/// What a watcher wrote down, document by document. The last one may be cut off.
fn documents(text: &str) -> Vec<Value> {
    serde_json::Deserializer::from_str(text).into_iter::<Value>().map_while(Result::ok).collect()
}

#[test]
fn kills_at_random_moments_restart_nothing_flip_nothing_and_leave_nothing() {
    let mut member = Member::started("churn-1");
    let mut list = Vec::new();
    for number in 0..STEADY {
        let mut pod = bound("churn-1", manifest::idle(&format!("steady-{number}")));
        pod["metadata"]["labels"] = json!({ "set": "steady" });
        list.push(pod);
    }
    list.extend((STEADY..PODS).map(churning));
    member.apply(&json!({ "apiVersion": "v1", "kind": "List", "items": list }));
    for number in 0..STEADY {
        member.until(&format!("steady-{number}"), "ready", is_ready);
    }
    let plane = std::sync::Arc::clone(&member.plane);
    let args = ["get", "pods", "-l=set=steady", "-o=json", "--watch"];
    let seen = plane.dir().join("churn-watch.json");
    let mut watch = plane
        .kubectl_command(plane.admin_kubeconfig(), &args)
        .stdout(std::fs::File::create(&seen).unwrap())
        .spawn()
        .unwrap();
    let before: BTreeMap<String, Value> = (0..STEADY)
        .map(|number| format!("steady-{number}"))
        .map(|name| (name.clone(), status::only(&member.pod(&name).unwrap())["containerID"].clone()))
        .collect();

    let mut numbers = Numbers(7);
    for round in 0..KILLS {
        let (gone, new) = (STEADY + round % (PODS - STEADY), PODS + round);
        let _ =
            plane.kubectl(&["delete", "pod", &format!("churn-{gone}"), "--wait=false", "--ignore-not-found"]);
        apply(&plane, "churn", &churning(new));
        lab::wait::let_pass(Duration::from_millis(numbers.below(900)));
        member.node.agent.kill().unwrap();
        member.node.agent.start().unwrap();
    }
    plane.kubectl(&["delete", "pods", "-l=set=churn", "--timeout=180s"]).unwrap();
    eventually("only the steady pods to be left in the runtime", LATER, || {
        let left: BTreeSet<String> =
            member.node.cri.all_containers().into_iter().map(|it| it.id.to_string()).collect();
        if left.len() == STEADY { Ok(()) } else { Err(format!("{} containers", left.len())) }
    });
    for (name, id) in &before {
        let pod = member.until(name, "ready", is_ready);
        assert_eq!((&status::only(&pod)["containerID"], status::restarts(&pod)), (id, 0), "{name}");
    }
    watch.kill().unwrap();
    watch.wait().unwrap();
    let documents = documents(&std::fs::read_to_string(&seen).unwrap());
    assert!(documents.len() >= STEADY, "the watcher saw {} documents", documents.len());
    for pod in documents {
        let name = &pod["metadata"]["name"];
        assert_eq!(status::conditions(&pod)["Ready"].0, "True", "{name} was seen unready: {}", pod["status"]);
        assert_eq!(pod["status"]["phase"], "Running", "{name}");
    }
    member.kubectl(&["delete", "pods", "-l=set=steady", "--timeout=120s"]);
}
