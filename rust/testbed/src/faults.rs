//! What goes wrong in a function's backends and in its environments while requests run.

use std::{
    fs::File,
    io::{self, Write},
    path::PathBuf,
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::{task::spawn_blocking, time::sleep};

use crate::{
    Error,
    fault_proxy::{Fault, FaultProxy},
    lambda::Function,
    load::{DIMENSION, SERVICE},
    log::Log,
    stack::{Backends, TestStack},
    vitals::{pids, stop},
};

/// The programs of an environment, as they are named inside it.
const PROGRAMS: [&str; 3] = ["/var/task/bootstrap", "/opt/extensions/", TAILSCALED];
const TAILSCALED: &str = "/opt/bin/tailscaled";
/// How long the backends are out of order.
const OUTAGE: Duration = Duration::from_millis(2500);
/// How long a process stands still in a short freeze.
const FREEZE: Duration = Duration::from_millis(60);
/// How many short freezes there are in one round.
const FREEZES: usize = 20;
/// The pause after a fault.
const PAUSE: Duration = Duration::from_millis(300);

/// The AWS services that can fail.
#[derive(Debug)]
pub struct Services {
    cloudwatch: FaultProxy,
    secrets: FaultProxy,
}

impl Services {
    /// Stands before CloudWatch and Secrets Manager.
    pub async fn start(backends: &Backends) -> Result<Self, Error> {
        let aws = &backends.aws;
        let cloudwatch = FaultProxy::start(aws.cloudwatch_address()).await;
        Ok(Self {
            cloudwatch: cloudwatch?,
            secrets: FaultProxy::start(aws.address()).await?,
        })
    }

    /// Has the function find them here.
    pub fn serve(&self, function: &mut Function) {
        for (name, proxy) in [
            ("AWS_ENDPOINT_URL_CLOUDWATCH", &self.cloudwatch),
            ("AWS_ENDPOINT_URL_SECRETS_MANAGER", &self.secrets),
        ] {
            function.environment.insert(name.into(), proxy.endpoint());
        }
    }
}

/// One round of faults, one after the other: tailscaled killed and stopped, the control server with DERP silent, CloudWatch
/// and Secrets Manager stalled, freezes of each process at any stage, no room in `/tmp`.
pub async fn round(stack: &TestStack, services: &mut Services) -> Result<(), Error> {
    signal(TAILSCALED, Signal::SIGKILL)?;
    sleep(PAUSE).await;

    services.cloudwatch.set(Fault::Stalled(OUTAGE)).await;
    freezes().await?;
    services.cloudwatch.set(Fault::None).await;

    let control = &stack.backends.control.process;
    control.signal(Signal::SIGSTOP).await;
    sleep(OUTAGE).await;
    control.signal(Signal::SIGCONT).await;
    sleep(PAUSE).await;

    // Stopped, not killed: its supervisor has to find out.
    if let Some(daemon) = pids(TAILSCALED).first() {
        unless_gone(kill(Pid::from_raw(*daemon), Signal::SIGSTOP))?;
    }
    sleep(OUTAGE).await;

    services.secrets.set(Fault::Stalled(OUTAGE)).await;
    signal(TAILSCALED, Signal::SIGKILL)?;
    freezes().await?;
    services.secrets.set(Fault::None).await;

    let filled = spawn_blocking(fill).await;
    let filled = filled.map_err(io::Error::other)??;
    signal(TAILSCALED, Signal::SIGKILL)?;
    sleep(OUTAGE).await;
    if let Some(file) = filled {
        // An environment that has ended has taken it with it.
        let _ = std::fs::remove_file(file);
    }
    freezes().await
}

/// Has each process of each environment stand still for a moment, and all at once.
async fn freezes() -> Result<(), Error> {
    for number in 0..FREEZES {
        let chosen: Vec<i32> = match PROGRAMS.get(number % (PROGRAMS.len() + 1)) {
            Some(program) => pids(program),
            None => PROGRAMS.iter().flat_map(|program| pids(program)).collect(),
        };
        let frozen = chosen.clone();
        // One that has ended meanwhile stands still anyway.
        let stopping = spawn_blocking(move || frozen.into_iter().filter_map(|pid| stop(pid).err()).count());
        stopping.await.map_err(io::Error::other)?;
        sleep(FREEZE).await;
        for pid in chosen {
            unless_gone(kill(Pid::from_raw(pid), Signal::SIGCONT))?;
        }
        // Of another length each time: another stage.
        sleep(FREEZE / 4 * u32::try_from(number % 5).unwrap_or_default()).await;
    }
    Ok(())
}

fn signal(program: &str, signal: Signal) -> Result<(), Error> {
    pids(program)
        .into_iter()
        .try_for_each(|pid| unless_gone(kill(Pid::from_raw(pid), signal)))
}

fn unless_gone(outcome: nix::Result<()>) -> Result<(), Error> {
    match outcome {
        Ok(()) | Err(nix::errno::Errno::ESRCH) => Ok(()),
        Err(error) => Err(io::Error::from(error).into()),
    }
}

/// Fills `/tmp` of one environment: it is half a gigabyte of this machine's memory. Blocks.
fn fill() -> io::Result<Option<PathBuf>> {
    let Some(pid) = pids(PROGRAMS[0]).first().copied() else {
        return Ok(None);
    };
    let path = PathBuf::from(format!("/proc/{pid}/root/tmp/filled"));
    let mut file = File::create(&path)?;
    let block = vec![0xfe; 1 << 20];
    loop {
        match file.write_all(&block) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::StorageFull => return Ok(Some(path)),
            Err(error) => return Err(error),
        }
    }
}

