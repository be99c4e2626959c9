//! What the node keeps in the host's packet filter (CONTRACT 1.12): a chain by which others see which kind of iptables the host
//! uses, and a rule that keeps packets for the host's loopback addresses away unless they belong to a connection that began here.
//! Names and rules are upstream's; kube-proxy writes the same rule.
//!
//! Decides nothing over time: [`wanted`] is the whole of it. Leaves out the chains for marks, which upstream makes no more.

/// Family of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// A chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Chain {
    /// Its table.
    pub table: &'static str,
    /// Its name.
    pub name: &'static str,
}

/// Where a rule stands in its chain when it is new.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// Before all others.
    First,
    /// After all others.
    Last,
}

/// Something that must be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wanted {
    /// A chain.
    Chain(Chain),
    /// A rule.
    Rule {
        /// Its chain.
        chain: Chain,
        /// Where it stands.
        place: Place,
        /// What it matches and does, in the words of iptables.
        words: &'static [&'static str],
    },
}

/// By this chain others tell which kind of iptables the host uses.
const HINT: Chain = Chain { table: "mangle", name: "KUBE-IPTABLES-HINT" };
const FIREWALL: Chain = Chain { table: "filter", name: "KUBE-FIREWALL" };
const OUTPUT: Chain = Chain { table: "filter", name: "OUTPUT" };
const INPUT: Chain = Chain { table: "filter", name: "INPUT" };

/// Chains that hold nothing: one that is gone tells that somebody has cleared its table.
const CANARIES: [Chain; 3] = [CANARY, canary("nat"), canary("filter")];

/// The chain that is looked for.
pub const CANARY: Chain = canary("mangle");

const fn canary(table: &'static str) -> Chain {
    Chain { table, name: "KUBE-KUBELET-CANARY" }
}

/// Drops what is sent to loopback addresses from elsewhere: a host port on 127.0.0.1 is for the host alone.
const NO_FOREIGN_LOOPBACK: [&str; 16] = [
    "-m",
    "comment",
    "--comment",
    "block incoming localnet connections",
    "--dst",
    "127.0.0.0/8",
    "!",
    "--src",
    "127.0.0.0/8",
    "-m",
    "conntrack",
    "!",
    "--ctstate",
    "RELATED,ESTABLISHED,DNAT",
    "-j",
    "DROP",
];

/// What must be there, in the order in which it is made.
pub fn wanted(family: Family) -> Vec<Wanted> {
    let mut all = vec![Wanted::Chain(HINT)];
    if family == Family::V4 {
        let jump = |chain| Wanted::Rule { chain, place: Place::First, words: &["-j", FIREWALL.name] };
        all.extend([
            Wanted::Chain(FIREWALL),
            Wanted::Rule { chain: FIREWALL, place: Place::Last, words: &NO_FOREIGN_LOOPBACK },
            jump(OUTPUT),
            jump(INPUT),
        ]);
    }
    // Last, so that a start that breaks off is begun anew.
    all.extend(CANARIES.map(Wanted::Chain));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chains_come_before_what_refers_to_them_and_canaries_last() {
        for family in [Family::V4, Family::V6] {
            let all = wanted(family);
            let position = |chain: Chain| all.iter().position(|one| *one == Wanted::Chain(chain));
            for (at, one) in all.iter().enumerate() {
                if let Wanted::Rule { chain, words, .. } = one {
                    assert!(position(*chain).is_none_or(|made| made < at));
                    assert!(
                        !words.contains(&FIREWALL.name) || position(FIREWALL).is_some_and(|made| made < at)
                    );
                }
            }
            assert_eq!(all.len() - 3, position(CANARY).unwrap());
            assert_eq!(all.len(), if family == Family::V4 { 8 } else { 4 });
        }
    }
}
