//! What has been counted and not been sent: added up by the minute, which is as fine as CloudWatch keeps it.

use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use super::metric::{Dimensions, Metric};

/// How many different sums are kept: what comes beyond is dropped, and counted as lost.
const MOST: usize = 1000;
/// As fine as CloudWatch keeps a metric of standard resolution, in s.
const MINUTE: u64 = 60;

/// One sum: what, by which dimensions, in which minute.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    dimensions: Dimensions,
    metric: Metric,
    /// In s since the Unix epoch.
    minute: u64,
}

/// A sum on its way out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Aggregate {
    key: Key,
    /// The values, and how many times each occurred.
    pub values: BTreeMap<u64, u64>,
}

impl Aggregate {
    /// The dimensions, names and values.
    pub fn dimensions(&self) -> &[(String, String)] {
        &self.key.dimensions
    }

    /// What was measured.
    pub fn metric(&self) -> Metric {
        self.key.metric
    }

    /// When its minute began.
    pub fn time(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(self.key.minute)
    }

    /// How many measurements it is made of.
    pub fn count(&self) -> u64 {
        self.values.values().sum()
    }
}

/// The sums that wait to be sent.
#[derive(Debug, Default)]
pub struct Aggregator {
    sums: HashMap<Key, BTreeMap<u64, u64>>,
    lost: u64,
}

impl Aggregator {
    /// Adds one measurement, made at `time`.
    pub fn add(&mut self, dimensions: &Dimensions, metric: Metric, value: u64, time: SystemTime) {
        let seconds = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let key = Key {
            dimensions: Dimensions::clone(dimensions),
            metric,
            minute: seconds / MINUTE * MINUTE,
        };
        self.merge(key, BTreeMap::from([(rounded(value), 1)]));
    }

    /// Takes out the oldest sums: `most` at most, and one at least, of `bytes` in all.
    pub fn take(&mut self, most: usize, bytes: usize) -> Vec<Aggregate> {
        let mut keys: Vec<Key> = self.sums.keys().cloned().collect();
        keys.sort_by_key(|key| key.minute);
        let (mut taken, mut length) = (Vec::new(), 0);
        for key in keys.into_iter().take(most) {
            let Some(values) = self.sums.get(&key) else { continue };
            length += encoded_length(&key, values);
            if length > bytes && !taken.is_empty() {
                break;
            }
            if let Some(values) = self.sums.remove(&key) {
                taken.push(Aggregate { key, values });
            }
        }
        taken
    }

    /// Takes out all there is.
    pub fn take_all(&mut self) -> Vec<Aggregate> {
        self.take(usize::MAX, usize::MAX)
    }

    /// Takes sums in again that could not be sent.
    pub fn put_back(&mut self, sums: &[Aggregate]) {
        for sum in sums {
            self.merge(sum.key.clone(), sum.values.clone());
        }
    }

    /// How many sums wait.
    pub fn len(&self) -> usize {
        self.sums.len()
    }

    /// Whether none does.
    pub fn is_empty(&self) -> bool {
        self.sums.is_empty()
    }

    /// How many measurements were dropped for want of room since this was last asked.
    pub fn take_lost(&mut self) -> u64 {
        std::mem::take(&mut self.lost)
    }

    fn merge(&mut self, key: Key, values: BTreeMap<u64, u64>) {
        if self.sums.len() >= MOST && !self.sums.contains_key(&key) {
            self.lost += values.values().sum::<u64>();
            return;
        }
        let sum = self.sums.entry(key).or_default();
        for (value, count) in values {
            *sum.entry(value).or_default() += count;
        }
    }
}

/// How long a sum is in a call of PutMetricData, at most, in CBOR: a value and its count are two numbers of nine bytes.
fn encoded_length(key: &Key, values: &BTreeMap<u64, u64>) -> usize {
    const DATUM: usize = 512;
    const DIMENSION: usize = 32;
    const VALUE: usize = 2 * 9;
    let dimensions: usize = key
        .dimensions
        .iter()
        .map(|(name, value)| name.len() + value.len() + DIMENSION)
        .sum();
    DATUM + dimensions + values.len() * VALUE
}

