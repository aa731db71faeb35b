//! The caller's proxy as a program of a laptop or a CI job, with the credentials that the AWS SDKs find.

use std::{path::Path, sync::Arc, time::Duration};

use libtest_mimic::{Failed, Trial};
use testbed::{
    caller_layer::ADDRESS,
    deadline::within,
    process::{Process, command},
    signed::REGION,
    target::PORT,
    world::World,
};
use tokio::process::Command;

use crate::{
    Outcome, Setting,
    layer::{error_of, send},
    trial,
};

const NAME: &str = "tailscale-lambda-caller";
/// How long its start or its end may take.
const LIMIT: Duration = Duration::from_secs(10);

pub(crate) fn trials(setting: &Arc<Setting>) -> Vec<Trial> {
    vec![
        trial(
            setting,
            "program: signs with the keys of a profile, of a process, and of the environment",
            signs,
        ),
        trial(
            setting,
            "program: says what is missing or wrong, and what to do about it",
            refuses,
        ),
    ]
}

/// The program, with an AWS configuration of these lines, and nothing else to find credentials in.
fn program(setting: &Setting, configuration: &str) -> Result<Command, Failed> {
    let file = setting.run_dir.join("aws-config");
    std::fs::write(&file, configuration)?;
    let program = setting.binaries.root.join("rust/target/debug").join(NAME);
    let mut command = command(&program, &setting.run_dir);
    command
        .env("AWS_CONFIG_FILE", &file)
        .env("AWS_SHARED_CREDENTIALS_FILE", setting.run_dir.join("none"))
        .env("AWS_EC2_METADATA_DISABLED", "true");
    Ok(command)
}

async fn start(command: &mut Command) -> Result<Process, Failed> {
    let process = Process::spawn(NAME, command)?;
    let listening = format!("listening on http://{ADDRESS}");
    let line = process.log().find(0, |line| line.contains(&listening).then_some(()));
    process.ready(LIMIT, "its port", line).await?;
    Ok(process)
}

/// Starts it with `--url`, asks the target by it, and stops it.
async fn serves(world: &World, command: &mut Command) -> Outcome {
    let url = format!("http://{}/", world.url().address);
    let process = start(command.args(["--url", &url])).await?;
    let answer = send("GET", &format!("http://target:{PORT}/get?a=1"), "").await?;
    assert_eq!(answer.status(), 200, "{answer:?}\n{}", process.log().tail());
    let exit = process.stop(LIMIT).await;
    assert!(exit.status.success(), "{exit}");
    Ok(())
}

async fn signs(setting: Arc<Setting>) -> Outcome {
    let world = setting.world(|_| ()).await?;
    let caller = world.url().caller;
    let (id, secret) = (caller.access_key_id(), caller.secret_access_key());
    let profile =
        format!("[profile office]\nregion = {REGION}\naws_access_key_id = {id}\naws_secret_access_key = {secret}\n");
    serves(&world, program(&setting, &profile)?.args(["--profile", "office"])).await?;

    let said = setting.run_dir.join("credentials.json");
    write_credentials(&said, id, secret)?;
    let process = format!(
        "[default]\nregion = {REGION}\ncredential_process = cat {}\n",
        said.display()
    );
    serves(&world, &mut program(&setting, &process)?).await?;

    let mut by_environment = program(&setting, "")?;
    by_environment
        .env("AWS_REGION", REGION)
        .env("AWS_ACCESS_KEY_ID", id)
        .env("AWS_SECRET_ACCESS_KEY", secret);
    serves(&world, &mut by_environment).await?;

    let forged = format!("[default]\nregion = {REGION}\naws_access_key_id = {id}\naws_secret_access_key = another\n");
    let url = format!("http://{}/", world.url().address);
    let process = start(program(&setting, &forged)?.args(["--url", &url])).await?;
    let answer = send("GET", &format!("http://target:{PORT}/get"), "").await?;
    let (status, name, message) = error_of(&answer);
    assert_eq!((status, name), (403, "CallerNotAllowed"), "{message}");
    assert!(
        message.contains("AWS rejected the signature of the caller"),
        "{message}"
    );
    process.stop(LIMIT).await;
    world.stop().await;
    Ok(())
}

/// As a credential process prints them.
/// <https://docs.aws.amazon.com/sdkref/latest/guide/feature-process-credentials.html>
fn write_credentials(file: &Path, id: &str, secret: &str) -> Outcome {
    let said = serde_json::json!({"Version": 1, "AccessKeyId": id, "SecretAccessKey": secret});
    Ok(std::fs::write(file, said.to_string())?)
}

async fn refuses(setting: Arc<Setting>) -> Outcome {
    const URL: [&str; 2] = ["--url", "https://abc.lambda-url.eu-west-1.on.aws/"];
    let keys = "[default]\naws_access_key_id = AKIA\naws_secret_access_key = secret\n";
    for (configuration, arguments, code, words) in [
        (
            "",
            &URL[..],
            1,
            &["no AWS credentials to sign with", "aws sso login"][..],
        ),
        (keys, &[], 2, &["--url"]),
        (
            keys,
            &["--url", "office"],
            2,
            &["TS_PROXY_URL is 'office', but must be"],
        ),
        (
            keys,
            &["--url", URL[1], "--listen", "0.0.0.0:8055"],
            2,
            &["--listen is '0.0.0.0:8055'", "--allow-remote"],
        ),
        (
            keys,
            &["--url", URL[1], "--listen", "192.0.2.1:8055", "--allow-remote"],
            1,
            &["--listen 192.0.2.1:8055 cannot be opened"],
        ),
    ] {
        let process = Process::spawn(NAME, program(&setting, configuration)?.args(arguments))?;
        let exit = within(LIMIT, "its end", process.exited()).await?;
        assert_eq!(exit.status.code(), Some(code), "{arguments:?}: {exit}");
        for words in words {
            assert!(exit.log.contains(words), "{arguments:?}: {exit}");
        }
        assert!(!exit.log.contains("secret\n"), "{exit}");
    }
    Ok(())
}
