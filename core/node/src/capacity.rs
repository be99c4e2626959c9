//! How much the node has (capacity), how much is kept back, and what is left for pods (allocatable): CONTRACT 4.7, 5.5.

use std::collections::BTreeMap;

use core_cm::ResourceList;
use core_pods::validation::is_extended_resource;
use core_types::Quantity;
use core_types::api::QuantityText;

use crate::settings::Machine;

/// How many pods may run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PodLimit {
    /// `maxPods`.
    pub max: i64,
    /// `podsPerCore`; 0 for no such limit.
    pub per_core: i64,
}

/// A hard eviction threshold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Threshold {
    /// An amount in bytes.
    Amount(Quantity),
    /// A part of the capacity. Upstream reads it in single precision, which shows in the bytes.
    Share(f32),
}

impl Threshold {
    /// Reads `100Mi` or `10%`; `None` for what is neither, which the configuration has refused before.
    pub fn parse(text: &str) -> Option<Self> {
        match text.strip_suffix('%') {
            Some(percent) => percent.parse::<f32>().ok().map(|percent| Self::Share(percent / 100.0)),
            None => text.parse().ok().map(Self::Amount),
        }
    }

    fn of(self, capacity: Quantity) -> Quantity {
        match self {
            Self::Amount(amount) => amount,
            Self::Share(share) => Quantity::from_bytes((capacity.value() as f64 * f64::from(share)) as i64),
        }
    }
}

/// What is kept back from pods.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reservations {
    /// `kubeReserved`.
    pub kube: ResourceList,
    /// `systemReserved`.
    pub system: ResourceList,
    /// Hard eviction threshold of memory.
    pub memory_eviction: Option<Threshold>,
    /// Hard eviction threshold of the node's file system.
    pub disk_eviction: Option<Threshold>,
}

/// More is kept back than there is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{resource}: kubeReserved, systemReserved and evictionHard together take {reserved}, but the node has {capacity}: reserve less"
)]
pub struct ReservedTooMuch {
    /// Resource.
    pub resource: String,
    /// Sum of the reservations.
    pub reserved: String,
    /// What there is.
    pub capacity: String,
}

/// What the machine itself has; other resources come from elsewhere.
pub fn capacity(machine: &Machine, pods: PodLimit) -> ResourceList {
    let mut capacity = machine_resources(machine);
    let max = match pods.per_core {
        per_core if per_core > 0 => pods.max.min(per_core.saturating_mul(machine.cpu_count)),
        _ => pods.max,
    };
    capacity.insert("pods".to_owned(), Quantity::from_value(max));
    capacity
}

fn machine_resources(machine: &Machine) -> ResourceList {
    let mut resources = ResourceList::from([
        ("cpu".to_owned(), Quantity::from_value(machine.cpu_count)),
        ("memory".to_owned(), Quantity::from_bytes(machine.memory_bytes)),
        ("ephemeral-storage".to_owned(), Quantity::from_value(machine.root_fs_bytes)),
    ]);
    for pages in &machine.hugepages {
        let bytes = pages.page_bytes.saturating_mul(pages.count);
        let name = format!("hugepages-{}", Quantity::from_bytes(pages.page_bytes));
        resources.insert(name, Quantity::from_bytes(bytes));
    }
    resources
}

impl Reservations {
    /// What is kept back of what the machine has, by resource.
    fn of(&self, machine: &Machine) -> ResourceList {
        let mut sums = ResourceList::new();
        for (name, capacity) in machine_resources(machine) {
            let eviction = match name.as_str() {
                "memory" => self.memory_eviction,
                "ephemeral-storage" => self.disk_eviction,
                _ => None,
            };
            let parts = [self.system.get(&name), self.kube.get(&name)];
            let mut sum: Quantity = parts.into_iter().flatten().copied().sum();
            sum += eviction.map(|threshold| threshold.of(capacity)).unwrap_or_default();
            if !sum.is_zero() {
                sums.insert(name, sum);
            }
        }
        sums
    }

    /// Checks that no more is kept back than there is.
    ///
    /// # Errors
    /// The first resource, by name, of which too much is kept back.
    pub fn check(&self, machine: &Machine) -> Result<(), ReservedTooMuch> {
        let capacity = machine_resources(machine);
        for (resource, reserved) in self.of(machine) {
            let capacity = capacity.get(&resource).copied().unwrap_or_default();
            if reserved > capacity {
                let (reserved, capacity) = (reserved.to_string(), capacity.to_string());
                return Err(ReservedTooMuch { resource, reserved, capacity });
            }
        }
        Ok(())
    }

    /// What pods may use of `capacity`, which may hold more than the machine itself has. Never negative; huge pages are taken
    /// from the memory.
    pub fn allocatable(&self, machine: &Machine, capacity: &ResourceList) -> ResourceList {
        let reserved = self.of(machine);
        let at_least_nothing = |amount: Quantity| if amount.is_negative() { Quantity::ZERO } else { amount };
        let left = |(name, amount): (&String, &Quantity)| {
            let kept_back = reserved.get(name).copied().unwrap_or_default();
            (name.clone(), at_least_nothing(*amount - kept_back))
        };
        let mut allocatable: ResourceList = capacity.iter().map(left).collect();
        let huge: Quantity =
            capacity.iter().filter(|(name, _)| is_hugepages(name)).map(|(_, amount)| *amount).sum();
        if let Some(memory) = allocatable.get_mut("memory") {
            *memory = at_least_nothing(*memory - huge);
        }
        allocatable
    }
}

