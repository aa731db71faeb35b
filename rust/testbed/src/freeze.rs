//! Freezes in which a NAT forgets the function's flows, and the requests that come after them.

use std::time::Duration;

use tokio::time::sleep;

use crate::{Error, bounds, control::Counts, lambda::Event, measuring, nat, server::Server, stack::TestStack};

/// For how many seconds the servers keep idle connections: some close them during a freeze, whose FIN is lost, and some do not.
const KEPT: [u64; 3] = [2, 5, 75];
/// Beyond the goals, for a machine that is busy with other things.
const BUSY: Duration = Duration::from_millis(50);

/// Waits for the freeze that follows event number `since`, has the NAT forget all flows, and lets the freeze last.
pub async fn with_dead_flows(stack: &TestStack, since: usize, length: Duration) -> Result<(), Error> {
    stack.lambda.reached(since, "frozen").await?;
    let pid = stack.lambda.events.find(0, Event::runtime_started).await;
    assert!(nat::blackhole_flows(pid).await? > 0, "there was no flow to forget");
    // The freeze itself: its length is what is tested.
    sleep(length).await;
    Ok(())
}

/// Requests to servers that keep idle connections for different times, after each of a few freezes.
#[derive(Debug)]
pub struct DeadFlows {
    servers: Vec<Server>,
    round_trip: Duration,
    first: Vec<Duration>,
    all: Vec<Duration>,
}

impl DeadFlows {
    /// Starts the servers, at this distance from the function.
    pub async fn start(stack: &TestStack, round_trip: Duration) -> Result<Self, Error> {
        let mut servers = Vec::new();
        for seconds in KEPT {
            servers.push(Server::keeping(stack, Duration::from_secs(seconds)).await?);
        }
        Ok(Self {
            servers,
            round_trip,
            first: Vec::new(),
            all: Vec::new(),
        })
    }

    /// One freeze, with a kept connection to each server at its beginning, and a request to each after it; another one is the
    /// first each time. All must be answered, soon enough, and without another login.
    pub async fn freeze(&mut self, stack: &TestStack, length: Duration, method: &str) -> Result<(), Error> {
        let control = &stack.backends.control;
        let mut since = 0;
        self.servers.rotate_left(1);
        for server in &self.servers {
            since = stack.lambda.events.len();
            server.must_answer(stack, "GET").await;
            stack.lambda.reached(since, "frozen").await?;
        }
        let before = (control.counts("lambda-proxy").await?, nat::flows().await?);
        with_dead_flows(stack, since, length).await?;
        let turn = measuring::turn().await?;
        let mut times = Vec::new();
        for server in &self.servers {
            since = stack.lambda.events.len();
            times.push(server.must_answer(stack, method).await);
            stack.lambda.reached(since, "frozen").await?;
        }
        drop(turn);
        eprintln!("    {method}s after {length:.1?}: {times:.1?}");
        let longest = bounds::longest_dead(self.round_trip);
        let soon = times.iter().all(|took| *took < longest);
        assert!(soon, "{times:?} of {longest:?}\n{}", stack.log());
        let after = control.counts("lambda-proxy").await?;
        // Registrations by the node key alone bring the connection to the control server back.
        let but_known = |counts: Counts| Counts { known: 0, ..counts };
        assert_eq!(but_known(after), but_known(before.0), "{}", stack.log());
        let new_flows = nat::flows().await?.difference(&before.1).count();
        assert!(new_flows > 0, "no flow was made anew");
        self.first.push(times[0]);
        self.all.extend(times);
        Ok(())
    }

    /// What the first requests took, in the median, is held to the goal.
    pub fn check(&self) {
        let goal = bounds::dead(self.round_trip);
        let median = median(&self.first);
        eprintln!(
            "  dead flows at {:?}: {} freezes, {} requests, the first ones {median:.1?} in the median (goal {goal:.1?}), the longest {:.1?}",
            self.round_trip,
            self.first.len(),
            self.all.len(),
            self.all.iter().max().copied().unwrap_or_default()
        );
        assert!(median < goal + BUSY, "{:.1?} of {goal:.1?}", self.first);
    }
}

/// The one in the middle.
pub fn median(times: &[Duration]) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}
