//! When a packet leaves one direction of the link, or that it is lost. Pure: the relay passes the time in.

use std::time::{Duration, Instant};

use super::{Distance, random::SplitMix64};

/// How much may wait for its turn where the bandwidth is limited: a router's buffer. What comes on top is dropped.
const BUFFER: Duration = Duration::from_millis(250);

/// One direction of the link.
#[derive(Debug)]
pub(super) struct Shaper {
    delay: Duration,
    loss: f64,
    bits_per_second: Option<u64>,
    random: SplitMix64,
    /// When the last packet is through the bottleneck.
    free_at: Option<Instant>,
}

impl Shaper {
    /// `direction` makes the two directions lose different packets.
    pub(super) fn new(distance: &Distance, direction: u64) -> Self {
        Self {
            delay: distance.round_trip / 2,
            loss: distance.loss,
            bits_per_second: distance.bits_per_second,
            random: SplitMix64::new(direction + 1),
            free_at: None,
        }
    }

    /// When a packet of `bytes` that arrived at `now` comes out at the other end. `None`: it does not. Packets stay in order.
    pub(super) fn schedule(&mut self, now: Instant, bytes: usize) -> Option<Instant> {
        // Drawn for each packet, so that each direction loses the same ones each time.
        if self.random.fraction() < self.loss {
            return None;
        }
        let Some(rate) = self.bits_per_second else {
            return Some(now + self.delay);
        };
        let start = self.free_at.map_or(now, |free_at| free_at.max(now));
        if start - now > BUFFER {
            return None;
        }
        #[expect(
            clippy::cast_precision_loss,
            reason = "a packet's size and a link's rate are far below 2^52"
        )]
        let sent = start + Duration::from_secs_f64(bytes as f64 * 8.0 / rate as f64);
        self.free_at = Some(sent);
        Some(sent + self.delay)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lost(distance: &Distance, direction: u64, packets: usize) -> Vec<usize> {
        let mut shaper = Shaper::new(distance, direction);
        let now = Instant::now();
        (0..packets).filter(|_| shaper.schedule(now, 100).is_none()).collect()
    }

    #[test]
    fn each_packet_is_held_for_half_a_round_trip() {
        let mut shaper = Shaper::new(&Distance::of_millis(100), 0);
        let now = Instant::now();
        assert_eq!(shaper.schedule(now, 1500), Some(now + Duration::from_millis(50)));
    }

    #[test]
    fn the_loss_rate_is_kept_and_each_direction_loses_packets_of_its_own() {
        let distance = Distance::of_millis(100).with_loss(0.01);
        let first = lost(&distance, 0, 100_000);
        assert!((900..1100).contains(&first.len()), "{} were lost", first.len());
        assert_eq!(first, lost(&distance, 0, 100_000));
        assert_ne!(first, lost(&distance, 1, 100_000));
    }

    #[test]
    fn the_bandwidth_spreads_a_burst_and_the_buffer_is_bounded() {
        let mut shaper = Shaper::new(&Distance::of_millis(20).with_bandwidth(1_000_000), 0);
        let now = Instant::now();
        // 1250 bytes take 10 ms at 1 Mbit/s.
        let due: Vec<_> = (0..40).map_while(|_| shaper.schedule(now, 1250)).collect();
        assert_eq!(due.first(), Some(&(now + Duration::from_millis(20))));
        assert_eq!(due.get(9), Some(&(now + Duration::from_millis(110))));
        assert_eq!(
            due.len(),
            26,
            "250 ms fit into the buffer, and one packet is on its way"
        );
    }
}
