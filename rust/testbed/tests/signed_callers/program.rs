//! The caller's proxy as a program of a laptop or a CI job, with the credentials that the AWS SDKs find.

use std::{
    process::Stdio,
    sync::Arc,
    time::{Duration, SystemTime},
};

use aws_credential_types::Credentials;
use libtest_mimic::{Failed, Trial};
use nix::sys::signal::Signal;
use testbed::{
    caller_layer::ADDRESS,
    deadline::within,
    process::{Process, command},
    raw_target::{Move, RawTarget},
    signed::REGION,
    stack::TestStack,
    target::PORT,
};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use tokio::{io::AsyncReadExt, net::TcpStream, process::Command, sync::Semaphore};

use crate::{
    SuiteContext, TestResult,
    layer::{error_of, send},
};

const NAME: &str = "tailscale-lambda-caller";
/// How long its start or its end may take.
const LIMIT: Duration = Duration::from_secs(10);

pub(crate) fn trials(context: &Arc<SuiteContext>) -> Vec<Trial> {
    testbed::trials![context;
        "program: signs with the keys of a profile, of a process, and of the environment" => signs,
        "program: takes a container's role, and renews its credentials before they expire, while requests go on"
            => container,
        "program: an open request gets its response after SIGTERM" => ends,
        "program: it names what is missing or wrong, and the fix" => refuses,
    ]
}

/// The proxy's Function URL.
fn url(stack: &TestStack) -> String {
    format!("http://{}/", stack.url().address)
}

/// A section of an AWS configuration that has a key.
fn keys(section: &str, id: &str, secret: &str) -> String {
    format!("[{section}]\nregion = {REGION}\naws_access_key_id = {id}\naws_secret_access_key = {secret}\n")
}

/// The program, with an AWS configuration of these lines, and nothing else to find credentials in.
fn program(context: &SuiteContext, configuration: &str) -> Result<Command, Failed> {
    let file = context.run_dir.join("aws-config");
    std::fs::write(&file, configuration)?;
    let program = context.binaries.root.join("rust/target/debug").join(NAME);
    let mut command = command(&program, &context.run_dir);
    command
        .env("AWS_CONFIG_FILE", &file)
        .env("AWS_SHARED_CREDENTIALS_FILE", context.run_dir.join("none"))
        .env("AWS_EC2_METADATA_DISABLED", "true");
    Ok(command)
}

async fn start(command: &mut Command) -> Result<Process, Failed> {
    let (process, mut output) = Process::spawn_reading(NAME, command)?;
    let line = process.ready(LIMIT, "its port", output.recv()).await?;
    let listening = format!("listening on http://{ADDRESS}; ");
    assert!(
        line.as_ref().is_some_and(|line| line.starts_with(&listening)),
        "{line:?}"
    );
    Ok(process)
}

/// Starts it with `--url`, asks the target by it with curl, and stops it.
async fn serves(context: &SuiteContext, stack: &TestStack, program: &mut Command) -> TestResult {
    let process = start(program.args(["--url", &url(stack)])).await?;
    let mut curl = command("curl".as_ref(), &context.run_dir);
    curl.env("http_proxy", format!("http://localhost:{}", ADDRESS.port()))
        .args(["-sS", "--fail", &format!("http://target:{PORT}/get?a=1")])
        .stderr(Stdio::inherit());
    let output = within(LIMIT, "curl", curl.output()).await??;
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout)
        .map_err(|error| format!("curl: {error}: {:?}\n{}", output.stdout, process.log().tail()))?;
    assert_eq!(answer["args"], serde_json::json!({"a": ["1"]}), "{answer}");
    let exit = process.stop(LIMIT).await;
    assert!(exit.status.success(), "{exit}");
    Ok(())
}

