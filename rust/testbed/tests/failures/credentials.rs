//! There is no key: Secrets Manager, the secret itself, the exchange of a client secret. And nobody sees the key.

use std::{path::Path, sync::Arc};

use libtest_mimic::Trial;
use testbed::{
    stack::{AUTH_KEY, TestStack},
    vitals::pids,
};

use crate::{SuiteContext, TestResult, answered, fails_soon, get, logged, says_why, set, without_freeze};

pub(crate) fn trials(context: &Arc<SuiteContext>) -> Vec<Trial> {
    testbed::trials![context;
        "a secret that does not exist is reported" => missing,
        "an unreachable Secrets Manager is reported" => unreachable,
        "a secret that is not what the function was told is told without its text"
            => |context| keyless(context, "tskey-auth-hidden",
                "': it is not JSON, so it has no field 'tailscale'; fix: correct it"),
        "a client secret without tags is told without its text"
            => |context| keyless(context, r#"{"tailscale":"tskey-client-hidden"}"#,
                "': an OAuth client secret needs tags; fix: set tsAdvertiseTags"),
        "a field of a JSON secret serves as the key" => field,
        "the key appears in no log, command line, environment or file" => unseen,
    ]
}

async fn missing(context: Arc<SuiteContext>) -> TestResult {
    let stack = context
        .stack(|function| set(function, "TS_SECRET_API_KEY", "no-such-secret"))
        .await?;
    let words = [
        "NoAuthKey: cannot read an auth key from secret 'no-such-secret': ResourceNotFoundException",
        "; fix: check that the secret exists",
    ];
    fails_soon(&stack, &words).await?;
    stack.end().await
}

async fn unreachable(context: Arc<SuiteContext>) -> TestResult {
    let stack = context
        .stack(|function| set(function, "AWS_ENDPOINT_URL_SECRETS_MANAGER", "http://192.0.2.2:9"))
        .await?;
    let (answer, _) = get(&stack).await?;
    let words = [
        "NoAuthKey: cannot read an auth key",
        "; fix: check the function's way to Secrets Manager",
    ];
    says_why(&stack, &answer, &words).await;
    stack.end().await
}

async fn keyless(context: Arc<SuiteContext>, text: &str, words: &'static str) -> TestResult {
    let stack = context
        .stack_with_secret(text, |function| set(function, "TS_SECRET_FIELD", "tailscale"))
        .await?;
    let start = "NoAuthKey: cannot read an auth key from secret '";
    fails_soon(&stack, &[start, words]).await?;
    assert_eq!(shown(&stack, "hidden"), None);
    stack.end().await
}

async fn field(context: Arc<SuiteContext>) -> TestResult {
    let object = format!(r#"{{"tailscale":"{AUTH_KEY}","other":1}}"#);
    let stack = context
        .stack_with_secret(&object, |function| set(function, "TS_SECRET_FIELD", "tailscale"))
        .await?;
    answered(&stack).await?;
    stack.end().await
}

/// The first line of the function's log that shows `secret`.
fn shown(stack: &TestStack, secret: &str) -> Option<String> {
    let log = stack.lambda.process.log();
    log.look(0, |line| line.contains(secret).then(|| line.clone()))
}

async fn unseen(context: Arc<SuiteContext>) -> TestResult {
    let stack = context
        .stack(|function| {
            set(function, "TS_DEBUG", "true");
            // So that its processes can be looked at.
            without_freeze(function);
        })
        .await?;
    answered(&stack).await?;
    logged(&stack, 0, "tailscaled: ").await;
    assert_eq!(shown(&stack, AUTH_KEY), None);
    let (extension, daemon) = (pids("/opt/extensions/"), pids("/opt/bin/tailscaled"));
    assert_eq!((extension.len(), daemon.len()), (1, 1), "the extension, and its daemon");
    for pid in [extension, daemon].concat() {
        for file in ["cmdline", "environ"] {
            let text = std::fs::read(format!("/proc/{pid}/{file}"))?;
            assert!(!contains(&text), "{file} of {pid} shows the key");
        }
        look_through(format!("/proc/{pid}/root/tmp").as_ref());
    }
    stack.end().await
}

fn look_through(folder: &Path) {
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let (path, kind) = (entry.path(), entry.file_type().unwrap());
        if kind.is_dir() {
            look_through(&path);
        } else if kind.is_file() {
            assert!(!contains(&std::fs::read(&path).unwrap()), "{path:?} shows the key");
        }
    }
}

fn contains(text: &[u8]) -> bool {
    text.windows(AUTH_KEY.len()).any(|window| window == AUTH_KEY.as_bytes())
}