/// To two digits, so that a sum has few different values: 5 % is enough for a time.
fn rounded(value: u64) -> u64 {
    let digits = value.checked_ilog10().unwrap_or(0);
    let step = 10u64.pow(digits.saturating_sub(1));
    (value + step / 2) / step * step
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dimensions(service: &str) -> Dimensions {
        [("service".to_owned(), service.to_owned())].into()
    }

    #[test]
    fn measurements_of_a_minute_are_one_sum_at_its_beginning() {
        let mut aggregator = Aggregator::default();
        for seconds in [60, 119, 120] {
            aggregator.add(
                &dimensions("a"),
                Metric::Success,
                1,
                UNIX_EPOCH + Duration::from_secs(seconds),
            );
        }
        let mut sums: Vec<_> = aggregator
            .take_all()
            .iter()
            .map(|sum| (sum.time(), sum.count()))
            .collect();
        sums.sort();
        let minute = |number: u64| UNIX_EPOCH + Duration::from_secs(60 * number);
        assert_eq!(sums, [(minute(1), 2), (minute(2), 1)]);
        assert!(aggregator.is_empty());
    }

    #[test]
    fn what_could_not_be_sent_is_added_to_what_came_meanwhile() {
        let mut aggregator = Aggregator::default();
        aggregator.add(&dimensions("a"), Metric::FirstByte, 7, UNIX_EPOCH);
        let sums = aggregator.take_all();
        aggregator.add(&dimensions("a"), Metric::FirstByte, 7, UNIX_EPOCH);
        aggregator.add(&dimensions("a"), Metric::FirstByte, 9, UNIX_EPOCH);
        aggregator.put_back(&sums);
        assert_eq!(aggregator.take_all()[0].values, BTreeMap::from([(7, 2), (9, 1)]));
    }

    #[test]
    fn there_is_an_end_to_what_is_kept_and_the_rest_is_counted() {
        let mut aggregator = Aggregator::default();
        for number in 0..MOST + 3 {
            aggregator.add(&dimensions(&number.to_string()), Metric::Failure, 1, UNIX_EPOCH);
        }
        aggregator.add(&dimensions("0"), Metric::Failure, 1, UNIX_EPOCH);
        assert_eq!(
            (aggregator.len(), aggregator.take_lost(), aggregator.take_lost()),
            (MOST, 3, 0)
        );
        assert_eq!(
            aggregator.take_all().iter().map(Aggregate::count).sum::<u64>(),
            MOST as u64 + 1
        );
    }

    #[test]
    fn values_have_two_digits() {
        let exact = [
            (0, 0),
            (1, 1),
            (99, 99),
            (104, 100),
            (105, 110),
            (12_345, 12_000),
            (996, 1000),
        ];
        for (value, expected) in exact {
            assert_eq!(rounded(value), expected);
        }
        assert!(
            (0..900_000)
                .map(rounded)
                .collect::<std::collections::BTreeSet<_>>()
                .len()
                < 500
        );
    }

    #[test]
    fn a_batch_has_the_oldest_sums_and_is_bounded_by_its_length() {
        let mut aggregator = Aggregator::default();
        let long = "x".repeat(1000);
        for minute in [2u64, 0, 3, 1] {
            let time = UNIX_EPOCH + Duration::from_secs(60 * minute);
            aggregator.add(&dimensions(&long), Metric::Success, 1, time);
        }
        let minutes = |sums: Vec<Aggregate>| sums.iter().map(|sum| sum.key.minute / 60).collect::<Vec<_>>();
        assert_eq!(minutes(aggregator.take(10, 1)), [0], "one at least");
        assert_eq!(minutes(aggregator.take(10, 3500)), [1, 2]);
        assert_eq!(minutes(aggregator.take(0, 3500)), [] as [u64; 0]);
        assert_eq!(minutes(aggregator.take_all()), [3]);
    }
}
