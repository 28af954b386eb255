//! How many different users: Apache DataSketches HLL, lg k = 12 (± 1.6 %, exact when few).
//! The estimate is always the composite one, which depends on the registers only and so not on the order of merging.

use datasketches::{
    hash::value::raw_bytes,
    hll::{Coupon, HllSketch, HllType, HllUnion},
};

/// Registers as a power of two; fixed, since stored sketches merge only at one size.
const LG_K: u8 = 12;

/// A set of users, counted but not remembered. The byte form is that of Apache DataSketches
/// (<https://datasketches.apache.org/docs/HLL/HLL.html>), which Java, C++ and Python read.
#[derive(Debug, Clone)]
pub struct Sketch(HllSketch);

impl Default for Sketch {
    fn default() -> Self {
        Self(HllSketch::new(LG_K, HllType::Hll8).expect("lg k 12 is within 4 to 21"))
    }
}

impl Sketch {
    /// Adds a user.
    #[inline]
    pub fn add(&mut self, user: &[u8]) {
        self.0
            .update_with_coupon(Coupon::from_value(raw_bytes::from_slice(user)));
    }

    /// The users of any of these sketches.
    pub fn union<'a>(sketches: impl IntoIterator<Item = &'a Self>) -> Self {
        let mut all = HllUnion::new(LG_K).expect("lg k 12 is within 4 to 21");
        for sketch in sketches {
            all.update(&sketch.0);
        }
        Self(all.to_sketch(HllType::Hll8))
    }

    /// Adds the users of another sketch.
    pub fn merge(&mut self, other: &Self) {
        *self = Self::union([&*self, other]);
    }

    /// How many users, rounded.
    #[must_use]
    pub fn estimate(&self) -> u64 {
        // A count of rows bounds it, and rows fit 53 bits.
        self.0.composite_estimate().round() as u64
    }

    /// The stored form.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.serialize()
    }

    /// Reads the stored form; none if it is not a sketch of this size.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        HllSketch::deserialize(bytes)
            .ok()
            .filter(|s| s.lg_config_k() == LG_K)
            .map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(users: std::ops::Range<u32>) -> Sketch {
        let mut sketch = Sketch::default();
        users.for_each(|u| sketch.add(format!("user-{u}").as_bytes()));
        sketch
    }

    #[test]
    fn few_users_are_counted_exactly_and_many_within_two_standard_errors() {
        assert_eq!(of(0..0).estimate(), 0);
        assert_eq!(of(0..25).estimate(), 25);
        let many = of(0..100_000).estimate();
        assert!((96_800..=103_200).contains(&many), "{many}");
    }

    #[test]
    fn the_order_of_merging_changes_nothing() {
        for size in [3, 40, 3_000] {
            let parts = [of(0..size), of(size / 2..2 * size), of(7..9)];
            let [a, b, c] = &parts;
            let forth = Sketch::union([a, b, c]).estimate();
            assert_eq!(forth, Sketch::union([c, a, b]).estimate());
            assert_eq!(forth, Sketch::union([&Sketch::union([c, b]), a]).estimate());
            let decoded = Sketch::from_bytes(&Sketch::union([b, a]).to_bytes()).expect("own form");
            assert_eq!(forth, Sketch::union([&decoded, c]).estimate());
        }
    }

    #[test]
    fn other_bytes_are_not_a_sketch() {
        assert!(Sketch::from_bytes(b"").is_none());
        assert!(Sketch::from_bytes(&[9; 40]).is_none());
    }
}
