//! Clients in Python, with the packages that the project's own environment holds.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
};

use libtest_mimic::Failed;
use testbed::{binaries::python_packages, scripted_handler, suite::SuiteContext};

/// Runs the scripts, within the function.
pub(crate) const PYTHON: &str = "/usr/bin/python3";
/// What `requests` consists of.
pub(crate) const REQUESTS: [&str; 5] = ["requests", "urllib3", "idna", "certifi", "charset_normalizer"];
/// What `httpx` consists of, beside what `requests` has.
pub(crate) const HTTPX: [&str; 5] = ["httpx", "httpcore", "h11", "anyio", "typing_extensions.py"];
/// What `boto3` consists of.
pub(crate) const BOTO3: [&str; 7] = [
    "boto3",
    "botocore",
    "dateutil",
    "jmespath",
    "s3transfer",
    "six.py",
    "urllib3",
];
/// What `psycopg` consists of, with its own build of libpq.
pub(crate) const PSYCOPG: [&str; 4] = [
    "psycopg",
    "psycopg_binary",
    "psycopg_binary.libs",
    "typing_extensions.py",
];
/// What `PyMySQL` consists of.
pub(crate) const PYMYSQL: [&str; 1] = ["pymysql"];
/// What `redis` consists of.
pub(crate) const REDIS: [&str; 2] = ["redis", "async_timeout"];

/// The function's zip with one script, which finds these packages in `/var/task/python`, and more files.
pub(crate) fn handler(
    context: &SuiteContext,
    script: &str,
    packages: &[&str],
    more: &[(String, PathBuf)],
) -> Result<PathBuf, Failed> {
    let own = context.binaries.root.join("rust/testbed/tests/local_ports/clients");
    let mut all = files(context, packages)?;
    all.push((script.to_owned(), own.join(script)));
    all.extend_from_slice(more);
    scripted_handler::build_with(context, script, &all)
}

/// The packages' files: name within `/var/task`, and where each is.
pub(crate) fn files(context: &SuiteContext, packages: &[&str]) -> Result<Vec<(String, PathBuf)>, Failed> {
    let found = python_packages(&context.binaries.root);
    let mut files = Vec::new();
    for package in packages {
        pack(&found.join(package), &format!("python/{package}"), &mut files)?;
    }
    Ok(files)
}

fn pack(path: &Path, name: &str, files: &mut Vec<(String, PathBuf)>) -> Result<(), Failed> {
    if !path.is_dir() {
        files.push((name.to_owned(), path.to_owned()));
        return Ok(());
    }
    for entry in std::fs::read_dir(path)? {
        let path = entry?.path();
        if is_needed(&path) {
            let file = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
            pack(&path, &format!("{name}/{file}"), files)?;
        }
    }
    Ok(())
}

/// What was compiled is not where Python runs the sources, too; nor are the SDK's descriptions of services, 30 MB of them, but
/// for the one service that is called.
fn is_needed(path: &Path) -> bool {
    if path.is_dir() {
        let described = path.parent().is_some_and(|parent| parent.ends_with("botocore/data"));
        !path.ends_with("__pycache__") && (!described || path.ends_with("sts"))
    } else {
        let alone = path.parent().is_some_and(|parent| parent.ends_with("psycopg_binary"));
        path.extension() != Some(OsStr::new("so")) || alone
    }
}
