//! The README's table of failures, which must say what the messages say.

use crate::trouble::{Course, Trouble};

const README: &str = include_str!("../../../README.md");

/// The README has a row for `trouble`, with its message, what mends it, and when the login is tried again.
pub(crate) fn assert_told(trouble: &Trouble) {
    let again = match trouble.course() {
        Course::Wait => "as soon as it is mended",
        Course::Again => "after 1 s, growing to 60 s",
        Course::NewSecret => "when a request finds another secret",
        Course::Restart => "after 50 ms, growing to 10 s",
    };
    let message = trouble.to_string();
    let (what, remedy) = message.split_once("; ").unwrap_or((&message, "nothing need be done"));
    let row = format!("| `{what}` | {remedy} | {again} |");
    assert!(README.lines().any(|line| line == row), "the README has no row\n{row}");
}