/// Whether a resource is huge pages of one size.
pub fn is_hugepages(resource: &str) -> bool {
    resource.starts_with("hugepages-")
}

/// An API object's amounts. What is no amount is left out: the API server has checked them.
pub fn from_api(list: Option<&BTreeMap<String, QuantityText>>) -> ResourceList {
    let amounts = list.into_iter().flatten();
    amounts.filter_map(|(name, text)| Some((name.clone(), Quantity::try_from(text).ok()?))).collect()
}

/// Amounts for an API object.
pub fn to_api(list: ResourceList) -> BTreeMap<String, QuantityText> {
    list.into_iter().map(|(name, amount)| (name, amount.into())).collect()
}

/// The Node object's amounts: those of the machine over those that others have put there.
pub(crate) fn merged(
    existing: Option<&BTreeMap<String, QuantityText>>,
    machine: &Machine,
    pods: PodLimit,
) -> ResourceList {
    let mut amounts = from_api(existing);
    amounts.extend(capacity(machine, pods));
    amounts
}

/// The Node object's allocatable amounts: those computed over those that others have put there, without extended resources
/// that the capacity does not hold any more.
pub(crate) fn merged_allocatable(
    existing: Option<&BTreeMap<String, QuantityText>>,
    capacity: &ResourceList,
    computed: ResourceList,
) -> ResourceList {
    let mut amounts = from_api(existing);
    amounts.retain(|name, _| capacity.contains_key(name) || !is_extended_resource(name));
    amounts.extend(computed);
    amounts
}

#[cfg(test)]
mod tests {
    use crate::settings::HugePages;

    use super::*;

    const GIB: i64 = 1 << 30;

    fn machine() -> Machine {
        Machine {
            cpu_count: 4,
            memory_bytes: 8 * GIB,
            root_fs_bytes: 1_000_000_000,
            hugepages: vec![HugePages { page_bytes: 2 << 20, count: 512 }],
            ..Machine::default()
        }
    }

    fn list(pairs: &[(&str, &str)]) -> ResourceList {
        pairs.iter().map(|(name, text)| ((*name).to_owned(), text.parse().unwrap())).collect()
    }

    fn texts(list: &ResourceList) -> Vec<String> {
        list.iter().map(|(name, amount)| format!("{name}={amount}")).collect()
    }

    #[test]
    fn capacity_is_the_machines_with_the_smaller_pod_limit() {
        let all = capacity(&machine(), PodLimit { max: 110, per_core: 10 });
        let want = ["cpu=4", "ephemeral-storage=1G", "hugepages-2Mi=1Gi", "memory=8Gi", "pods=40"];
        assert_eq!(texts(&all), want);
        for (per_core, want) in [(0, 110), (100, 110), (1, 4)] {
            let all = capacity(&machine(), PodLimit { max: 110, per_core });
            assert_eq!(all["pods"].value(), want);
        }
    }

    #[test]
    fn pods_get_what_is_not_kept_back() {
        let reservations = Reservations {
            kube: list(&[("cpu", "100m"), ("memory", "256Mi")]),
            system: list(&[("cpu", "150m"), ("ephemeral-storage", "1M")]),
            memory_eviction: Threshold::parse("100Mi"),
            disk_eviction: Threshold::parse("10%"),
        };
        let machine = machine();
        let mut all = capacity(&machine, PodLimit { max: 110, per_core: 0 });
        all.insert("example.com/gpu".to_owned(), Quantity::from_value(2));
        let left = reservations.allocatable(&machine, &all);
        let want = [
            "cpu=3750m",
            "ephemeral-storage=898999999",
            "example.com/gpu=2",
            "hugepages-2Mi=1Gi",
            "memory=6812Mi",
            "pods=110",
        ];
        assert_eq!(texts(&left), want);
        assert_eq!(reservations.check(&machine), Ok(()));
    }

    #[test]
    fn nothing_is_negative_and_too_much_is_an_error() {
        let reservations = Reservations { kube: list(&[("memory", "9Gi")]), ..Reservations::default() };
        let machine = machine();
        let all = capacity(&machine, PodLimit { max: 110, per_core: 0 });
        assert_eq!(reservations.allocatable(&machine, &all)["memory"], Quantity::ZERO);
        let error = reservations.check(&machine).unwrap_err();
        assert_eq!((error.reserved.as_str(), error.capacity.as_str()), ("9Gi", "8Gi"));
    }

    #[test]
    fn thresholds_are_amounts_or_parts() {
        assert_eq!(Threshold::parse("100Mi"), Some(Threshold::Amount(Quantity::from_bytes(100 << 20))));
        assert_eq!(Threshold::parse("15%"), Some(Threshold::Share(0.15)));
        assert_eq!(Threshold::parse("x"), None);
    }

    #[test]
    fn what_others_have_put_there_stays_as_far_as_upstream_keeps_it() {
        let existing =
            to_api(list(&[("cpu", "1"), ("example.com/gpu", "2"), ("example.com/gone", "3"), ("odd", "1")]));
        let machine = machine();
        let mut with_gpu = capacity(&machine, PodLimit { max: 5, per_core: 0 });
        with_gpu.insert("example.com/gpu".to_owned(), Quantity::from_value(4));
        let merged = merged_allocatable(Some(&existing), &with_gpu, with_gpu.clone());
        assert_eq!((merged["cpu"].value(), merged["example.com/gpu"].value()), (4, 4));
        assert!(!merged.contains_key("example.com/gone") && merged.contains_key("odd"));
    }
}
