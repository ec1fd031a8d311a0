//! Things known by a key, of which the oldest are forgotten when there are too many.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Hosting, KEYS, Sending, Spread};

/// Something that knows when it was seen last.
pub(super) trait Dated {
    /// New, seen first now.
    fn new(at: u64) -> Self;
    /// Seen again.
    fn touch(&mut self, at: u64);
    /// When it was seen last.
    fn last(&self) -> u64;
}

/// At most [`KEYS`] of them.
#[derive(Debug, Clone)]
pub(super) struct Keyed<K, V>(BTreeMap<K, V>);

impl<K, V> Default for Keyed<K, V> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K: Ord, V: Dated> Keyed<K, V> {
    /// How many are known.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// What is known by this key; new, where nothing is. Forgets the eighth that was not seen for longest, where
    /// there is no room.
    pub(super) fn entry(&mut self, key: K, at: u64) -> &mut V {
        if self.0.len() >= KEYS && !self.0.contains_key(&key) {
            let mut ages: Vec<u64> = self.0.values().map(V::last).collect();
            ages.sort_unstable();
            let oldest = ages.get(KEYS / 8).copied().unwrap_or(u64::MAX);
            // All of one second may go: what is left is never too much.
            self.0.retain(|_, value| value.last() > oldest);
        }
        let value = self.0.entry(key).or_insert_with(|| V::new(at));
        value.touch(at);
        value
    }
}

// As a list of pairs: JSON has no maps by other keys than text.
impl<K: Serialize, V: Serialize> Serialize for Keyed<K, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(&self.0)
    }
}

impl<'de, K: Deserialize<'de> + Ord, V: Deserialize<'de>> Deserialize<'de> for Keyed<K, V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let pairs = Vec::<(K, V)>::deserialize(deserializer)?;
        Ok(Self(pairs.into_iter().take(KEYS).collect()))
    }
}

impl Dated for Spread {
    fn new(at: u64) -> Self {
        Self {
            first: at,
            last: at,
            senders: Vec::new(),
        }
    }

    fn touch(&mut self, at: u64) {
        self.last = at;
    }

    fn last(&self) -> u64 {
        self.last
    }
}

impl Dated for Sending {
    fn new(_: u64) -> Self {
        Self::default()
    }

    fn touch(&mut self, at: u64) {
        self.last = at;
    }

    fn last(&self) -> u64 {
        self.last
    }
}

impl Dated for Hosting {
    fn new(_: u64) -> Self {
        Self::default()
    }

    fn touch(&mut self, at: u64) {
        self.sending.last = at;
    }

    fn last(&self) -> u64 {
        self.sending.last
    }
}
