//! There is no key: Secrets Manager, the secret itself, the exchange of a client secret. And nobody sees the key.

use std::sync::Arc;

use libtest_mimic::Trial;
use testbed::{
    vitals::pids,
    world::{AUTH_KEY, World},
};

use crate::{Outcome, Setting, answered, awake, fails_soon, get, logged, set};

pub(crate) fn trials(setting: &Arc<Setting>) -> Vec<Trial> {
    testbed::trials![setting;
        "a secret that does not exist is told" => missing,
        "a Secrets Manager that cannot be reached is told" => unreachable,
        "each secret that brings no key is told in its own words" => keyless,
        "a field of a JSON secret serves as the key" => field,
        "the key shows in no log, command line, environment or file" => unseen,
    ]
}

async fn missing(setting: Arc<Setting>) -> Outcome {
    let world = setting
        .world(|function| set(function, "TS_SECRET_API_KEY", "no-such-secret"))
        .await?;
    let words = [
        "NoAuthKey: cannot read an auth key from secret 'no-such-secret': ResourceNotFoundException",
        "; fix: check that the secret exists",
    ];
    fails_soon(&world, &words).await?;
    world.end().await
}

async fn unreachable(setting: Arc<Setting>) -> Outcome {
    let world = setting
        .world(|function| set(function, "AWS_ENDPOINT_URL_SECRETS_MANAGER", "http://192.0.2.2:9"))
        .await?;
    let (answer, _) = get(&world).await?;
    crate::says_why(
        &world,
        &answer,
        &[
            "NoAuthKey: cannot read an auth key",
            "; fix: check the function's way to Secrets Manager",
        ],
    )
    .await;
    world.end().await
}

/// The table in docs/troubleshooting.md has these.
async fn keyless(setting: Arc<Setting>) -> Outcome {
    const OBJECT: &str = r#"{"tailscale":"tskey-auth-hidden","empty":"","list":["tskey-auth-hidden"]}"#;
    let mut surroundings = setting.surroundings().await?;
    for (text, field, tags, words) in [
        (
            OBJECT,
            "empty",
            "",
            "it is empty; fix: store the Tailscale auth key in it",
        ),
        (
            OBJECT,
            "",
            "",
            "it is a JSON object; fix: name the field that holds the key",
        ),
        (
            "tskey-auth-hidden",
            "key",
            "",
            "it is not JSON, so it has no field 'key'; fix: correct it",
        ),
        (
            OBJECT,
            "key",
            "",
            "it has no field 'key'; fix: name the field that holds the key",
        ),
        (
            OBJECT,
            "list",
            "",
            "its field 'list' is not a string; fix: name the field that holds the key",
        ),
        (
            "tskey-client-hidden",
            "",
            "",
            "an OAuth client secret needs tags; fix: set tsAdvertiseTags",
        ),
        (
            "tskey-client-hidden?ephemeral=perhaps",
            "",
            "tag:lambda",
            "the OAuth client secret's attribute 'ephemeral' must be true or false; fix: correct it",
        ),
        (
            "tskey-client-hidden?baseURL=http://192.0.2.2:9",
            "",
            "tag:lambda",
            "Tailscale's API at http://192.0.2.2:9 cannot be used: ",
        ),
    ] {
        surroundings.put_secret(text).await?;
        let world = surroundings
            .deploy(|function| {
                set(function, "TS_SECRET_FIELD", field);
                set(function, "TS_ADVERTISE_TAGS", tags);
            })
            .await?;
        fails_soon(
            &world,
            &[
                "NoAuthKey: cannot read an auth key from secret '",
                &format!("': {words}"),
            ],
        )
        .await?;
        assert_eq!(shown(&world, "hidden"), None);
        (surroundings, _) = world.undeploy().await;
    }
    surroundings.stop().await;
    Ok(())
}

async fn field(setting: Arc<Setting>) -> Outcome {
    let object = serde_json::json!({"tailscale": AUTH_KEY, "other": 1}).to_string();
    let world = setting
        .world_with_secret(&object, |function| set(function, "TS_SECRET_FIELD", "tailscale"))
        .await?;
    answered(&world).await?;
    world.end().await
}

/// The first line of the function's log that shows `secret`.
fn shown(world: &World, secret: &str) -> Option<String> {
    let log = world.lambda.process.log();
    log.look(0, |line| line.contains(secret).then(|| line.clone()))
}

async fn unseen(setting: Arc<Setting>) -> Outcome {
    let world = setting
        .world(|function| {
            set(function, "TS_DEBUG", "true");
            // So that its processes can be looked at.
            awake(function);
        })
        .await?;
    answered(&world).await?;
    logged(&world, 0, "tailscaled: ").await;
    assert_eq!(shown(&world, AUTH_KEY), None);
    let (extension, daemon) = (pids("/opt/extensions/"), pids("/opt/bin/tailscaled"));
    assert_eq!((extension.len(), daemon.len()), (1, 1), "the extension, and its daemon");
    for pid in [extension, daemon].concat() {
        for file in ["cmdline", "environ"] {
            let text = std::fs::read(format!("/proc/{pid}/{file}"))?;
            assert!(!contains(&text), "{file} of {pid} shows the key");
        }
        look_through(&format!("/proc/{pid}/root/tmp").into());
    }
    world.end().await
}

fn look_through(folder: &std::path::PathBuf) {
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            look_through(&entry.path());
        } else if kind.is_file() {
            assert!(
                !contains(&std::fs::read(entry.path()).unwrap()),
                "{:?} shows the key",
                entry.path()
            );
        }
    }
}

fn contains(text: &[u8]) -> bool {
    text.windows(AUTH_KEY.len()).any(|window| window == AUTH_KEY.as_bytes())
}