/// What the function's log reports of faults, added up.
#[derive(Debug)]
pub struct Reported(Log);

/// How much was reported.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sums {
    /// Measurements that were lost, or may have been.
    pub lost: u64,
    /// Ends of tailscaled, and times when it did not respond.
    pub daemon_failures: u64,
}

impl Reported {
    /// Looks at the log of a function that has not had any faults yet.
    pub fn follow(log: &Log) -> Self {
        Self(log.clone())
    }

    /// So far.
    pub fn sums(&self) -> Sums {
        let lines = self.0.all(|line| Some(Sums::of(line)));
        Sums {
            lost: lines.iter().map(|line| line.lost).sum(),
            daemon_failures: lines.iter().map(|line| line.daemon_failures).sum(),
        }
    }
}

impl Sums {
    /// What one line reports.
    fn of(line: &str) -> Self {
        let digits = line
            .split(" lost=")
            .nth(1)
            .and_then(|rest| rest.split_whitespace().next());
        Self {
            lost: digits.and_then(|digits| digits.parse().ok()).unwrap_or_default(),
            daemon_failures: u64::from(line.contains("not in the tailnet: TailscaledFailed")),
        }
    }
}

/// What CloudWatch has counted of a [load](crate::load): successes and failures.
pub async fn counted(stack: &TestStack) -> Result<(f64, f64), Error> {
    let aws = &stack.backends.aws;
    let dimensions = [("service", SERVICE), DIMENSION];
    let sum = |name| aws.metric_sum("tailscale-service", name, &dimensions);
    Ok((sum("success").await?, sum("failure").await?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lost_and_who_died_is_read_from_the_log() {
        for (line, lost, daemon_failures) in [
            ("[1 runtime]  WARN 3 measurements may be lost: why lost=3", 3, 0),
            ("[1 runtime] ERROR m lost=12 more=1", 12, 0),
            ("[1 runtime] INFO nothing is lost", 0, 0),
            (
                "[1 ext] WARN not in the tailnet: TailscaledFailed: tailscaled was killed by signal 9",
                0,
                1,
            ),
        ] {
            assert_eq!(Sums::of(line), Sums { lost, daemon_failures }, "{line}");
        }
    }
}
