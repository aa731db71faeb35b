//! Programs that are built for a test: JavaScript and TypeScript of the repository, bundled as the CDK bundles a function, and Go.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use libtest_mimic::Failed;

use crate::{deadline::within, process::command, suite::SuiteContext};

/// How long esbuild may take.
const LIMIT: Duration = Duration::from_secs(30);

/// Bundles `source`, a path within the repository, with all that it imports into one file of CommonJS, and returns where that is.
pub async fn bundle(context: &SuiteContext, source: &str) -> Result<PathBuf, Failed> {
    let bundle = context.run_dir.join(source.replace('/', "-")).with_extension("js");
    if bundle.exists() {
        return Ok(bundle);
    }
    let root = &context.binaries.root;
    let mut command = command(&root.join("node_modules/.bin/esbuild"), &context.run_dir);
    command.arg(root.join(source));
    command.args(["--bundle", "--platform=node", "--log-level=warning"]);
    command.arg(format!("--outfile={}", bundle.display()));
    command.kill_on_drop(true);
    let output = within(LIMIT, "esbuild", command.output()).await??;
    if output.status.success() {
        Ok(bundle)
    } else {
        Err(format!("{source}: {}", String::from_utf8_lossy(&output.stderr)).into())
    }
}

/// Builds a program of Go, which needs no C library. False: `go build` has said why it does not work here.
pub fn build_go(source: &Path, output: &Path) -> bool {
    let mut command = Command::new("go");
    command
        .args(["build", "-o"])
        .arg(output)
        .arg(source)
        .env("CGO_ENABLED", "0")
        .env("GOFLAGS", "-mod=mod");
    command.status().is_ok_and(|status| status.success())
}
