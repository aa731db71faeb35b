//! What a large tailnet costs: the start, and the processor's time for each dial.

use std::{fs, sync::Arc, time::Duration};

use testbed::{
    Error,
    control::Crowd,
    lambda::Event,
    suite::{Outcome, Setting, awake},
    world::World,
};

use crate::{
    bounds,
    cold::extension_start,
    path::{Path, Server},
    table::{self, Row, Sample},
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
        let crowd = Crowd {
            peers: peers - siblings,
            online: peers / 100,
            siblings,
            hostname: "lambda-proxy".to_owned(),
            tags: Vec::new(),
        };
        surroundings.control.add_crowd(&crowd).await?;
        let world = surroundings.deploy(|_| ()).await?;
        let server = Server::closing(&world).await?;
        let (ready, first, status) = extension_start(&world, &server, 1).await?;
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
        rows.push(row("first answer", vec![Sample { took: first, status }]).bounded(bounds::first_answer(path)));
        rows.push(row("new connection", dials).bounded(bounds::other(path)));
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
    let before = used(runtime).map_err(Error::Runtime)?;
    let mut samples = Vec::new();
    for _ in 0..DIALS {
        samples.push(server.ask(world, "GET").await);
    }
    let used = used(runtime).map_err(Error::Runtime)?.saturating_sub(before);
    Ok((used / DIALS, samples))
}

/// The processor's time of all processes in the network namespace of `pid`: those of its environment.
fn used(pid: u32) -> std::io::Result<Duration> {
    let namespace = fs::read_link(format!("/proc/{pid}/ns/net"))?;
    let mut ticks = 0;
    for entry in fs::read_dir("/proc")? {
        let path = entry?.path();
        let inside = fs::read_link(path.join("ns/net")).is_ok_and(|link| link == namespace);
        // A process may end meanwhile, and what is not a process has no such file.
        if inside && let Ok(stat) = fs::read_to_string(path.join("stat")) {
            ticks += ticks_of(&stat).unwrap_or(0);
        }
    }
    // USER_HZ is 100 on all of Linux's architectures that there is a Lambda for.
    Ok(Duration::from_millis(10 * ticks))
}

/// utime and stime of /proc/PID/stat (proc(5)): fields 14 and 15, of which 3 is the first after the name.
fn ticks_of(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split(' ').skip(11);
    let (user, system) = (fields.next()?, fields.next()?);
    Some(user.parse::<u64>().ok()? + system.parse::<u64>().ok()?)
}
