//! Seeds as tests: a few of the many that `cargo xtask sim` plays, those that once failed, and that a seed replays.

use sim::scenario::play;

#[test]
fn a_handful_of_seeds_keeps_every_rule() {
    for seed in 0..12 {
        play(seed).unwrap_or_else(|failure| panic!("seed {seed}: {failure}"));
    }
}

/// Each found an error of the agent once: a name not held for an unclaimed pod (3, 1278), a wall clock set back (29),
/// a list taken for overtaken (569, 3049), a pod under inspection taken for absent (163), and so a pod whose change
/// needed no further call (2507, 8062), sidecars of a pod without its spec stopped with the others (308, 884, 2268), a running
/// container taken back by a look that had begun later and read earlier (3127, 6482, 6958).
#[test]
fn seeds_that_once_failed_pass() {
    for seed in [3, 29, 163, 308, 569, 884, 1278, 2268, 2507, 3049, 3127, 6482, 6958, 8062] {
        play(seed).unwrap_or_else(|failure| panic!("seed {seed}: {failure}"));
    }
}

#[test]
fn a_seed_replays_exactly() {
    for seed in [5, 41] {
        let first = play(seed).expect("the seed passes");
        assert_eq!(play(seed).expect("the seed passes"), first, "seed {seed}");
    }
}
