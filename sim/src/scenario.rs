//! What happens in one seed: a few minutes of pods coming, changing and going while things break, then peace, in which the
//! node must converge, survive a restart of the agent unchanged, and fall silent.

use std::collections::BTreeMap;
use std::time::Duration;

use core_types::runtime::{ContainerState, SandboxConfig};
use core_types::{ContainerId, MonoTime};
use ports::{Clock, ContainerRuntime};

use crate::check::{self, Watcher};
use crate::in_paused_time;
use crate::runtime::EventSupport;
use crate::world::World;

/// Names that pods of a scenario have; few, so that they meet.
const NAMES: u64 = 5;
/// Time in which everything must have converged after the faults have stopped: longer than the longest back-off.
const PEACE: Duration = Duration::from_secs(1500);
/// Time in which a quiet node must make no call but one slow relist; pods are synced several times in it.
const SILENCE: Duration = Duration::from_secs(290);

/// What a pod of a scenario does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// Runs for ever.
    Serve,
    /// Runs for ever and ignores the stop signal.
    Stubborn,
    /// Ends well, once.
    Complete,
    /// Fails, once.
    Fail,
    /// Fails again and again.
    CrashLoop,
    /// Runs for ever, after two init containers and between sidecars.
    Escorted,
    /// Restarts all its containers once, then runs for ever.
    Anew,
}

impl Program {
    fn draw(number: u64) -> Self {
        match number % 10 {
            0 => Self::Stubborn,
            1 => Self::Complete,
            2 => Self::Fail,
            3 => Self::CrashLoop,
            4 => Self::Escorted,
            5 => Self::Anew,
            _ => Self::Serve,
        }
    }

