//! What it says when it cannot run.

use std::process::{Command, Output, Stdio};

use super::script::Script;

fn local_lambda(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_local-lambda"))
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

#[test]
fn a_missing_configuration_is_named() {
    let output = local_lambda(&["--config", "/nowhere/function.json"]);
    assert_eq!(output.status.code(), Some(1));
    let log = String::from_utf8(output.stderr).unwrap();
    assert!(
        log.contains("cannot read the configuration /nowhere/function.json: No such file"),
        "{log}"
    );
    assert!(output.stdout.is_empty());
}

#[test]
fn a_wrong_value_is_named_with_its_remedy() {
    let Err(log) = Script::new().with("handlerZip", "absent.zip").try_run() else {
        panic!("it runs")
    };
    assert!(log.contains("absent.zip: No such file or directory"), "{log}");
    let Err(log) = Script::new().with("rootFilesystem", "/absent").try_run() else {
        panic!("it runs")
    };
    assert!(
        log.contains("`rootFilesystem` is /absent: name a folder that is there"),
        "{log}"
    );
}

#[test]
fn a_standard_input_that_is_no_listener_is_refused() {
    let Err(log) = Script::new().try_run_on(Stdio::null()) else {
        panic!("it runs")
    };
    assert!(
        log.contains("--listen-stdin: standard input is not a listening TCP socket"),
        "{log}"
    );
}
