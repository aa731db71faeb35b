//! Clients in JavaScript, bundled with their packages, and the Node.js that runs them.

use std::path::PathBuf;

use libtest_mimic::Failed;
use testbed::{bundle::bundle, suite::SuiteContext};

/// Runs the scripts, within the function.
pub(crate) const NODE: &str = "/var/task/node";

/// Node.js and these scripts, without `.mjs`: name within `/var/task`, and where each is.
pub(crate) async fn files(context: &SuiteContext, scripts: &[&str]) -> Result<Vec<(String, PathBuf)>, Failed> {
    let mut files = vec![("node".to_owned(), context.binaries.node.clone())];
    for script in scripts {
        let bundle = bundle(context, &format!("rust/testbed/tests/local_ports/clients/{script}.mjs")).await?;
        files.push((format!("{script}.js"), bundle));
    }
    Ok(files)
}