    fn manifest(self, name: &str, variant: u64) -> String {
        let (args, restart) = match self {
            Self::Serve => (r#"["serve"]"#.to_owned(), "Always"),
            Self::Stubborn => (r#"["stubborn"]"#.to_owned(), "Always"),
            Self::Complete => (format!(r#"["exit", "0", "{}"]"#, variant % 20), "OnFailure"),
            Self::Fail => (format!(r#"["exit", "3", "{}"]"#, variant % 20), "Never"),
            Self::CrashLoop => (format!(r#"["exit", "1", "{}"]"#, variant % 5), "Always"),
            Self::Escorted => {
                (r#"["serve", "after", "first", "after", "side", "after", "last"]"#.to_owned(), "Always")
            }
            Self::Anew => (format!(r#"["once", "42", "{}", "after", "first"]"#, variant % 20), "Always"),
        };
        let rules = match self {
            Self::Anew => {
                ", restartPolicy: Always, restartPolicyRules: [{action: RestartAllContainers, exitCodes: {operator: In, values: [42]}}]"
            }
            _ => "",
        };
        let second = match variant % 3 {
            0 => "\n  - {name: second, image: \"sim/app:1\", args: [\"serve-too\"]}",
            _ => "",
        };
        let second = if matches!(self, Self::Serve) { second } else { "" };
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, labels: {{variant: \"{variant}\"}}}}\nspec:\n  \
             restartPolicy: {restart}\n  terminationGracePeriodSeconds: {grace}\n{init}  containers:\n  \
             - {{name: main, image: \"sim/app:{tag}\", args: {args}{rules}}}{second}\n",
            init = self.init_containers(variant),
            grace = variant % 30,
            tag = variant % 2,
        )
    }
}

impl Program {
    /// Init containers and sidecars, which say themselves in which order they must start and stop.
    fn init_containers(self, variant: u64) -> String {
        let container = |name: &str, more: &str, args: &str| {
            format!("  - {{name: {name}, image: \"sim/app:1\"{more}, args: [{args}]}}\n")
        };
        let first = container("first", "", &format!("exit, \"0\", \"{}\"", variant % 4));
        let sidecar = ", restartPolicy: Always";
        let list = match self {
            Self::Escorted => [
                first,
                container("side", sidecar, "serve, after, first, outlives, main, outlives, late"),
                container("last", "", "exit, \"0\", \"1\", after, side"),
                container("late", sidecar, "serve, after, last, outlives, main"),
            ]
            .concat(),
            Self::Anew => first,
            _ => return String::new(),
        };
        format!("  initContainers:\n{list}")
    }
}

/// What a seed led to, to tell whether it replays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Played {
    /// Calls that the runtime got, by name.
    pub calls: BTreeMap<&'static str, u64>,
    /// Simulated time that passed.
    pub ended_at: MonoTime,
}

/// Plays one seed to its end.
///
/// # Errors
/// The first rule that was broken, in words.
pub fn play(seed: u64) -> Result<Played, String> {
    in_paused_time(async {
        let events = if seed.is_multiple_of(4) { EventSupport::Unimplemented } else { EventSupport::Streams };
        let per_mille = u32::try_from(seed % 5).unwrap_or(0) * 20;
        let world = World::new(seed, per_mille, events).map_err(|error| error.to_string())?;
        let mut scenario = Scenario { world, watcher: Watcher::default(), wanted: BTreeMap::new(), events };
        scenario.trouble().await?;
        scenario.peace().await?;
        let calls = scenario.world.runtime.store().calls.clone();
        Ok(Played { calls, ended_at: scenario.world.clock.now() })
    })
}

struct Scenario {
    world: World,
    watcher: Watcher,
    /// Name and program of the pod in each manifest file.
    wanted: BTreeMap<String, (String, Program)>,
    events: EventSupport,
}

impl Scenario {
    async fn trouble(&mut self) -> Result<(), String> {
        let moves = 15 + self.world.faults.pick(25);
        for _ in 0..moves {
            self.one_move().await;
            self.pass(Duration::from_millis(self.world.faults.pick(20_000))).await?;
        }
        Ok(())
    }

    /// Lets time pass, looking at the node every now and then.
    async fn pass(&mut self, time: Duration) -> Result<(), String> {
        let steps = 5;
        for _ in 0..steps {
            tokio::time::sleep(time / steps).await;
            self.watcher.look(&self.world.view(), &self.world.runtime)?;
            check::rules(&self.world.runtime)?;
        }
        Ok(())
    }

    async fn one_move(&mut self) {
        let (choice, number) = (self.world.faults.pick(14), self.world.faults.pick(1 << 20));
        match choice {
            0..=4 => self.put(number),
            5 => self.delete(number),
            6 => self
                .world
                .static_manifests
                .put("broken.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {name: [\n"),
            7 => self.kill_a_container(number),
            8 => {
                self.world.faults.set_runtime_down(true);
                self.world.runtime.break_streams();
                tokio::time::sleep(Duration::from_millis(number % 60_000)).await;
                self.world.faults.set_runtime_down(false);
            }
            9 | 10 => {
                self.world.kill_agent();
                self.watcher.agent_restarted();
                tokio::time::sleep(Duration::from_millis(number % 20_000)).await;
                self.world.start_agent();
            }
            11 => {
                self.world.faults.set_disk_full(true);
                tokio::time::sleep(Duration::from_millis(number % 60_000)).await;
                self.world.faults.set_disk_full(false);
            }
            12 => self.world.clock.step_wall_secs(i64::try_from(number % 200_000).unwrap_or(0) - 100_000),
            _ => self.leave_an_orphan(number).await,
        }
    }

    fn put(&mut self, number: u64) {
        let program = Program::draw(number / 16);
        let name = format!("pod{}", number % NAMES);
        let manifest = program.manifest(&name, number);
        if number.is_multiple_of(3) {
            self.world.local_manifests.put(&format!("{name}.json"), manifest);
            self.wanted.insert(format!("local/{name}"), (name, program));
        } else {
            self.world.static_manifests.put(&format!("{name}.yaml"), manifest);
            self.wanted
                .insert(format!("static/{name}"), (format!("{name}-{}", crate::world::NODE_NAME), program));
        }
    }

    fn delete(&mut self, number: u64) {
        let name = format!("pod{}", number % NAMES);
        self.world.static_manifests.delete(&format!("{name}.yaml"));
        self.world.local_manifests.delete(&format!("{name}.json"));
        self.wanted.remove(&format!("static/{name}"));
        self.wanted.remove(&format!("local/{name}"));
        self.watcher.deleted(&name);
    }

    fn kill_a_container(&self, number: u64) {
        let running: Vec<ContainerId> = {
            let store = self.world.runtime.store();
            let running = store.containers.iter().filter(|(_, c)| c.state == ContainerState::Running);
            running.map(|(id, _)| id.clone()).collect()
        };
        let chosen = usize::try_from(number).unwrap_or(0) % running.len().max(1);
        if let Some(id) = running.get(chosen) {
            self.world.runtime.kill_container(id, 137);
        }
    }

    /// A sandbox of a pod that nobody wants, as another kubelet may have left it.
    async fn leave_an_orphan(&self, number: u64) {
        let (name, uid) = (format!("orphan{}", number % 7), format!("orphan-uid-{number}"));
        let labels = [
            (core_types::keys::POD_NAME_LABEL, name.clone()),
            (core_types::keys::POD_NAMESPACE_LABEL, "default".to_owned()),
            (core_types::keys::POD_UID_LABEL, uid.clone()),
        ];
        let config = SandboxConfig {
            name,
            namespace: "default".to_owned(),
            uid: Some(uid.as_str().into()),
            labels: labels.map(|(key, value)| (key.to_owned(), value)).into(),
            ..SandboxConfig::default()
        };
        // Whether it comes to be does not matter: it must be gone in the end.
        let _ = self.world.runtime.run_sandbox(&config, "").await;
    }

    /// The faults stop: everything must be as wanted, stay so over a restart of the agent, and be silent.
    async fn peace(&mut self) -> Result<(), String> {
        self.world.faults.stop();
        self.pass(PEACE).await?;
        let expected: BTreeMap<String, Program> = self.wanted.values().cloned().collect();
        check::converged(&self.world, &expected)?;

        let before = check::Steady::of(&self.world);
        self.world.kill_agent();
        self.watcher.agent_restarted();
        self.world.start_agent();
        self.pass(Duration::from_secs(120)).await?;
        check::converged(&self.world, &expected)?;
        check::Steady::of(&self.world).same_as(&before)?;

        let looping = expected.values().any(|program| *program == Program::CrashLoop);
        if self.events == EventSupport::Streams && !looping {
            let calls = self.world.runtime.store().calls.clone();
            self.pass(SILENCE).await?;
            check::silent(&calls, &self.world.runtime.store().calls)?;
        }
        Ok(())
    }
}
