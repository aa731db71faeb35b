//! How the demo looks: aligned, and in colour on a terminal (<https://no-color.org>).

use std::{
    io::{IsTerminal, Write},
    net::SocketAddr,
    time::Duration,
};

use aws_credential_types::Credentials;
use testbed::{
    signed::REGION,
    target,
    walkthrough::{Report, milliseconds},
};

const BOLD: &str = "1";
const DIM: &str = "2";
const RED: &str = "1;31";
const GREEN: &str = "32";
const BLUE: &str = "36";

/// Lines longer than this are cut.
const WIDTH: usize = 112;

/// Standard output.
pub(crate) struct Show {
    colour: bool,
}

impl Show {
    /// In colour if that is a terminal, and NO_COLOR is not set.
    pub(crate) fn on_stdout() -> Self {
        let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self {
            colour: std::io::stdout().is_terminal() && !no_colour,
        }
    }

    /// Opens a part.
    pub(crate) fn heading(&self, text: &str) {
        self.line(&format!("\n{}", self.paint(BOLD, text)));
    }

    /// Something has started.
    pub(crate) fn started(&self, what: &str, took: Duration, place: &str) {
        self.line(&format!(
            "  {what:<38}{:>5.1} s  {}",
            took.as_secs_f64(),
            self.paint(DIM, place)
        ));
    }

    /// A step with its request, its answer and the verdict.
    pub(crate) fn step(&self, number: usize, title: &str, report: &Report) {
        self.heading(&format!("{number}  {title}"));
        self.block("→", &report.request, None);
        self.block("←", &report.answer, report.took);
        match &report.verdict {
            Ok(right) => self.line(&format!("   {} {right}", self.paint(GREEN, "✓"))),
            Err(wrong) => self.line(&format!("   {} {}", self.paint(RED, "✗"), self.paint(RED, wrong))),
        }
    }

    fn block(&self, arrow: &str, lines: &[String], took: Option<Duration>) {
        for (index, line) in lines.iter().enumerate() {
            let line = cut(line);
            if index > 0 {
                self.line(&format!("     {}", self.paint(DIM, &line)));
                continue;
            }
            let took = took
                .map(|took| format!("  in {:.1} ms", milliseconds(took)))
                .unwrap_or_default();
            self.line(&format!(
                "   {} {line}{}",
                self.paint(BLUE, arrow),
                self.paint(DIM, &took)
            ));
        }
    }

    /// What a process said before something went wrong.
    pub(crate) fn log(&self, of: &str, tail: &str) {
        self.line(&self.paint(DIM, &format!("     the end of {of}'s log:\n{tail}")));
    }

    /// How it went.
    pub(crate) fn summary(&self, steps: usize, wrong: usize) {
        let text = match wrong {
            0 => self.paint(GREEN, &format!("All {steps} steps behaved as they should.")),
            _ => self.paint(RED, &format!("{wrong} of {steps} steps did not behave as they should.")),
        };
        self.line(&format!("\n{text}"));
    }

    /// How to go on from another terminal.
    pub(crate) fn invitation(&self, address: SocketAddr, caller: &Credentials, target: &str) {
        self.heading("It stays up. Try it from another terminal (Ctrl-C here ends it):");
        self.line(&format!(
            "\n  curl -i --aws-sigv4 aws:amz:{REGION}:lambda --user {}:{} \\\n    \
             -H 'ts-target-ip: {target}' -H 'ts-target-port: {}' 'http://{address}/get?hello=world'\n",
            caller.access_key_id(),
            caller.secret_access_key(),
            target::PORT,
        ));
    }

    /// Something went wrong.
    pub(crate) fn error(&self, text: &str) {
        self.line(&format!("\n{} {text}", self.paint(RED, "error:")));
    }

    fn paint(&self, colour: &str, text: &str) -> String {
        if self.colour {
            format!("\x1b[{colour}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    fn line(&self, text: &str) {
        let mut stdout = std::io::stdout().lock();
        // A reader that went away has seen enough; the exit code still tells.
        let _ = writeln!(stdout, "{text}").and_then(|()| stdout.flush());
    }
}

fn cut(line: &str) -> String {
    if line.chars().count() <= WIDTH {
        return line.to_owned();
    }
    line.chars().take(WIDTH - 3).chain("...".chars()).collect()
}
