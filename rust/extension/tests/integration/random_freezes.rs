//! Freezes of any length, with and without dead links, at any distance: each takes the step that it needs, and no other.

use std::{net::IpAddr, time::Duration};

use tokio::time::Instant;

use crate::{
    fake_tailscaled::{Counts, PEER, Peer, Plan},
    stage::{Ending, Stage, ms, secs},
};

const OTHER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(100, 64, 0, 3));
const OFF: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(100, 64, 0, 9));
const FREEZES: usize = 100;

/// Numbers that are the same in each run (a linear congruential generator).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }

    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[usize::try_from(self.below(choices.len() as u64)).unwrap()]
    }
}

/// The steps that a freeze needs.
fn expected(gap: Duration, dead: bool) -> Counts {
    match dead {
        true if gap < secs(10) => Counts::MILD_STEP,
        true => Counts::STRONG_STEP,
        // A connection to the control server that was idle for so long is renewed, which disturbs nobody.
        false => Counts {
            registrations: usize::from(gap >= secs(300)),
            ..Counts::NONE
        },
    }
}

#[tokio::test(start_paused = true)]
async fn each_freeze_takes_the_step_that_it_needs_and_no_other() {
    for (seed, round_trip) in (1..).zip([1, 30, 100, 300, 1000].map(ms)) {
        let mut random = Random(seed);
        let peers = [
            Peer::new("db", PEER).at(round_trip),
            Peer::new("web", OTHER).at(round_trip),
            Peer::new("off", OFF).at(round_trip).silent(),
        ];
        let stage = Stage::joined(Plan::with_peers(peers)).await;
        stage.verify(OTHER).await.unwrap();
        for number in 0..FREEZES {
            let gap = ms(2000 + random.below(398_000));
            let gap = random.of(&[gap, gap / 10 + secs(2)]);
            // The environment was last seen awake up to 2 s before.
            let gap = if gap < secs(10) { gap.min(secs(8)) } else { gap };
            let dead = random.below(2) == 0;
            let targets = random.of(&[&[PEER][..], &[OTHER], &[PEER, OTHER], &[PEER, OFF], &[OFF]]);
            let what = format!("seed {seed}, freeze {number} of {gap:?}, dead: {dead}, {targets:?} asked for");
            let path = stage.preflight.path();
            let counts = stage
                .steps_of(async {
                    stage.freeze(gap);
                    if dead {
                        stage.tailscaled.kill_links();
                    }
                    let began = Instant::now();
                    let requests: Vec<_> = targets.iter().map(|target| stage.verifying(*target)).collect();
                    for request in requests {
                        let verified = request.await.unwrap().unwrap();
                        assert_eq!(verified > path, dead, "{what}");
                    }
                    // A probe's time-out; or its answer, which takes two round trips if a session has to begin.
                    let limit = if dead { round_trip * 5 / 4 } else { round_trip * 2 } + ms(20);
                    assert!(began.elapsed() < limit, "{what}: {:?}", began.elapsed());
                    // The same over the path as it is now, by a peer that answers.
                    let (path, began) = (stage.preflight.path(), Instant::now());
                    assert_eq!(stage.verify(PEER).await, Ok(path), "{what}");
                    assert!(
                        began.elapsed() < round_trip * 2 + ms(60),
                        "{what}: {:?}",
                        began.elapsed()
                    );
                    // A session that had to begin when the links die next would be another matter.
                    assert_eq!(stage.verify(OTHER).await, Ok(path), "{what}");
                })
                .await;
            assert_eq!(counts, expected(gap, dead), "{what}");
        }
        assert_eq!(stage.tailscaled.starts().len(), 1);
        stage.end(Ending::Shutdown).await;
    }
}
