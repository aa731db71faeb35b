//! One caller of examples/, and a request that it is to send.

use std::{path::Path, process::Stdio, time::Duration};

use aws_credential_types::Credentials;
use libtest_mimic::Failed;
use serde_json::json;
use testbed::{bundle::bundle, deadline::within, lambda::Function, process::command, signed::REGION, stack::TestStack};
use tokio::process::Command;

use crate::SuiteContext;

/// How long a caller may take, an environment's start included.
const LIMIT: Duration = Duration::from_secs(30);

/// Runs a handler as Lambda would: its module, its event; the answer's body goes to standard output.
const NODE_DRIVER: &str = "require(process.argv[1]).handler(JSON.parse(process.argv[2])).then(
    (answer) => process.stdout.write(answer.body),
    (error) => { console.error(`${error.name}: ${error.message}`); process.exitCode = 1; })";
const PYTHON_DRIVER: &str = "import json, sys
sys.path.insert(0, sys.argv[1])
import caller
sys.stdout.write(caller.handler(json.loads(sys.argv[2]), None)['body'])";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Caller {
    TypeScript,
    Python,
    Rust,
    Curl,
}

pub(crate) const ALL: [Caller; 4] = [Caller::TypeScript, Caller::Python, Caller::Rust, Caller::Curl];

/// What to send.
#[derive(Debug, Clone)]
pub(crate) struct Question {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) method: &'static str,
    pub(crate) path: String,
    pub(crate) body: &'static str,
}

/// What the caller wrote.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Question {
    pub(crate) fn get(stack: &TestStack, port: u16, path: &str) -> Self {
        Self {
            host: stack.backends.target.node.address().to_string(),
            port,
            method: "GET",
            path: path.to_owned(),
            body: "",
        }
    }
}

/// Temporary credentials, as a function has them.
pub(crate) fn role() -> Credentials {
    let token = Some("caller/token+=".into());
    Credentials::new("ASIACALLER", "caller-secret", token, None, "test")
}

/// Gives a program these credentials, as Lambda and its users do.
pub(crate) fn sign_as(command: &mut Command, role: &Credentials) {
    command
        .env("AWS_ACCESS_KEY_ID", role.access_key_id())
        .env("AWS_SECRET_ACCESS_KEY", role.secret_access_key())
        .envs(role.session_token().map(|token| ("AWS_SESSION_TOKEN", token)));
}

/// Lets the callers call.
pub(crate) fn admit(function: &mut Function) {
    function.callers.push(role());
}

impl Caller {
    /// Has it ask, and waits for what it says.
    pub(crate) async fn ask(
        self,
        context: &SuiteContext,
        stack: &TestStack,
        question: &Question,
    ) -> Result<Said, Failed> {
        let mut command = match self {
            Self::TypeScript => {
                let module = bundle(context, "examples/typescript/functions/caller.ts").await?;
                let mut command = command("node".as_ref(), &context.run_dir);
                command.args(["-e", NODE_DRIVER]).arg(module).arg(event(question));
                command
            }
            Self::Python => {
                let root = &context.binaries.root;
                let mut command = command(&root.join(".venv/bin/python"), &context.run_dir);
                command.args(["-B", "-c", PYTHON_DRIVER]);
                command.arg(root.join("examples/python/functions")).arg(event(question));
                command
            }
            Self::Rust => {
                let program = context.binaries.root.join("rust/target/debug/tailnet-caller");
                let mut command = command(&program, &context.run_dir);
                command.args([&question.host, &question.port.to_string()]);
                command.args([question.method, &question.path, question.body]);
                command
            }
            Self::Curl => {
                let mut command = command(&context.binaries.root.join("examples/curl/call.sh"), &context.run_dir);
                command.args([&question.host, &question.port.to_string(), &question.path]);
                command.args(["-X", question.method]);
                if !question.body.is_empty() {
                    command.args(["--data-binary", question.body]);
                }
                command
            }
        };
        command
            .env("TS_PROXY_URL", format!("http://{}/", stack.lambda.address()))
            .env("AWS_REGION", REGION);
        sign_as(&mut command, &role());
        run(&format!("{self:?}"), &mut command).await
    }
}

fn event(question: &Question) -> String {
    let mut event =
        json!({"host": question.host, "port": question.port, "method": question.method, "path": question.path});
    if !question.body.is_empty() {
        event["body"] = question.body.into();
    }
    event.to_string()
}

/// Has a bundled function answer an event.
pub(crate) async fn node(context: &SuiteContext, bundle: &Path, event: &str) -> Result<Said, Failed> {
    let mut command = command("node".as_ref(), &context.run_dir);
    run("node", command.args(["-e", NODE_DRIVER]).arg(bundle).arg(event)).await
}

pub(crate) async fn run(name: &str, command: &mut Command) -> Result<Said, Failed> {
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let output = within(LIMIT, name, command.output()).await?;
    let output = output.map_err(|error| format!("{name} could not be started: {error}"))?;
    Ok(Said {
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}
