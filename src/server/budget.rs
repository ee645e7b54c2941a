//! How long a measurement may take in all, and how its parts share that.

use std::time::{Duration, Instant};

/// A point in time after which nothing new begins, and what runs is cut.
#[derive(Debug, Clone, Copy)]
pub struct Budget {
    end: Instant,
}

impl Budget {
    pub fn of(limit: Duration) -> Self {
        Self { end: Instant::now() + limit }
    }

    pub fn left(self) -> Duration {
        self.end.saturating_duration_since(Instant::now())
    }

    pub fn is_up(self) -> bool {
        self.left().is_zero()
    }

    /// This share of what is left now.
    #[must_use]
    pub fn share(self, share: f64) -> Self {
        Self::of(self.left().mul_f64(share.clamp(0.0, 1.0)))
    }

    /// What the next of `count` equal parts may take: what earlier ones did not use is shared among the later ones.
    #[must_use]
    pub fn one_of(self, count: usize) -> Self {
        self.share(1.0 / count.max(1) as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_lie_within_the_whole() {
        let whole = Budget::of(Duration::from_secs(100));
        assert!(!whole.is_up() && whole.left() <= Duration::from_secs(100));
        let part = whole.one_of(4).left();
        assert!(part > Duration::from_secs(24) && part <= Duration::from_secs(25), "{part:?}");
        assert!(whole.share(7.0).left() <= whole.left() + Duration::from_millis(1));
        let none = Budget::of(Duration::ZERO);
        assert!(none.is_up() && none.one_of(0).is_up());
    }
}
