//! One request by each language's own client: a query, cookies, Basic authentication and a body of every byte.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::Duration,
};

use base64::{Engine, prelude::BASE64_URL_SAFE};
use libtest_mimic::{Failed, Trial};
use serde_json::{Value, json};
use testbed::{
    bundle::build_go,
    caller_layer::{ADDRESS, CallerLayer},
    deadline::within,
    process::command,
    target::PORT,
};
use tokio::process::Command;

use crate::{SuiteContext, TestResult};

/// How long a client may take.
const LIMIT: Duration = Duration::from_secs(100);
const NODE: &str = "const [url, file] = process.argv.slice(1);
fetch(url, { method: 'POST', body: require('fs').readFileSync(file),
    headers: { cookie: 'a=1; b=2', authorization: 'Basic dTpw', 'content-type': 'application/octet-stream' } })
    .then(async (answer) => console.log(await answer.text()));";
const REQUESTS: &str = "import sys, requests
answer = requests.post(sys.argv[1], data=open(sys.argv[2], 'rb').read(), cookies={'a': '1', 'b': '2'}, auth=('u', 'p'),
    headers={'content-type': 'application/octet-stream'})
print(answer.text)";
const HTTPX: &str = "import sys, httpx
answer = httpx.post(sys.argv[1], content=open(sys.argv[2], 'rb').read(), auth=('u', 'p'),
    headers={'cookie': 'a=1; b=2', 'content-type': 'application/octet-stream'})
print(answer.text)";
/// The URL and the file come last, as they do for the others.
const CURL: &str = "exec curl -sS -u u:p -H 'cookie: a=1; b=2' -H 'content-type: application/octet-stream' \
    --data-binary @\"$1\" \"$0\"";
const URLLIB: &str = "import sys, urllib.request
request = urllib.request.Request(sys.argv[1], data=open(sys.argv[2], 'rb').read(), headers={'cookie': 'a=1; b=2',
    'authorization': 'Basic dTpw', 'content-type': 'application/octet-stream'})
print(urllib.request.urlopen(request).read().decode())";
const GO: &str = r#"package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
)

func main() {
	body, err := os.Open(os.Args[2])
	check(err)
	request, err := http.NewRequest("POST", os.Args[1], body)
	check(err)
	request.Header.Set("cookie", "a=1; b=2")
	request.Header.Set("content-type", "application/octet-stream")
	request.SetBasicAuth("u", "p")
	answer, err := http.DefaultClient.Do(request)
	check(err)
	text, err := io.ReadAll(answer.Body)
	check(err)
	fmt.Println(string(text))
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
"#;

pub(crate) fn trials(context: &Arc<SuiteContext>) -> Vec<Trial> {
    testbed::trials![context;
        "clients: curl, Python, Node.js and Go sign nothing, and the target sees their request" => each,
    ]
}

async fn each(context: Arc<SuiteContext>) -> TestResult {
    let stack = context.stack(|_| ()).await?;
    let url = stack.url();
    let layer = CallerLayer::start(&context.binaries, &context.run_dir, &url.address, &url.caller).await?;
    let body: Vec<u8> = (0..=255).collect();
    let file = context.run_dir.join("every-byte");
    std::fs::write(&file, &body)?;
    let go = go(&context.run_dir)?;
    let (python, node) = (context.binaries.root.join(".venv/bin/python"), &context.binaries.node);
    let data = format!("data:application/octet-stream;base64,{}", BASE64_URL_SAFE.encode(&body));
    let clients: [(&str, &Path, &[&str]); 6] = [
        ("requests", &python, &["-c", REQUESTS]),
        ("httpx", &python, &["-c", HTTPX]),
        ("urllib", &python, &["-c", URLLIB]),
        ("curl", "sh".as_ref(), &["-c", CURL]),
        ("Go net/http", &go, &[]),
        ("Node.js fetch", node, &["-e", NODE]),
    ];
    for (name, program, arguments) in clients {
        let address = stack.backends.target.node.address().to_string();
        for host in [&address, "target"] {
            let asked = format!("http://{host}:{PORT}/post?month=11&name=J%C3%BCrgen%20M&month=12");
            let mut command = command(program, &context.run_dir);
            tell(&mut command).args(arguments).arg(&asked).arg(&file);
            let said = run(name, &mut command).await?;
            let answer: Value = serde_json::from_str(&said).map_err(|error| format!("{name}: {error}: {said}"))?;
            let args = json!({"month": ["11", "12"], "name": ["Jürgen M"]});
            assert_eq!(answer["args"], args, "{name}");
            assert_eq!(answer["headers"]["Cookie"], json!(["a=1; b=2"]), "{name}");
            assert_eq!(answer["headers"]["Authorization"], json!(["Basic dTpw"]), "{name}");
            assert_eq!(answer["headers"]["Host"], json!([format!("{host}:{PORT}")]), "{name}");
            assert_eq!(answer["data"], data, "{name}");
            let headers = answer["headers"].as_object().unwrap();
            let told_of_aws = |name: &&String| {
                let name = name.to_ascii_lowercase();
                name.starts_with("x-amz") || name.starts_with("ts-") || name.starts_with("proxy-")
            };
            assert_eq!(headers.keys().find(told_of_aws), None, "{name}");
        }
        eprintln!("{name}: passed");
    }
    drop(layer);
    stack.end().await
}

/// Tells a client of the layer, as `addCaller` does.
fn tell(command: &mut Command) -> &mut Command {
    let proxy = format!("http://localhost:{}", ADDRESS.port());
    command
        .env("HTTP_PROXY", &proxy)
        .env("http_proxy", &proxy)
        .env("NODE_USE_ENV_PROXY", "1")
}

fn go(run_dir: &Path) -> Result<PathBuf, Failed> {
    let (source, program) = (run_dir.join("client.go"), run_dir.join("go-client"));
    std::fs::write(&source, GO)?;
    match build_go(&source, &program) {
        true => Ok(program),
        false => Err("`go build` does not work here".into()),
    }
}

async fn run(name: &str, command: &mut Command) -> Result<String, Failed> {
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let output = within(LIMIT, name, command.output()).await?;
    let output = output.map_err(|error| format!("{name} could not be started: {error}"))?;
    if !output.status.success() {
        let error = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{name} failed with {}: {error}", output.status).into());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
