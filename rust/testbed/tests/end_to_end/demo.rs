//! The demo's own executable, watched, read, and robbed of its processes.

use std::{fs, process::ExitStatus, time::Duration};

use aws_credential_types::Credentials;
use bytes::Bytes;
use http::Response;
use libtest_mimic::Failed;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use testbed::{
    binaries::ROOT_VARIABLE,
    deadline::within,
    function_url::FunctionUrl,
    process::{Process, command},
    target::PORT,
};
use tokio::sync::mpsc;

use crate::Setting;

/// How long the demo may take until it has shown all steps.
const STEPS_LIMIT: Duration = Duration::from_secs(60);

/// A running demo.
pub(crate) struct Demo {
    pub(crate) process: Process,
    lines: mpsc::Receiver<String>,
    output: String,
}

impl Demo {
    pub(crate) fn start(setting: &Setting, arguments: &[&str]) -> Result<Self, Failed> {
        let mut command = command(env!("CARGO_BIN_EXE_demo").as_ref(), &setting.run_dir);
        command
            .args(arguments)
            .envs(std::env::var_os(ROOT_VARIABLE).map(|root| (ROOT_VARIABLE, root)));
        let (process, lines) = Process::spawn_reading("the demo", &mut command)?;
        Ok(Self {
            process,
            lines,
            output: String::new(),
        })
    }

    /// Waits for a line that `pick` takes.
    pub(crate) async fn line<T>(&mut self, pick: impl Fn(&str) -> Option<T>) -> Result<T, Failed> {
        while let Some(line) = self.lines.recv().await {
            self.output += &line;
            self.output.push('\n');
            if let Some(found) = pick(&line) {
                return Ok(found);
            }
        }
        Err(format!("the demo ended too early:\n{}", self.output).into())
    }

    /// Waits until the steps are done, and returns the URL that the demo invites to.
    pub(crate) async fn invitation(&mut self) -> Result<FunctionUrl, Failed> {
        let address = |line: &str| Some(line.split_once("'http://")?.1.split_once('/')?.0.to_owned());
        let user = |line: &str| Some(line.split_once("--user ")?.1.split(' ').next()?.to_owned());
        let user = within(STEPS_LIMIT, "the demo's steps", self.line(user)).await??;
        let address = self.line(address).await?;
        let (id, secret) = user.split_once(':').ok_or("no colon in the user")?;
        Ok(FunctionUrl {
            address,
            caller: Credentials::new(id, secret, None, None, "test"),
        })
    }

    /// Calls the URL as the invitation says.
    pub(crate) async fn get(&self, url: &FunctionUrl) -> Result<Response<Bytes>, Failed> {
        let request = url.request_to("target", PORT, "GET", "/get");
        Ok(url.send(request.body(Bytes::new())?).await?)
    }

    /// Waits for the demo's end.
    pub(crate) async fn end(mut self) -> Result<(ExitStatus, String), Failed> {
        while let Some(line) = self.lines.recv().await {
            self.output += &line;
            self.output.push('\n');
        }
        let exit = self.process.exited().await;
        Ok((exit.status, self.output + &exit.log))
    }

    /// One of the demo's processes: by its name, and for tailscaled by whose it is.
    pub(crate) fn victim(&self, who: &str) -> Option<i32> {
        let (name, of_function) = match who {
            "tailscaled of the target" => ("tailscaled", Some(false)),
            "tailscaled of the function" => ("tailscaled", Some(true)),
            name => (name, None),
        };
        processes().into_iter().find_map(|(pid, found, parent)| {
            let parent = processes()
                .into_iter()
                .find_map(|(pid, name, _)| (pid == parent).then_some(name));
            let functions = parent.is_some_and(|name| name.starts_with("tailscale-ext"));
            (found == name && of_function.is_none_or(|wanted| wanted == functions)).then_some(pid)
        })
    }

    pub(crate) fn kill(&self, who: &str) -> Result<(), Failed> {
        let pid = self
            .victim(who)
            .ok_or_else(|| format!("no {who} is running; {:?} are", running()))?;
        Ok(kill(Pid::from_raw(pid), Signal::SIGKILL)?)
    }
}

/// The names of all processes but this one and the dead.
pub(crate) fn running() -> Vec<String> {
    processes()
        .into_iter()
        .filter(|(pid, ..)| *pid != 1)
        .map(|(_, name, _)| name)
        .collect()
}

/// Process id, name and parent of all that live, from /proc/PID/stat (proc(5)): "PID (name) state parent ...".
fn processes() -> Vec<(i32, String, i32)> {
    let pids = fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let stat = |pid: i32| {
        let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (_, rest) = text.split_once(" (")?;
        let (name, rest) = rest.rsplit_once(") ")?;
        let mut words = rest.split(' ');
        let state = words.next()?;
        (state != "Z").then_some((pid, name.to_owned(), words.next()?.parse().ok()?))
    };
    pids.filter_map(stat).collect()
}
