//! Cold starts: from the first process to the end of INIT, and to the first answer.

use std::{sync::Arc, time::Instant};

use testbed::{
    Error,
    distance::Profile,
    lambda::Event,
    suite::{Outcome, Setting},
};

use crate::{
    contender::{Ask, Contender},
    handler::Handler,
    rounds::{millis, rounds, turns},
    rows::{self, Row},
    scene::Scene,
};

/// How many starts of each handler in a round.
const STARTS: usize = 2;

#[derive(Default)]
struct Starts {
    /// From the handler's start to the end of INIT: its first `/next`, and the extension's.
    next: Vec<f64>,
    whole: Vec<f64>,
    failed: usize,
}

pub(crate) async fn measure(setting: Arc<Setting>, profile: Profile) -> Outcome {
    let scene = Scene::open(&setting, profile).await?;
    let mut contenders = Vec::new();
    for handler in [Handler::Empty, Handler::Alone]
        .into_iter()
        .chain(Handler::forwarding())
    {
        contenders.push(scene.deploy(handler, |_| ()).await?);
    }
    let mut starts: Vec<Starts> = contenders.iter().map(|_| Starts::default()).collect();
    for round in 0..rounds() * STARTS {
        for who in turns(round, contenders.len()) {
            start(&mut contenders[who], &mut starts[who]).await?;
        }
    }
    let mut rows = Vec::new();
    for (contender, starts) in contenders.iter().zip(&starts) {
        let name = contender.name();
        let row = |what: &str, values: &[f64]| {
            Row::new("start", profile.name, name, what, "ms", values).with_failed(starts.failed)
        };
        // With the extension INIT ends when that is ready too, whose login comes first.
        let what = match contender.handler() {
            Some(Handler::Ours | Handler::Node) => "handler start to the end of INIT",
            _ => "handler start to /next",
        };
        rows.push(row(what, &starts.next));
        if !starts.whole.is_empty() {
            rows.push(row("cold start to first answer", &starts.whole));
        }
    }
    rows::add(rows);
    scene.close(contenders).await;
    Ok(())
}

async fn start(contender: &mut Contender, starts: &mut Starts) -> Result<(), Error> {
    let events = contender.lambda().events.clone();
    let since = events.len();
    let timeline = async {
        events.find(since, process_started).await;
        let first = Instant::now();
        events.find(since, Event::runtime_started).await;
        let handler = Instant::now();
        events.find(since, initialized).await;
        (first, handler, Instant::now())
    };
    let ask = Ask::get("/");
    let ((first, handler, ready), (sample, answered)) = tokio::join!(timeline, async {
        let sample = contender.ask(&ask).await;
        (sample, Instant::now())
    });
    starts.next.push(millis(ready - handler));
    if contender.handler() != Some(Handler::Alone) {
        starts.whole.push(millis(answered - first));
        starts.failed += usize::from(sample.status != 200);
    }
    // Once it is idle, the environment is ended.
    let invoked = |event: &Event| matches!(event, Event::Invocation { .. }).then_some(());
    events.find(since, invoked).await;
    contender.lambda().spin_down().await?;
    Ok(contender.lambda().reached(since, "stopped").await?)
}

fn process_started(event: &Event) -> Option<()> {
    matches!(event, Event::Process { state, .. } if state == "started").then_some(())
}

fn initialized(event: &Event) -> Option<()> {
    matches!(event, Event::Environment { state, .. } if state == "initialized").then_some(())
}