async fn signs(context: Arc<SuiteContext>) -> TestResult {
    let stack = context.stack(|_| ()).await?;
    let caller = stack.url().caller;
    let (id, secret) = (caller.access_key_id(), caller.secret_access_key());
    let mut by_profile = program(&context, &keys("profile office", id, secret))?;
    by_profile
        .args(["--profile", "office"])
        .env("AWS_ACCESS_KEY_ID", "AKIAANOTHER")
        .env("AWS_SECRET_ACCESS_KEY", "less than what is named");
    serves(&context, &stack, &mut by_profile).await?;

    let said = context.run_dir.join("credentials.json");
    let printed = serde_json::json!({"Version": 1, "AccessKeyId": id, "SecretAccessKey": secret});
    // <https://docs.aws.amazon.com/sdkref/latest/guide/feature-process-credentials.html>
    std::fs::write(&said, printed.to_string())?;
    let process = format!(
        "[default]\nregion = {REGION}\ncredential_process = cat {}\n",
        said.display()
    );
    serves(&context, &stack, &mut program(&context, &process)?).await?;

    let mut by_environment = program(&context, "")?;
    by_environment
        .env("AWS_REGION", REGION)
        .env("AWS_ACCESS_KEY_ID", id)
        .env("AWS_SECRET_ACCESS_KEY", secret);
    serves(&context, &stack, &mut by_environment).await?;

    let forged = keys("default", id, "another");
    let process = start(program(&context, &forged)?.args(["--url", &url(&stack)])).await?;
    let answer = send("GET", &format!("http://target:{PORT}/get"), "").await?;
    let (status, name, message) = error_of(&answer);
    assert_eq!((status, name), (403, "CallerNotAllowed"), "{message}");
    assert!(
        message.contains("AWS rejected the signature of the caller"),
        "{message}"
    );
    process.stop(LIMIT).await;
    stack.end().await
}

async fn container(context: Arc<SuiteContext>) -> TestResult {
    let role = Credentials::new("ASIATASK", "the task's secret", Some("token".into()), None, "test");
    let stack = context.stack(|function| function.callers.push(role.clone())).await?;
    let agent = RawTarget::start().await?;
    // They expire soon: the first request begins a renewal.
    agent.play([role_credentials(&role, "another", Duration::from_secs(60))?]);
    let mut program = program(&context, "")?;
    program
        .args(["--url", &url(&stack)])
        .env("AWS_REGION", REGION)
        .env(
            "AWS_CONTAINER_CREDENTIALS_FULL_URI",
            format!("http://{}/role", agent.address()),
        )
        .env("AWS_CONTAINER_AUTHORIZATION_TOKEN", "the task's");
    let process = start(&mut program).await?;
    let goes_on = Arc::new(Semaphore::new(0));
    let lasting = role_credentials(&role, role.secret_access_key(), Duration::from_secs(3600))?;
    agent.play([Move::Await(Arc::clone(&goes_on)), lasting]);
    let asked = agent.seen().len();
    let url = format!("http://target:{PORT}/get");
    let answer = send("GET", &url, "").await?;
    assert_eq!(error_of(&answer).1, "CallerNotAllowed", "{answer:?}");
    within(LIMIT, "the renewal", agent.seen().find(asked, |_| Some(()))).await?;
    goes_on.add_permits(1);
    let renewed = async {
        while send("GET", &url, "").await?.status() != 200 {}
        Ok::<_, Failed>(())
    };
    within(LIMIT, "a request with the renewed credentials", renewed).await??;
    let answer = send("GET", &url, "").await?;
    assert_eq!(answer.status(), 200, "{answer:?}\n{}", process.log().tail());
    let seen = agent
        .only_since(asked)
        .ok_or("asked other than once for what lasts an hour")?;
    assert_eq!(seen.line, "GET /role HTTP/1.1");
    assert!(
        seen.headers
            .contains(&("authorization".to_owned(), b"the task's".to_vec())),
        "{seen:?}"
    );
    process.stop(LIMIT).await;
    stack.end().await
}

