//! A function whose handler is not ours: it knows nothing of this project, and finds the tailnet behind localhost:1055.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use libtest_mimic::Failed;
use serde_json::{Value, json};

use crate::{lambda::Function, package::write_zip, stack::TestStack, suite::SuiteContext};

/// The handler's zip: it does as it is told.
pub fn build(context: &SuiteContext) -> Result<PathBuf, Failed> {
    build_with(context, "foreign", &[])
}

/// The same, with more files: name within `/var/task`, and where each is.
pub fn build_with(context: &SuiteContext, name: &str, files: &[(String, PathBuf)]) -> Result<PathBuf, Failed> {
    let path = context.run_dir.join(format!("{name}.zip"));
    let bootstrap = ("bootstrap".to_owned(), context.binaries.scripted_function.clone());
    let all = [&bootstrap].into_iter().chain(files);
    write_zip(&path, all.map(|(name, file)| Ok((name.clone(), std::fs::read(file)?))))?;
    Ok(path)
}

/// Makes a function one with this handler, which has the extension's layer and its variables alone.
pub fn install(function: &mut Function, handler: &Path) {
    function.settings.insert("handlerZip".into(), json!(handler));
    function.environment.remove("TS_DIRECT_SOCKS");
}

/// Has the handler do something.
pub async fn run(stack: &TestStack, what: Value) -> Result<Value, Failed> {
    let request = stack
        .url()
        .request("POST", "/")
        .header("content-type", "application/json");
    let answer = stack.url().send(request.body(Bytes::from(what.to_string()))?).await?;
    assert_eq!(answer.status(), 200, "{answer:?}\n{}", stack.log());
    Ok(serde_json::from_slice(answer.body())?)
}
