//! What a large tailnet costs: the start, and the processor's time for each dial.

use std::{sync::Arc, time::Duration};

use testbed::{
    Error, bounds,
    control::Crowd,
    lambda::Event,
    processor,
    server::{Sample, Server},
    suite::{Outcome, Setting, awake},
    world::World,
};

use crate::{
    cold::extension_start,
    path::Path,
    table::{self, Row},
};

/// How long both tailnets may take.
pub(crate) const LIMIT: Duration = Duration::from_secs(240);
/// A small tailnet and a large one.
const SIZES: [usize; 2] = [5, 5000];
/// How many of the large one's machines are frozen environments of the function.
const SIBLINGS: usize = 20;
/// How many dials are counted together: the kernel counts in steps of 10 ms.
const DIALS: u32 = 200;

pub(crate) async fn measure(setting: Arc<Setting>, path: Path) -> Outcome {
    let mut rows = Vec::new();
    let mut small = None;
    for peers in SIZES {
        let surroundings = path.surroundings(&setting).await?;
        let siblings = if peers > SIBLINGS { SIBLINGS } else { 0 };
        surroundings.control.add_crowd(&Crowd::of(peers, siblings)).await?;
        let world = surroundings.deploy(|_| ()).await?;
        let server = Server::closing(&world).await?;
        let (ready, first, status) = extension_start(&world, &server).await?;
        let (surroundings, _) = world.undeploy().await;
        let world = surroundings.deploy(awake).await?;
        let (cpu, dials) = processor_time(&world, &server).await?;
        world.stop().await;
        let row = |what: &str, samples| Row::new("crowd", path, "ours", format!("{what}, {peers} peers"), samples);
        rows.push(row(
            "ready",
            vec![Sample {
                took: ready,
                status: 200,
            }],
        ));
        rows.push(
            row("first answer", vec![Sample { took: first, status }]).bounded(bounds::first_answer(path.round_trip())),
        );
        rows.push(row("new connection", dials).bounded(bounds::other(path.round_trip())));
        let each = row("CPU time of each", vec![Sample { took: cpu, status: 200 }]);
        rows.push(each.maybe_bounded(small.map(bounds::crowded)));
        small = small.or(Some(cpu));
    }
    table::add(rows)
}

/// What a dial costs the function's processes, and how long the dials took.
async fn processor_time(world: &World, server: &Server) -> Result<(Duration, Vec<Sample>), Error> {
    server.ask(world, "GET").await;
    let runtime = world.lambda.events.find(0, Event::runtime_started).await;
    let before = processor::used(runtime)?;
    let mut samples = Vec::new();
    for _ in 0..DIALS {
        samples.push(server.ask(world, "GET").await);
    }
    let used = processor::used(runtime)?.saturating_sub(before);
    Ok((used / DIALS, samples))
}
