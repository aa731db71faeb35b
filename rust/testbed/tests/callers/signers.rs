//! What the callers' signers make of unusual paths and queries. The table that is proven is the one in docs/signing.md.

use std::sync::Arc;

use bytes::Bytes;
use libtest_mimic::Trial;
use testbed::raw_target::{Move, RawTarget};

use crate::{
    SuiteContext, TestResult,
    caller::{self, Caller, Question, Said, admit},
};

const PAGE: &str = include_str!("../../../../docs/signing.md");
/// How many rows the table has: one that is not read any more would not be tested.
const ROWS: usize = 20;
const ANSWER: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// What becomes of a request, as the table has it.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    /// The target sees this path and query.
    Arrives(String),
    /// The signature does not match.
    Refused,
}

pub(crate) fn trials(context: &Arc<SuiteContext>) -> Vec<Trial> {
    testbed::trials![context;
        "signers: unusual paths and queries, as documented" => documented,
    ]
}

async fn documented(context: Arc<SuiteContext>) -> TestResult {
    let stack = context.stack(admit).await?;
    let raw = RawTarget::start().await?;
    raw.play([Move::Send(Bytes::from_static(ANSWER.as_bytes()))]);
    let rows = rows();
    assert_eq!(rows.len(), ROWS, "rows of the table in docs/signing.md");
    for (target, cells) in rows {
        for (caller, cell) in caller::ALL.into_iter().zip(cells) {
            let expected = match cell {
                "as is" => Fate::Arrives(target.to_owned()),
                "refused" => Fate::Refused,
                other => Fate::Arrives(other.trim_matches('`').to_owned()),
            };
            let since = raw.seen().len();
            let question = Question::get(&stack, raw.address().port(), target);
            let said = caller.ask(&context, &stack, &question).await?;
            let seen = raw.only_since(since).map(|seen| seen.line);
            let found = fate(seen.as_deref(), &said);
            // Later versions of curl sign what the oldest supported one does not: then the target sees it unchanged.
            let newer_curl =
                caller == Caller::Curl && expected == Fate::Refused && found == Some(Fate::Arrives(target.to_owned()));
            assert!(
                found.as_ref() == Some(&expected) || newer_curl,
                "{caller:?} {target}: {found:?} instead of {expected:?}; {said:?}"
            );
        }
    }
    stack.end().await
}

fn fate(seen: Option<&str>, said: &Said) -> Option<Fate> {
    match seen {
        Some(line) => {
            let target = line.strip_prefix("GET ")?.strip_suffix(" HTTP/1.1")?;
            Some(Fate::Arrives(target.to_owned()))
        }
        None => said.out.contains("signature we calculated").then_some(Fate::Refused),
    }
}

/// A path and query of the page's table, and a cell for each caller.
fn rows() -> Vec<(&'static str, Vec<&'static str>)> {
    let rows = PAGE.lines().filter(|line| line.starts_with("| `/"));
    rows.map(|row| {
        let mut cells = row.trim_matches('|').split('|').map(str::trim);
        (cells.next().unwrap().trim_matches('`'), cells.collect())
    })
    .collect()
}
