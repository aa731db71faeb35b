//! A function whose handler is not ours: it knows nothing of this project, and finds the tailnet behind localhost:1055.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use libtest_mimic::Failed;
use serde_json::{Value, json};

use crate::{lambda::Function, package::write_zip, suite::Setting, world::World};

/// The handler's zip: it does as it is told.
pub fn handler(setting: &Setting) -> Result<PathBuf, Failed> {
    handler_with(setting, "foreign", &[])
}

/// The same, with more files: name within `/var/task`, and where each is.
pub fn handler_with(setting: &Setting, name: &str, files: &[(String, PathBuf)]) -> Result<PathBuf, Failed> {
    package(setting, name, &setting.binaries.scripted_function, files)
}

/// The zip of another handler.
pub fn package(
    setting: &Setting,
    name: &str,
    bootstrap: &Path,
    files: &[(String, PathBuf)],
) -> Result<PathBuf, Failed> {
    let path = setting.run_dir.join(format!("{name}.zip"));
    let bootstrap = ("bootstrap".to_owned(), bootstrap.to_owned());
    let all = [&bootstrap].into_iter().chain(files);
    write_zip(&path, all.map(|(name, file)| Ok((name.clone(), std::fs::read(file)?))))?;
    Ok(path)
}

/// Makes a function one with this handler, which has the extension's layer and its variables alone.
pub fn be(function: &mut Function, handler: &Path) {
    function.settings.insert("handlerZip".into(), json!(handler));
    function.environment.remove("TS_DIRECT_SOCKS");
}

/// Has the handler do something.
pub async fn tell(world: &World, what: Value) -> Result<Value, Failed> {
    let request = world
        .url()
        .request("POST", "/")
        .header("content-type", "application/json");
    let answer = world.url().send(request.body(Bytes::from(what.to_string()))?).await?;
    assert_eq!(answer.status(), 200, "{answer:?}\n{}", world.log());
    Ok(serde_json::from_slice(answer.body())?)
}