/// As the agent of ECS gives a task its role's.
/// <https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html>
fn role_credentials(role: &Credentials, secret: &str, lasts: Duration) -> Result<Move, Failed> {
    let body = serde_json::json!({
        "AccessKeyId": role.access_key_id(),
        "SecretAccessKey": secret,
        "Token": role.session_token(),
        "Expiration": OffsetDateTime::from(SystemTime::now() + lasts).format(&Rfc3339)?,
    })
    .to_string();
    let length = body.len();
    let answer = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}");
    Ok(Move::Send(answer.into()))
}

async fn ends(context: Arc<SuiteContext>) -> TestResult {
    let stack = context.stack(|_| ()).await?;
    let caller = stack.url().caller;
    let (id, secret) = (caller.access_key_id(), caller.secret_access_key());
    let profile = format!("[default]\naws_access_key_id = {id}\naws_secret_access_key = {secret}\n");
    let mut program = program(&context, &profile)?;
    let process = start(program.args(["--url", &url(&stack), "--region", REGION])).await?;
    let raw = RawTarget::start().await?;
    let goes_on = Arc::new(Semaphore::new(0));
    raw.play([
        Move::Await(Arc::clone(&goes_on)),
        Move::Send("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nlate".into()),
    ]);
    let mut idle = TcpStream::connect(ADDRESS).await?;
    let asked = format!("http://target:{}/", raw.address().port());
    let open = tokio::spawn(async move { send("GET", &asked, "").await });
    within(LIMIT, "the request", raw.seen().find(0, |_| Some(()))).await?;
    process.signal(Signal::SIGTERM).await;
    // It closes what is idle once it ends, and the port before.
    let read = within(LIMIT, "the end of an idle connection", idle.read(&mut [0; 1])).await??;
    assert_eq!(read, 0);
    let refused = TcpStream::connect(ADDRESS).await;
    assert!(refused.is_err(), "{refused:?}");
    goes_on.add_permits(1);
    let answer = within(LIMIT, "the response", open).await???;
    assert_eq!(answer.body(), "late");
    let exit = within(LIMIT, "its end", process.exited()).await?;
    assert!(exit.status.success(), "{exit}");
    stack.end().await
}

async fn refuses(context: Arc<SuiteContext>) -> TestResult {
    const URL: &str = "--url https://abc.lambda-url.eu-west-1.on.aws/";
    const NONE: &str = "no AWS credentials to sign with";
    let keys = &*keys("default", "AKIA", "secret");
    for (configuration, url, more, code, words) in [
        ("", URL, "", 1, &[NONE, "aws sso login"][..]),
        (
            "",
            URL,
            "--profile office",
            1,
            &[NONE, "no profile 'office'", "aws sso login"],
        ),
        (keys, "", "", 2, &["--url (TS_PROXY_URL) is not set"]),
        (
            keys,
            "--url office",
            "",
            2,
            &["--url (TS_PROXY_URL) is 'office', but must be"],
        ),
        (
            keys,
            URL,
            "--listen 0.0.0.0:8055",
            2,
            &["--listen (TS_PROXY_LISTEN) is '0.0.0.0:8055'", "--allow-remote"],
        ),
        (
            keys,
            URL,
            "--listen 192.0.2.1:8055 --allow-remote",
            1,
            &["--listen (TS_PROXY_LISTEN) is '192.0.2.1:8055', where the proxy cannot listen"],
        ),
    ] {
        let arguments: Vec<&str> = url.split_whitespace().chain(more.split_whitespace()).collect();
        let process = Process::spawn(NAME, program(&context, configuration)?.args(&arguments))?;
        let exit = within(LIMIT, "its end", process.exited()).await?;
        assert_eq!(exit.status.code(), Some(code), "{arguments:?}: {exit}");
        for words in words {
            assert!(exit.log.contains(words), "{arguments:?}: {exit}");
        }
        assert!(!exit.log.contains("secret\n"), "{exit}");
    }
    Ok(())
}
