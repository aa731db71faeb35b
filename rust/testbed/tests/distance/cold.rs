//! A cold start: from the extension's start to the end of INIT, then the first answer; and a bare tailscaled beside it.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::Request;
use testbed::{
    Error, bounds,
    deadline::within,
    http_call::call,
    lambda::Event,
    node::Node,
    server::{Sample, Server},
    suite::{Outcome, Setting},
    target::PORT,
    world::{AUTH_KEY, World},
};
use tokio_socks::tcp::Socks5Stream;

use crate::{
    path::{Path, STEP_LIMIT},
    table::Row,
};

/// How long all starts at one distance may take.
pub(crate) const LIMIT: Duration = Duration::from_secs(180);
/// How many starts of each kind.
const STARTS: usize = 3;
/// Where the bare tailscaled's SOCKS5 server listens, on its side of the link.
const SOCKS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 1088);

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
    let (mut ours, mut bare) = (Starts::default(), Starts::default());
    let server = Server::keeping(&world, Duration::from_secs(75)).await?;
    for number in 1..=STARTS {
        let (ready, first, status) = extension_start(&world, &server, number).await?;
        ours.push(ready, first, status);
        // Without a link the bare one stands where nothing blocks its UDP.
        if path.udp || world.surroundings.link.is_some() {
            let (running, first) = bare_start(&world, number).await?;
            bare.push(running, first, 200);
        }
    }
    world.stop().await;
    let row = |who, what, samples| Row::new("cold start", path, who, what, samples);
    let mut rows = Vec::new();
    let mut whole_bound = None;
    if !bare.first.is_empty() {
        let whole = row("bare", "start to first answer", bare.whole);
        whole_bound = Some(whole.median);
        rows.extend([
            row("bare", "ready", bare.ready),
            row("bare", "first answer", bare.first),
            whole,
        ]);
    }
    rows.push(row("ours", "ready", ours.ready));
    rows.push(row("ours", "first answer", ours.first).bounded(bounds::first_answer(path.round_trip())));
    rows.push(row("ours", "start to first answer", ours.whole).maybe_bounded(whole_bound));
    crate::table::add(rows)
}

/// INIT, which waits for the login, and the request that began it.
pub(crate) async fn extension_start(
    world: &World,
    server: &Server,
    environment: usize,
) -> Result<(Duration, Duration, u16), Error> {
    let since = world.lambda.events.len();
    let events = &world.lambda.events;
    let answered = async {
        let answer = server.ask(world, "GET").await;
        (Instant::now(), answer.status)
    };
    let started = async {
        events.find(since, extension_started).await;
        let started = Instant::now();
        world.lambda.reached(since, "initialized").await?;
        Ok::<_, Error>((started, Instant::now()))
    };
    let (started, answered) = tokio::join!(started, answered);
    let ((started, initialized), (answered, status)) = (started?, answered);
    world.lambda.reached(since, "frozen").await?;
    world.lambda.spin_down(environment).await?;
    world.lambda.reached(since, "stopped").await?;
    Ok((initialized - started, answered - initialized, status))
}

/// The same by a tailscaled of its own, on the function's side of the link.
async fn bare_start(world: &World, number: usize) -> Result<(Duration, Duration), Error> {
    let surroundings = &world.surroundings;
    let (program, control, run_dir) = (
        &surroundings.binaries.tailscaled,
        &surroundings.control,
        &surroundings.run_dir,
    );
    let hostname = format!("bare-{number}");
    let (socks, link) = match &surroundings.link {
        None => (SOCKS, None),
        Some(link) => (link.forward(SOCKS).map_err(Error::Runtime)?, Some(link)),
    };
    let target = (surroundings.target.node.address().to_string(), PORT);
    let began = Instant::now();
    let node = match link {
        None => Node::start(program, &hostname, Some(SOCKS), control, AUTH_KEY, run_dir).await?,
        Some(link) => Node::start_across(link, program, &hostname, Some(SOCKS), control, AUTH_KEY, run_dir).await?,
    };
    let running = Instant::now();
    let stream = within(STEP_LIMIT, "a dial by the bare tailscaled", dial(socks, &target)).await?;
    let request = Request::get("/get").header("host", format!("{}:{}", target.0, target.1));
    let answer = call(stream, request.body(Bytes::new().into()).unwrap(), STEP_LIMIT).await?;
    let answered = Instant::now();
    assert_eq!(answer.status(), 200, "{answer:?}");
    node.process.stop(STEP_LIMIT).await;
    Ok((running - began, answered - running))
}

/// The first dials after a start can fail.
async fn dial(socks: SocketAddr, target: &(String, u16)) -> Socks5Stream<tokio::net::TcpStream> {
    loop {
        if let Ok(stream) = Socks5Stream::connect(socks, target.clone()).await {
            return stream;
        }
        tokio::task::yield_now().await;
    }
}

fn extension_started(event: &Event) -> Option<()> {
    matches!(event, Event::Process { name, state, .. } if state == "started" && name.starts_with("extension:"))
        .then_some(())
}
