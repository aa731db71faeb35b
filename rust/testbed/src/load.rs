//! Many requests by many callers at once, each with a number that the target sees: what became of each, and whether
//! that fits what the target saw.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use http::StatusCode;
use tokio::task::JoinSet;

use crate::{
    Error,
    function_url::FunctionUrl,
    http_call::header,
    raw_target::{Move, RawTarget, Seen},
    stack::TestStack,
};

const ANSWER: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const NUMBER: &str = "x-number";
/// What requests are counted for.
pub const SERVICE: &str = "load";
/// The dimension that goes with it.
pub const DIMENSION: (&str, &str) = ("kind", "hostile");

/// Sends requests, and remembers.
#[derive(Debug)]
pub struct Load {
    url: FunctionUrl,
    machine: String,
    raw: RawTarget,
    next: usize,
    outcomes: BTreeMap<usize, Outcome>,
}

/// What became of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Outcome {
    method: &'static str,
    /// The status, `ts-error-name` and `ts-error-sent`; or why there was no answer.
    answer: Result<(StatusCode, String, String), String>,
}

/// How many answers there were of each kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// Those of the target's.
    pub answered: usize,
    /// The proxy's own errors, by their names.
    pub failed: BTreeMap<String, usize>,
    /// Those of the service's: the function had failed.
    pub service: usize,
}

impl Load {
    /// For the function of this stack, and a target of its own behind the target's machine.
    pub async fn start(stack: &TestStack) -> Result<Self, Error> {
        let raw = RawTarget::start().await?;
        raw.play([Move::Send(ANSWER.into())]);
        Ok(Self {
            url: stack.url(),
            machine: stack.backends.target.node.address().to_string(),
            raw,
            next: 0,
            outcomes: BTreeMap::new(),
        })
    }

    /// Sends so many requests by so many callers, every other one a POST, and returns when all have come to an end.
    pub async fn send(&mut self, requests: usize, callers: usize) -> Result<(), Error> {
        let numbers = Arc::new(AtomicUsize::new(self.next));
        self.next += requests;
        let end = self.next;
        let mut sending = JoinSet::new();
        for _ in 0..callers {
            let (url, machine, numbers) = (self.url.clone(), self.machine.clone(), Arc::clone(&numbers));
            let port = self.raw.address().port();
            sending.spawn(async move {
                let mut outcomes = Vec::new();
                loop {
                    let number = numbers.fetch_add(1, Ordering::Relaxed);
                    if number >= end {
                        return Ok::<_, Error>(outcomes);
                    }
                    outcomes.push((number, one(&url, &machine, port, number).await?));
                }
            });
        }
        while let Some(outcomes) = sending.join_next().await {
            let outcomes = outcomes.map_err(std::io::Error::other)?;
            self.outcomes.extend(outcomes?);
        }
        Ok(())
    }

    /// Each request has one answer; what went well was seen, what was not sent was not, and what must not be repeated was
    /// seen once at most.
    pub fn check(&self) -> Result<Summary, String> {
        let mut seen = HashMap::<usize, usize>::new();
        for number in self.raw.seen().all(number) {
            *seen.entry(number).or_default() += 1;
        }
        let (mut summary, mut wrong) = (Summary::default(), Vec::new());
        for (number, Outcome { method, answer }) in &self.outcomes {
            let times = seen.get(number).copied().unwrap_or_default();
            let right = match answer {
                Err(_) => false,
                Ok((StatusCode::OK, ..)) => {
                    summary.answered += 1;
                    times >= 1
                }
                Ok((_, name, _)) if name.is_empty() => {
                    summary.service += 1;
                    true
                }
                Ok((_, name, sent)) => {
                    *summary.failed.entry(name.clone()).or_default() += 1;
                    sent != "no" || times == 0
                }
            };
            if !right || (*method == "POST" && times > 1) {
                wrong.push(format!(
                    "number {number}, a {method}, was seen {times} times: {answer:?}"
                ));
            }
        }
        if self.outcomes.len() != self.next {
            wrong.push(format!("{} outcomes of {} requests", self.outcomes.len(), self.next));
        }
        if wrong.is_empty() {
            return Ok(summary);
        }
        wrong.truncate(10);
        Err(wrong.join("\n"))
    }
}

async fn one(url: &FunctionUrl, machine: &str, port: u16, number: usize) -> Result<Outcome, Error> {
    let (method, body) = if number.is_multiple_of(2) {
        ("GET", "")
    } else {
        ("POST", "once")
    };
    let request = url
        .request_to(machine, port, method, "/load")
        .header(NUMBER, number)
        .header("ts-metric-service", SERVICE)
        .header("ts-metric-dimension-name", DIMENSION.0)
        .header("ts-metric-dimension-value", DIMENSION.1)
        .body(Bytes::from_static(body.as_bytes()))?;
    let answer = url.send(request).await;
    let answer = answer.map_err(|error| error.to_string()).map(|answer| {
        let text = |headers, name| header(headers, name).to_owned();
        let headers = answer.headers();
        (
            answer.status(),
            text(headers, "ts-error-name"),
            text(headers, "ts-error-sent"),
        )
    });
    Ok(Outcome { method, answer })
}

fn number(seen: &Seen) -> Option<usize> {
    let (_, value) = seen.headers.iter().find(|(name, _)| name == NUMBER)?;
    std::str::from_utf8(value).ok()?.parse().ok()
}
