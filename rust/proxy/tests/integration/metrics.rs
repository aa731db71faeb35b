//! What is counted, and what becomes of it where CloudWatch takes it, refuses it, or says nothing.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use aws_credential_types::Credentials;
use proxy::config::Config;
use serde::Deserialize;
use serde_json::Value;
use tailnet::protocol::Response;

use crate::fakes::{Turn, World, target_reading, unavailable};

const OK: Turn = Turn::Answer(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
/// `{"__type": "Throttling"}` in CBOR, and the header that tells the code to clients that knew the query protocol.
const THROTTLED: Turn = Turn::Answer(
    b"HTTP/1.1 400 Bad Request\r\nsmithy-protocol: rpc-v2-cbor\r\nx-amzn-query-error: Throttling;Sender\r\n\
    content-length: 19\r\n\r\n\xa1\x66__type\x6aThrottling",
);
const UNUSABLE: Turn = Turn::Answer(
    b"HTTP/1.1 400 Bad Request\r\nsmithy-protocol: rpc-v2-cbor\r\n\
    x-amzn-query-error: InvalidParameterValue;Sender\r\n\
    content-length: 30\r\n\r\n\xa1\x66__type\x75InvalidParameterValue",
);
/// Long enough for the last batches here.
const LAST: Duration = Duration::from_secs(5);

/// A call of PutMetricData.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Call {
    namespace: String,
    metric_data: Vec<Datum>,
}

/// What is told of one sum, but for its time.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Datum {
    metric_name: String,
    dimensions: Vec<Dimension>,
    unit: String,
    values: Vec<f64>,
    counts: Vec<f64>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Dimension {
    name: String,
    value: String,
}

/// The call that a request is: <https://smithy.io/2.0/additional-specs/protocols/smithy-rpc-v2.html>
fn read(request: Vec<u8>) -> Call {
    let end = request.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let head = std::str::from_utf8(&request[..end]).unwrap();
    let path = "POST /service/GraniteServiceVersion20100801/operation/PutMetricData HTTP/1.1\r\n";
    assert!(
        head.starts_with(path) && head.contains("\r\nhost: 127.0.0.1:"),
        "{head}"
    );
    ciborium::from_reader(&request[end + 4..]).unwrap()
}

/// CloudWatch, and what it was told.
struct CloudWatch {
    address: SocketAddr,
    told: Arc<Mutex<Vec<Call>>>,
}

impl CloudWatch {
    async fn new(turns: &[Turn]) -> Self {
        let (address, told) = target_reading(turns, read).await;
        Self { address, told }
    }

    /// Has the proxy send to it after each request.
    fn configure(&self, config: &mut Config) {
        config.metrics.interval = Duration::ZERO;
        config.metrics.budget = Duration::from_secs(5);
        config.metrics.access.region = Some("eu-central-1".into());
        config.metrics.access.endpoint = Some(format!("http://{}", self.address));
        config.metrics.access.credentials = Some(Credentials::new("AKID", "secret", None, None, "test"));
    }

    fn calls(&self) -> Vec<Call> {
        self.told.lock().unwrap().clone()
    }
}

/// A call with one sum of so many ones, for the service `shop`.
fn sum(metric: &str, count: u32) -> Call {
    let shop = Dimension {
        name: "service".into(),
        value: "shop".into(),
    };
    let datum = Datum {
        metric_name: metric.into(),
        dimensions: vec![shop],
        unit: "Count".into(),
        values: vec![1.0],
        counts: vec![count.into()],
    };
    Call {
        namespace: "tailscale-service".into(),
        metric_data: vec![datum],
    }
}

fn asks(event: &mut Value) {
    event["headers"]["ts-metric-service"] = "shop".into();
}

/// A world whose proxy reports to `cloudwatch`.
async fn world(cloudwatch: &CloudWatch, route: Option<Response>, turns: &[Turn]) -> World {
    World::new(route, &[], turns, |config| cloudwatch.configure(config)).await
}

/// Sends a request that asks for its metric, and what follows its answer.
async fn request(world: &World) -> Value {
    let answer = world.send(asks).await;
    world.handler.metrics().flush().await;
    answer
}

