//! RESPONSE_STREAM: answers leave as they come, in bounded memory, and a broken one does not look whole.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use libtest_mimic::{Failed, Trial};
use testbed::{
    deadline::within,
    lambda::Event,
    raw_target::{Move, RawTarget},
    stack::TestStack,
    vitals::Vitals,
};
use tokio::sync::Semaphore;

use crate::{SuiteContext, TestResult, stream};

/// How long a piece of an answer may take: far below the function's time-out, far above what it takes.
const PIECE_LIMIT: Duration = Duration::from_secs(5);
/// A chunked answer's head.
const CHUNKED: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
/// What the proxy may need at most, in kB of resident memory.
const MOST_RESIDENT_KB: u64 = 25_000;
/// The large download: 200 MB, in blocks.
const BLOCK_BYTES: usize = 50_000;
const BLOCKS: usize = 4000;

pub(crate) fn trials(context: &Arc<SuiteContext>) -> Vec<Trial> {
    testbed::trials![context;
        "streaming: each event leaves when the target sends it" => events,
        "streaming: 200 MB pass through bounded memory" => large,
        "streaming: a caller that hangs up affects no other request" => hung_up,
    ]
}

async fn start(context: &SuiteContext) -> Result<(TestStack, RawTarget), Failed> {
    Ok((context.stack(stream).await?, RawTarget::start().await?))
}

async fn get(stack: &TestStack, raw: &RawTarget) -> Result<Response<Incoming>, Failed> {
    let target = stack.backends.target.node.address();
    let request = stack.url().request_to(target, raw.address().port(), "GET", "/stream");
    Ok(stack.url().open(request.body(Bytes::new())?).await?)
}

/// The next bytes of an answer; `None` at its end, an error where it breaks off.
async fn piece(answer: &mut Response<Incoming>) -> Result<Option<Result<Bytes, hyper::Error>>, Failed> {
    let frame = within(PIECE_LIMIT, "a piece of the answer", answer.body_mut().frame()).await?;
    Ok(frame.map(|frame| frame.map(|frame| frame.into_data().unwrap_or_default())))
}

fn event(number: usize) -> String {
    format!("id: {number}\ndata: event {number}\n\n")
}

fn chunk(text: &str) -> Move {
    Move::Send(format!("{:x}\r\n{text}\r\n", text.len()).into())
}

async fn events(context: Arc<SuiteContext>) -> TestResult {
    const EVENTS: usize = 20;
    let (stack, raw) = start(&context).await?;
    let gate = Arc::new(Semaphore::new(0));
    let mut moves = vec![Move::Send(CHUNKED.into())];
    for number in 0..EVENTS {
        moves.extend([Move::Await(Arc::clone(&gate)), chunk(&event(number))]);
    }
    moves.extend([Move::Await(Arc::clone(&gate)), Move::Send("0\r\n\r\n".into())]);
    raw.play(moves);
    // Even the head leaves before there is any body.
    let mut answer = get(&stack, &raw).await?;
    assert_eq!(answer.status(), StatusCode::OK);
    for number in 0..EVENTS {
        gate.add_permits(1);
        assert_eq!(piece(&mut answer).await?.unwrap()?, event(number));
    }
    gate.add_permits(1);
    assert!(piece(&mut answer).await?.is_none());
    stack.end().await
}

async fn large(context: Arc<SuiteContext>) -> TestResult {
    let (stack, raw) = start(&context).await?;
    let block: Bytes = (0..BLOCK_BYTES)
        .map(|index| u8::try_from(index * 7 % 251).unwrap())
        .collect();
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\ncontent-length: {}\r\n\r\n",
        BLOCKS * BLOCK_BYTES
    );
    raw.play([Move::Send(head.into()), Move::Repeat(block.clone(), BLOCKS)]);
    let mut answer = get(&stack, &raw).await?;
    if answer.status() != StatusCode::OK {
        return Err(format!("{:?}: {:?}", answer.headers().clone(), piece(&mut answer).await?).into());
    }
    let (mut received, twice) = (0, [&block[..], &block].concat());
    while let Some(bytes) = piece(&mut answer).await? {
        for part in bytes?.chunks(BLOCK_BYTES) {
            let at = received % BLOCK_BYTES;
            received += part.len();
            let expected = &twice[at..at + part.len()];
            assert!(part == expected, "the answer is another near byte {received}");
        }
    }
    assert_eq!(received, BLOCKS * BLOCK_BYTES);
    let pid = stack.lambda.events.find(0, Event::runtime_started).await;
    let resident = Vitals::of(pid)?.peak_kb;
    assert!(resident < MOST_RESIDENT_KB, "the proxy took {resident} kB");
    stack.end().await
}

async fn hung_up(context: Arc<SuiteContext>) -> TestResult {
    let (stack, raw) = start(&context).await?;
    let gate = Arc::new(Semaphore::new(0));
    raw.play([
        Move::Send(CHUNKED.into()),
        chunk("a"),
        Move::Await(Arc::clone(&gate)),
        chunk("b"),
        Move::Send("0\r\n\r\n".into()),
    ]);
    let since = stack.lambda.events.len();
    let mut answer = get(&stack, &raw).await?;
    assert_eq!(piece(&mut answer).await?.unwrap()?, "a");
    drop(answer);
    gate.add_permits(1);
    stack.lambda.reached(since, "frozen").await?;
    gate.add_permits(1);
    let mut next = get(&stack, &raw).await?;
    assert_eq!(piece(&mut next).await?.unwrap()?, "a");
    stack.end().await
}
