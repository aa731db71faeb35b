//! Servers behind the target's machine.

use std::{
    ffi::OsStr,
    fs::OpenOptions,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use libtest_mimic::Failed;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use testbed::{
    control::MAGIC_DNS_DOMAIN,
    process::{Process, command},
    suite::SuiteContext,
    target,
};

/// How long a server may take to listen.
const START_LIMIT: Duration = Duration::from_secs(10);

/// The name of the machine that the servers are behind.
pub(crate) fn name() -> String {
    format!("{}.{MAGIC_DNS_DOMAIN}", target::HOSTNAME)
}

/// A certificate for [`name`], which nobody else vouches for, and its key: PEM files.
pub(crate) struct Certificate {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

impl Certificate {
    /// Makes the files `server.crt` and `server.key`, which its owner alone may read.
    pub(crate) fn make(folder: &Path) -> Result<Self, Failed> {
        let made = Self {
            certificate: folder.join("server.crt"),
            key: folder.join("server.key"),
        };
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed([name()])?;
        std::fs::write(&made.certificate, cert.pem())?;
        let mut options = OpenOptions::new();
        let mut key = options.write(true).create_new(true).mode(0o600).open(&made.key)?;
        key.write_all(signing_key.serialize_pem().as_bytes())?;
        Ok(made)
    }
}

/// Starts a server that takes `-address` and logs where it listens: which port is free, it finds out itself.
pub(crate) async fn start(
    context: &SuiteContext,
    name: &str,
    program: &Path,
    more: &[&OsStr],
) -> Result<(Process, u16), Failed> {
    let mut server = command(program, &context.run_dir);
    server.args(["-address", "127.0.0.1:0"]).args(more);
    let server = Process::spawn(name, &mut server)?;
    let port = server.log().find(0, |line| {
        line.split_once("listening on 127.0.0.1:")?.1.parse::<u16>().ok()
    });
    let port = server.ready(START_LIMIT, "its port", port).await?;
    Ok((server, port))
}
