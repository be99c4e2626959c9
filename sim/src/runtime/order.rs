//! The order in which containers of one pod start and stop, as their arguments ask for it: `after NAME` and `outlives NAME`.

use core_types::ContainerId;
use core_types::runtime::ContainerState;

use super::store::{Container, Store};

/// The names that follow a word in the arguments of a container.
fn named<'a>(container: &'a Container, word: &'a str) -> impl Iterator<Item = &'a str> {
    let pairs = container.config.args.windows(2);
    pairs.filter(move |pair| pair[0] == word).map(|pair| pair[1].as_str())
}

impl Store {
    /// A container starts: those that must come first have ended well, or run.
    pub(super) fn check_order(&mut self, id: &ContainerId) {
        let Some(starting) = self.containers.get(id) else { return };
        let is_through = |name: &str| {
            let mut same = self
                .containers
                .values()
                .filter(|other| other.sandbox_id == starting.sandbox_id && other.config.name == name);
            same.any(|other| match other.state {
                ContainerState::Exited => {
                    other.exit_code == 0 || !other.config.args.iter().any(|arg| arg == "exit")
                }
                ContainerState::Running => !other.config.args.iter().any(|arg| arg == "exit"),
                ContainerState::Created | ContainerState::Unknown => false,
            })
        };
        let early = named(starting, "after").find(|name| !is_through(name));
        let violation =
            early.map(|name| format!("{id} ({}) starts before {name} is through", starting.config.name));
        self.violations.extend(violation);
    }

    /// A container is stopped: those that it must outlive do not run.
    pub(super) fn check_stop(&mut self, id: &ContainerId) {
        let Some(stopping) = self.containers.get(id) else { return };
        let runs = |name: &str| {
            self.containers.values().any(|other| {
                other.sandbox_id == stopping.sandbox_id
                    && other.config.name == name
                    && other.state == ContainerState::Running
            })
        };
        let left = named(stopping, "outlives").find(|name| runs(name));
        let violation =
            left.map(|name| format!("{id} ({}) is stopped while {name} runs", stopping.config.name));
        self.violations.extend(violation);
    }
}
