//! A cold start: from the extension's start to the end of INIT, then the first answer; and a bare tailscaled beside it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use testbed::{
    Error, bounds,
    lambda::Event,
    server::{Sample, Server},
    suite::{Outcome, Setting},
    world::World,
};

use crate::{bare::Bare, path::Path, table::Row};

/// How long all starts at one distance may take.
pub(crate) const LIMIT: Duration = Duration::from_secs(180);
/// How many starts of each kind.
const STARTS: usize = 3;
/// Two steps of a start.
#[derive(Default)]
struct Starts {
    ready: Vec<Sample>,
    first: Vec<Sample>,
    whole: Vec<Sample>,
}

impl Starts {
    fn push(&mut self, ready: Duration, first: Duration, status: u16) {
        self.ready.push(Sample {
            took: ready,
            status: 200,
        });
        self.first.push(Sample { took: first, status });
        self.whole.push(Sample {
            took: ready + first,
            status,
        });
    }
}

pub(crate) async fn measure(setting: Arc<Setting>, path: Path) -> Outcome {
    let world = path.world(&setting, |_| ()).await?;
    let (mut ours, mut bare, mut reads) = (Starts::default(), Starts::default(), Vec::new());
    let server = Server::keeping(&world, Duration::from_secs(75)).await?;
    for number in 1..=STARTS {
        let (ready, first, status) = extension_start(&world, &server).await?;
        ours.push(ready, first, status);
        if path.has_bare() {
            // Whoever drives a tailscaled in Lambda has to read the key first.
            let began = Instant::now();
            let key = world.surroundings.read_secret().await?;
            reads.push(Sample {
                took: began.elapsed(),
                status: 200,
            });
            let began = Instant::now();
            let node = Bare::start(&world, &format!("bare-{number}"), &key).await?;
            let running = began.elapsed();
            bare.push(running, node.ask().await?, 200);
            node.stop().await;
        }
    }
    world.stop().await;
    let row = |who, what, samples| Row::new("cold start", path, who, what, samples);
    let mut rows = Vec::new();
    let mut whole_bound = None;
    if !bare.first.is_empty() {
        let with_read = bare.whole.iter().zip(&reads).map(|(whole, read)| Sample {
            took: read.took + whole.took,
            status: whole.status,
        });
        let whole = row("bare", "key read, start to first answer", with_read.collect());
        whole_bound = Some(whole.median);
        rows.extend([
            row("bare", "key read", reads),
            row("bare", "ready", bare.ready),
            row("bare", "first answer", bare.first),
            row("bare", "start to first answer", bare.whole),
            whole,
        ]);
    }
    rows.push(row("ours", "ready", ours.ready));
    rows.push(row("ours", "first answer", ours.first).bounded(bounds::first_answer(path.round_trip())));
    rows.push(row("ours", "start to first answer", ours.whole).maybe_bounded(whole_bound));
    crate::table::add(rows)
}

/// INIT, which waits for the login, and the request that began it.
pub(crate) async fn extension_start(world: &World, server: &Server) -> Result<(Duration, Duration, u16), Error> {
    let since = world.lambda.events.len();
    let events = &world.lambda.events;
    let answered = async {
        let answer = server.ask(world, "GET").await;
        (Instant::now(), answer.status)
    };
    let started = async {
        events.find(since, Event::extension_started).await;
        let started = Instant::now();
        world.lambda.reached(since, "initialized").await?;
        Ok::<_, Error>((started, Instant::now()))
    };
    let (started, answered) = tokio::join!(started, answered);
    let ((started, initialized), (answered, status)) = (started?, answered);
    world.lambda.retire(since).await?;
    Ok((initialized - started, answered - initialized, status))
}
