//! A function to run, and how local-lambda is started with it.

use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use zip::write::SimpleFileOptions;

use super::run::Run;
use crate::function_url::url::user;

/// A function to run.
pub(crate) struct Script {
    config: Value,
    extensions: Vec<&'static str>,
    unprivileged: bool,
    handler: (&'static str, u32),
}

impl Script {
    pub(crate) fn new() -> Self {
        let architecture = if cfg!(target_arch = "x86_64") {
            "x86_64"
        } else {
            "arm64"
        };
        let config = json!({
            "functionName": "scripted", "handlerZip": "function.zip", "architecture": architecture,
            "region": "us-west-2", "accountId": "123456789012", "environment": {},
            "executionRole": { "accessKeyId": "ROLE", "secretAccessKey": "role-secret", "sessionToken": "role-token" },
            "callers": [user().described()],
            "memoryMb": 256, "timeoutSeconds": 10,
        });
        Self {
            config,
            extensions: Vec::new(),
            unprivileged: false,
            handler: ("bootstrap", 0o755),
        }
    }

    pub(crate) fn with(mut self, field: &str, value: impl Into<Value>) -> Self {
        self.config[field] = value.into();
        self
    }

    pub(crate) fn runtime(mut self, script: &str) -> Self {
        self.config["environment"]["SCRIPT_RUNTIME"] = script.into();
        self
    }

    pub(crate) fn extension(mut self, name: &'static str, script: &str) -> Self {
        self.extensions.push(name);
        self.config["environment"]["SCRIPT_EXTENSION"] = script.into();
        self
    }

    /// Inside a user namespace with one mapped id, as without root.
    pub(crate) fn unprivileged(mut self) -> Self {
        self.unprivileged = true;
        self
    }

    /// What the handler's zip holds instead of an executable `bootstrap`.
    pub(crate) fn handler(mut self, name: &'static str, mode: u32) -> Self {
        self.handler = (name, mode);
        self
    }

    /// Runs it; it must get ready.
    pub(crate) fn run(self) -> Run {
        self.try_run()
            .unwrap_or_else(|log| panic!("local-lambda does not run:\n{log}"))
    }

    /// Runs it, or gives its log if it ends before it is ready.
    pub(crate) fn try_run(mut self) -> Result<Run, String> {
        let folder = Folder::new();
        let (name, mode) = self.handler;
        zip(&folder.0.join("function.zip"), &[name.to_owned()], mode);
        if !self.extensions.is_empty() {
            let files: Vec<_> = self
                .extensions
                .iter()
                .map(|name| format!("extensions/{name}"))
                .collect();
            zip(&folder.0.join("layer.zip"), &files, 0o755);
            self.config["layerZips"] = json!(["layer.zip"]);
        }
        std::fs::write(folder.0.join("function.json"), self.config.to_string()).unwrap();
        Run::start(folder, self.unprivileged)
    }
}

/// A folder of the test's own.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("local-lambda-test-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

fn zip(path: &Path, names: &[String], mode: u32) {
    let bytes = std::fs::read(env!("CARGO_BIN_EXE_scripted-function")).unwrap();
    let mut writer = zip::ZipWriter::new(std::fs::File::create(path).unwrap());
    for name in names {
        let options = SimpleFileOptions::default().unix_permissions(mode);
        writer
            .start_file(name, options.compression_method(zip::CompressionMethod::Stored))
            .unwrap();
        writer.write_all(&bytes).unwrap();
    }
    writer.finish().unwrap();
}
