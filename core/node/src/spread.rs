//! Numbers that spread the nodes of a cluster over time, so that they do not all talk to the API server at once. The sequence
//! comes from a seed, so that a simulation replays; nothing secret may depend on it.

/// A sequence of numbers in `[0, 1)`.
#[derive(Clone, Debug)]
pub struct Spread(u64);

impl Spread {
    /// A sequence of its own for each name and start.
    pub fn new(name: &str, start_nanos: i64) -> Self {
        // FNV-1a.
        let hash = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        let bytes = name.bytes().chain(start_nanos.to_le_bytes());
        Self(bytes.fold(0xcbf2_9ce4_8422_2325, hash))
    }

    /// The next number (SplitMix64).
    pub fn next_number(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^= bits >> 31;
        (bits >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_fill_their_range_and_differ_between_nodes() {
        let mut spread = Spread::new("n1", 7);
        let numbers: Vec<f64> = (0..1000).map(|_| spread.next_number()).collect();
        assert!(numbers.iter().all(|number| (0.0..1.0).contains(number)));
        let mean = numbers.iter().sum::<f64>() / 1000.0;
        assert!((0.45..0.55).contains(&mean), "{mean}");
        assert_ne!(Spread::new("n2", 7).next_number(), numbers[0]);
        assert_eq!(Spread::new("n1", 7).next_number(), numbers[0]);
    }
}
