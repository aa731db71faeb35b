//! Where the function runs: its user, its files, its network, its variables.

use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::script::Script;

/// As root with a plain network namespace, and as without root, in a user namespace that has a single id.
fn both_ways(check: impl Fn(Script)) {
    check(Script::new());
    check(Script::new().unprivileged());
}

fn status_field(who: &Value, name: &str) -> String {
    let status = who["status"].as_str().unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().to_owned()
}

#[test]
fn the_function_is_lambdas_user_without_rights_who_may_write_to_tmp_alone_and_sees_no_process_of_others() {
    both_ways(|script| {
        let run = script.extension("one", "").run();
        let who = run.call(&json!({ "do": "who" })).json();
        assert_eq!(
            (status_field(&who, "Uid:"), status_field(&who, "Gid:")),
            ("993".into(), "990".into())
        );
        for set in ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"] {
            assert_eq!(status_field(&who, set), "0000000000000000", "{set}");
        }
        assert_eq!(status_field(&who, "NoNewPrivs:"), "1");
        assert_eq!(who["folder"], "/var/task");
        assert_eq!(who["addresses"], json!(["lo 127.0.0.1", "vinternal_1 169.254.100.2"]));
        assert_eq!(who["processes"], 3, "the supervisor, the extension and the runtime");
        let outcomes = run.call(&json!({ "do": "write" })).json();
        for (folder, outcome) in outcomes.as_object().unwrap() {
            let expected = if folder == "/tmp" { "written" } else { "EROFS" };
            assert!(outcome.as_str().unwrap().starts_with(expected), "{folder}: {outcome}");
        }
        run.stop();
    });
}

#[test]
fn environments_do_not_see_each_other() {
    let mut run = Script::new().with("maxEnvironments", 2).run();
    let other = run.begin(&json!({ "do": "sleep", "ms": 500 }));
    run.state("invoking");
    let who = run.call(&json!({ "do": "who" })).json();
    assert_eq!(who["processes"], 2);
    assert_eq!(who["addresses"], json!(["lo 127.0.0.1", "vinternal_1 169.254.100.6"]));
    assert_eq!(other.finish().status, 200);
    run.stop();
}

#[test]
fn its_variables_are_lambdas_and_its_own() {
    let script = Script::new().with("memoryMb", 512);
    let run = script.runtime("").run();
    let variables = run.call(&json!({ "do": "who" })).json()["environment"].take();
    let mut names: Vec<_> = variables.as_object().unwrap().keys().map(String::as_str).collect();
    names.sort_unstable();
    let expected = [
        "AWS_ACCESS_KEY_ID",
        "AWS_DEFAULT_REGION",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
        "AWS_LAMBDA_FUNCTION_NAME",
        "AWS_LAMBDA_FUNCTION_VERSION",
        "AWS_LAMBDA_INITIALIZATION_TYPE",
        "AWS_LAMBDA_LOG_GROUP_NAME",
        "AWS_LAMBDA_LOG_STREAM_NAME",
        "AWS_LAMBDA_RUNTIME_API",
        "AWS_REGION",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_XRAY_CONTEXT_MISSING",
        "LAMBDA_RUNTIME_DIR",
        "LAMBDA_TASK_ROOT",
        "LANG",
        "LD_LIBRARY_PATH",
        "PATH",
        "SCRIPT_RUNTIME",
        "TZ",
        "_HANDLER",
    ];
    assert_eq!(names, expected);
    assert_eq!(variables["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"], "512");
    assert_eq!(variables["AWS_SESSION_TOKEN"], "role-token");
    run.stop();
}

#[test]
fn an_event_comes_with_the_documented_headers() {
    let run = Script::new().with("timeoutSeconds", 7).run();
    let who = run.call(&json!({ "do": "who" })).json();
    let headers = &who["headers"];
    let arn = "arn:aws:lambda:us-west-2:123456789012:function:scripted";
    assert_eq!(headers["lambda-runtime-invoked-function-arn"], arn);
    assert_eq!(headers["lambda-runtime-aws-request-id"].as_str().unwrap().len(), 36);
    let root = who["traceInEvent"].as_str().unwrap();
    let trace = headers["lambda-runtime-trace-id"].as_str().unwrap();
    assert!(
        root.starts_with("Root=1-") && trace.starts_with(&format!("{root};Parent=")),
        "{root} {trace}"
    );
    let left = who["deadlineInMs"].as_i64().unwrap();
    assert!((6_000..=7_000).contains(&left), "{left} ms");
    run.stop();
}

#[test]
fn the_cpu_share_is_what_the_memory_buys() {
    let script = Script::new().with("cpuQuota", true).with("memoryMb", 884);
    let mut run = match script.try_run() {
        Ok(run) => run,
        Err(log) => {
            assert!(log.contains("`cpuQuota` is true, but"), "{log}");
            // Not by `eprintln!`, which the test harness hides where a test passes.
            let mut out = std::io::stderr().lock();
            return writeln!(out, "NOT TESTED HERE: the CPU share: {log}").unwrap();
        }
    };
    assert_eq!(run.call(&json!({})).status, 200);
    let pid = run.process("runtime", "started")["pid"].as_u64().unwrap();
    let group = control_group(pid);
    let limit = |file: &str| std::fs::read_to_string(group.join(file)).unwrap_or_default();
    assert!(
        limit("cpu.cfs_quota_us") == "9994\n" || limit("cpu.max") == "9994 20000\n",
        "{}",
        group.display()
    );
    run.stop();
    assert!(!group.exists(), "{} is still there", group.display());
}

/// The group of local-lambda's making that a process is in.
fn control_group(pid: u64) -> PathBuf {
    let membership = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let mut groups = membership.lines().map(|line| line.rsplit(':').next().unwrap());
    let group = groups.find(|group| group.contains("local-lambda-")).unwrap();
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    let mut mounted = mounts.lines().map(|line| line.split(' ').nth(1).unwrap());
    let found = mounted.find_map(|mount| {
        let path = Path::new(mount).join(group.trim_start_matches('/'));
        path.exists().then_some(path)
    });
    found.unwrap_or_else(|| panic!("{group} is mounted nowhere"))
}