#[tokio::test]
async fn an_answer_is_a_success_whatever_its_status() {
    let cloudwatch = CloudWatch::new(&[OK]).await;
    let turns = [Turn::Answer(b"HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n")];
    let world = world(&cloudwatch, None, &turns).await;
    assert_eq!(request(&world).await["statusCode"], 500);
    assert_eq!(cloudwatch.calls(), [sum("success", 1)]);
}

#[tokio::test]
async fn no_answer_is_a_failure_and_a_broken_one_too() {
    let not_joined = unavailable(None);
    let broken = Turn::AnswerAndClose(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok");
    for (route, turns, status) in [
        (None, vec![Turn::Close; 2], 502),
        (None, vec![broken], 502),
        (None, vec![Turn::Hang], 504),
        (Some(not_joined), vec![], 503),
    ] {
        let cloudwatch = CloudWatch::new(&[OK]).await;
        let world = World::new(route, &[], &turns, |config| {
            cloudwatch.configure(config);
            config.response_timeout = Some(Duration::from_millis(200));
        });
        assert_eq!(request(&world.await).await["statusCode"], status);
        assert_eq!(cloudwatch.calls(), [sum("failure", 1)], "{status}");
    }
}

#[tokio::test]
async fn what_is_refused_or_does_not_ask_is_not_counted() {
    let cloudwatch = CloudWatch::new(&[]).await;
    let refused = Response::NotAllowed {
        message: "not the tailnet's".into(),
    };
    let refusing = world(&cloudwatch, Some(refused), &[]).await;
    assert_eq!(request(&refusing).await["statusCode"], 403);
    let invalid = refusing.send(|event| {
        asks(event);
        event["headers"]["ts-target-port"] = "0".into();
    });
    assert_eq!(invalid.await["statusCode"], 400);
    refusing.handler.metrics().flush_all(LAST).await;
    let silent = world(&cloudwatch, None, &[OK]).await;
    assert_eq!(silent.get().await["statusCode"], 200);
    silent.handler.metrics().flush_all(LAST).await;
    assert_eq!(cloudwatch.calls(), [] as [Call; 0]);
}

#[tokio::test]
async fn what_cloudwatch_refuses_is_kept_and_sent_again() {
    let cloudwatch = CloudWatch::new(&[THROTTLED, THROTTLED, OK]).await;
    let world = world(&cloudwatch, None, &[OK, OK]).await;
    request(&world).await;
    // Soon after a refusal CloudWatch is left alone.
    request(&world).await;
    assert_eq!(cloudwatch.calls(), [sum("success", 1)]);
    world.handler.metrics().flush_all(LAST).await;
    assert_eq!(cloudwatch.calls()[1..], [sum("success", 2), sum("success", 2)]);
}

#[tokio::test]
async fn what_never_left_is_kept_and_sent_again() {
    let cloudwatch = CloudWatch::new(&[OK]).await;
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = closed.local_addr().unwrap();
    drop(closed);
    let world = World::new(None, &[], &[OK, OK], |config| {
        cloudwatch.configure(config);
        config.metrics.access.endpoint = Some(format!("http://{address}"));
    });
    let world = world.await;
    request(&world).await;
    let relay = tokio::net::TcpListener::bind(address).await.unwrap();
    let (seen, at_the_end) = tokio::join!(
        async {
            let (mut stream, _) = relay.accept().await.unwrap();
            let mut onward = tokio::net::TcpStream::connect(cloudwatch.address).await.unwrap();
            tokio::io::copy_bidirectional(&mut stream, &mut onward).await
        },
        world.handler.metrics().flush_all(LAST)
    );
    seen.unwrap();
    let () = at_the_end;
    assert_eq!(cloudwatch.calls(), [sum("success", 1)]);
}

#[tokio::test]
async fn what_may_have_been_counted_is_not_sent_again() {
    for turn in [Turn::Close, UNUSABLE] {
        let cloudwatch = CloudWatch::new(&[turn]).await;
        let world = world(&cloudwatch, None, &[OK]).await;
        request(&world).await;
        world.handler.metrics().flush_all(LAST).await;
        assert_eq!(cloudwatch.calls(), [sum("success", 1)]);
    }
}

#[tokio::test]
async fn a_slow_cloudwatch_costs_one_budget_and_one_call() {
    const BUDGET: Duration = Duration::from_millis(500);
    let cloudwatch = CloudWatch::new(&[Turn::Hang]).await;
    let world = World::new(None, &[], &[OK, OK, OK], |config| {
        cloudwatch.configure(config);
        config.metrics.budget = BUDGET;
    });
    let world = world.await;
    let began = Instant::now();
    request(&world).await;
    assert!(began.elapsed() >= BUDGET, "the budget was not used");
    for _ in 0..2 {
        world.send(asks).await;
        let began = Instant::now();
        world.handler.metrics().flush().await;
        assert!(began.elapsed() < BUDGET, "{:?}", began.elapsed());
    }
    world.handler.metrics().flush_all(Duration::from_millis(100)).await;
    assert_eq!(cloudwatch.calls(), [sum("success", 1)]);
}

#[tokio::test]
async fn counts_are_gathered_for_the_interval() {
    let cloudwatch = CloudWatch::new(&[OK, OK]).await;
    let world = World::new(None, &[], &[OK, OK, OK], |config| {
        cloudwatch.configure(config);
        config.metrics.interval = Duration::from_secs(600);
    });
    let world = world.await;
    for _ in 0..3 {
        request(&world).await;
    }
    assert_eq!(cloudwatch.calls(), [sum("success", 1)]);
    world.handler.metrics().flush_all(LAST).await;
    assert_eq!(cloudwatch.calls()[1..], [sum("success", 2)]);
}

#[tokio::test]
async fn details_are_measured_where_they_are_asked_for() {
    let cloudwatch = CloudWatch::new(&[OK, OK]).await;
    let world = World::new(None, &[], &[OK, OK], |config| {
        cloudwatch.configure(config);
        config.metrics.details = true;
    });
    let world = world.await;
    request(&world).await;
    request(&world).await;
    let calls: Vec<_> = cloudwatch.calls().iter().map(names).collect();
    assert_eq!(
        calls,
        [
            vec!["first-byte", "new-connection", "success", "tailnet-ready"],
            vec!["first-byte", "kept-connection", "success"]
        ]
    );
}

/// The metrics that a call counts.
fn names(call: &Call) -> Vec<String> {
    let mut names: Vec<String> = call.metric_data.iter().map(|datum| datum.metric_name.clone()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn what_cloudwatch_refuses_for_good_takes_no_other_with_it() {
    // Of four sums one is bad: the batch is halved until that one is alone.
    let cloudwatch = CloudWatch::new(&[UNUSABLE, OK, UNUSABLE, OK, UNUSABLE]).await;
    let world = World::new(None, &[], &[OK], |config| {
        cloudwatch.configure(config);
        config.metrics.details = true;
    });
    let world = world.await;
    world.send(asks).await;
    world.handler.metrics().flush_all(LAST).await;
    let sizes: Vec<_> = cloudwatch.calls().iter().map(|call| names(call).len()).collect();
    assert_eq!(sizes, [4, 2, 2, 1, 1]);
}

#[tokio::test]
async fn a_batch_that_is_too_large_goes_in_parts_and_later_ones_are_smaller() {
    let too_large = Turn::Answer(b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n");
    let cloudwatch = CloudWatch::new(&[too_large, OK, OK]).await;
    let world = World::new(None, &[], &[OK], |config| {
        cloudwatch.configure(config);
        config.metrics.details = true;
    });
    let world = world.await;
    world.send(asks).await;
    world.handler.metrics().flush_all(LAST).await;
    let calls: Vec<_> = cloudwatch.calls().iter().map(names).collect();
    assert_eq!(calls.iter().map(Vec::len).collect::<Vec<_>>(), [4, 2, 2]);
    let mut parts = [&calls[1][..], &calls[2]].concat();
    parts.sort();
    assert_eq!(parts, calls[0]);
}
