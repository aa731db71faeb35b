//! The demo: the product on a tailnet of its own, to look at.

use std::{
    io::Write,
    net::SocketAddr,
    process::ExitCode,
    time::{Duration, Instant},
};

use clap::Parser;
use testbed::{
    Error,
    binaries::Binaries,
    namespace::{Inside, Side, enter, exit_code},
    network,
    port_forwarder::pass_on,
    signed::REGION,
    stack::{Backends, TestStack},
    target::PORT,
    walkthrough::{STEPS, prepare},
};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    time::timeout,
};

/// How long after a request without an answer the end of a process may take to be noticed: it would be the cause.
const CAUSE_LIMIT: Duration = Duration::from_millis(1500);
/// 128 and the number of SIGINT, as in a shell.
const INTERRUPTED: u8 = 130;

/// Sends signed requests to a Lambda function across a real tailnet, all on this machine.
#[derive(Debug, Parser)]
struct Options {
    /// End after the requests; the exit code tells whether all behaved.
    #[arg(long)]
    once: bool,
    /// Where the Function URL can be called from another terminal.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let result = match enter(Some(options.listen)) {
        Ok(Side::Outside(status)) => return exit_code(status).into(),
        Ok(Side::Inside(inside)) => network::set_up(&inside.run_dir)
            .and_then(|()| tokio::runtime::Runtime::new()?.block_on(run(options.once, &inside))),
        Err(error) => Err(error),
    };
    result.unwrap_or_else(|error| {
        say(&format!("\nerror: {error}"));
        ExitCode::FAILURE
    })
}

/// Runs the demo to its end, and leaves nothing running.
async fn run(once: bool, inside: &Inside) -> Result<ExitCode, Error> {
    let binaries = Binaries::find()?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let interrupted = async {
        tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
    };
    tokio::pin!(interrupted);

    say("\nStarting a tailnet, AWS and Lambda on this machine");
    let began = Instant::now();
    let starting = async {
        let backends = Backends::start(None, binaries, &inside.run_dir).await?;
        backends.deploy(prepare).await
    };
    let stack = tokio::select! {
        stack = starting => stack?,
        () = &mut interrupted => return Ok(INTERRUPTED.into()),
    };
    say(&format!("  started in {:.1?}", began.elapsed()));
    let ended = tokio::select! {
        biased;
        exit = stack.death() => Err(exit.to_string()),
        walked = walk(once, &stack, inside) => match walked {
            Ok(code) => Ok(code),
            // The request may have felt the end of a process before this task was told of it.
            Err(error) => Err(match timeout(CAUSE_LIMIT, stack.death()).await {
                Ok(exit) => exit.to_string(),
                Err(_) => error.to_string(),
            }),
        },
        () = &mut interrupted => Ok(if once { INTERRUPTED.into() } else { ExitCode::SUCCESS }),
    };
    if let Err(why) = &ended {
        say(&format!("\nerror: {why}"));
    }
    say("\nStopping");
    let exit = stack.stop().await;
    if ended.is_ok() && !exit.status.success() {
        return Err(Error::Other(exit.to_string()));
    }
    Ok(ended.unwrap_or(ExitCode::FAILURE))
}

/// Shows the steps, and then stays up for callers in another terminal, unless it is to end at `once`.
async fn walk(once: bool, stack: &TestStack, inside: &Inside) -> Result<ExitCode, Error> {
    let mut wrong = 0;
    for (index, step) in STEPS.into_iter().enumerate() {
        let report = step.run(stack).await?;
        say(&format!("\n{}  {}", index + 1, step.title()));
        report.lines.iter().for_each(|line| say(&format!("   {line}")));
        match report.verdict {
            Ok(right) => say(&format!("   ✓ {right}")),
            Err(why) => {
                say(&format!(
                    "   ✗ {why}\n     the end of local-lambda's log:\n{}",
                    stack.log()
                ));
                wrong += 1;
            }
        }
    }
    say(&format!(
        "\n{} of {} steps behaved as they should.",
        STEPS.len() - wrong,
        STEPS.len()
    ));
    if once {
        return Ok(if wrong == 0 {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        });
    }
    let listener = inside.listener()?;
    let caller = stack.url().caller;
    say("\nIt stays up. Try it from another terminal (Ctrl-C here ends it):");
    say(&format!(
        "\n  curl -i --aws-sigv4 aws:amz:{REGION}:lambda --user {}:{} \\\n    \
         -H 'ts-target-ip: {}' -H 'ts-target-port: {PORT}' 'http://{}/get?hello=world'\n",
        caller.access_key_id(),
        caller.secret_access_key(),
        stack.backends.target.node.address(),
        listener.local_addr()?,
    ));
    let passed_on = async { pass_on(TcpListener::from_std(listener)?, stack.lambda.address().to_owned()).await };
    match passed_on.await? {}
}

fn say(text: &str) {
    let mut stdout = std::io::stdout().lock();
    // A reader that went away has seen enough; the exit code still tells.
    let _ = writeln!(stdout, "{text}").and_then(|()| stdout.flush());
}
