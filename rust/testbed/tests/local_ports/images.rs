//! Functions from images, which have another C library than Lambda's own runtimes, or none, and the extension from the image that
//! a release holds.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use libtest_mimic::{Failed, Trial};
use serde_json::{Value, json};
use testbed::{
    binaries::architecture,
    expect::answered,
    lambda::Event,
    suite::{SuiteContext, TEST_LIMIT, TestResult, trial_within},
};

/// Names folders, each an image's root file system, that the extension is to join in, too: as PATH does.
const ROOTS: &str = "IMAGE_ROOTS";

pub(crate) fn trials(context: &Arc<SuiteContext>) -> Vec<Trial> {
    let mut trials = testbed::trials![context;
        "images: the extension of the OCI image joins where there is no C library, no program and no file but the function's"
            => nothing_but_the_extension,
    ];
    for (number, root) in std::env::var_os(ROOTS)
        .iter()
        .flat_map(std::env::split_paths)
        .enumerate()
    {
        let name = format!("images: the extension of the OCI image joins in {}", root.display());
        trials.push(trial_within(TEST_LIMIT, context, &name, async move |context| {
            joins_in(&context, &format!("image-{number}"), Some(&root)).await?;
            Ok(())
        }));
    }
    trials
}

async fn nothing_but_the_extension(context: Arc<SuiteContext>) -> TestResult {
    let own_library = has_one_user()?;
    let root = own_library.then(|| context.run_dir.join("c-library"));
    if let Some(root) = &root {
        copy_libraries(&context, root)?;
        eprintln!(
            "  one user alone: the root has this machine's C library too, for local-lambda, which starts itself there"
        );
    }
    let mut entries = joins_in(&context, "empty-image", root.as_deref()).await?;
    entries.retain(|name| !(own_library && name.starts_with("lib")));
    assert_eq!(entries, ["dev", "opt", "proc", "tmp", "var"]);
    Ok(())
}

/// Whether this user namespace has no other user that a function could run as (user_namespaces(7)). Then local-lambda starts
/// itself in the function's root, to make one.
fn has_one_user() -> Result<bool, Failed> {
    let map = fs::read_to_string("/proc/self/uid_map")?;
    Ok(map.split_whitespace().skip(2).step_by(3).all(|count| count == "1"))
}

/// Copies what local-lambda is linked with to the same places below `root`.
fn copy_libraries(context: &SuiteContext, root: &Path) -> TestResult {
    let listed = Command::new("ldd").arg(&context.binaries.local_lambda).output()?.stdout;
    let listed = String::from_utf8_lossy(&listed);
    let libraries: Vec<&str> = listed.split_whitespace().filter(|word| word.starts_with('/')).collect();
    if libraries.is_empty() {
        return Err(format!("ldd names no library of local-lambda's: {listed}").into());
    }
    for library in libraries {
        let copy = root.join(library.trim_start_matches('/'));
        fs::create_dir_all(copy.parent().ok_or("a library that is the root")?)?;
        fs::copy(library, &copy)?;
    }
    Ok(())
}

/// The proxy in a copy of this root, to which `COPY --from` has added what the release's image holds; what its root holds then.
async fn joins_in(context: &SuiteContext, name: &str, root: Option<&Path>) -> Result<Vec<String>, Failed> {
    let image = context.run_dir.join(name);
    match root {
        Some(root) => run("cp", &["-a".as_ref(), root.as_ref(), image.as_ref()])?,
        None => fs::create_dir(&image)?,
    }
    copy_extension(context, &image)?;
    let stack = context
        .stack(|function| {
            function.settings.insert("rootFilesystem".into(), json!(image));
            // All of the extension comes from the image.
            function.settings.insert("layerZips".into(), json!([]));
        })
        .await?;
    answered(&stack).await?;
    let pid = stack.lambda.events.find(0, Event::runtime_started).await;
    let entries = fs::read_dir(format!("/proc/{pid}/root"))?.flatten();
    let mut entries: Vec<String> = entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    entries.sort();
    stack.stop().await;
    Ok(entries)
}

/// Builds the release's image, unpacks its layout as the OCI image specification says, and its one layer into `image`.
fn copy_extension(context: &SuiteContext, image: &Path) -> TestResult {
    let file = context.run_dir.join("extension-image.tar");
    let script = context.binaries.root.join("scripts/build-image.js");
    run("node", &[script.as_ref(), file.as_ref(), architecture().as_ref()])?;
    let layout = image.with_extension("layout");
    fs::create_dir(&layout)?;
    run("tar", &["-xf".as_ref(), file.as_ref(), "-C".as_ref(), layout.as_ref()])?;
    let blob = |descriptor: &Value| -> Result<PathBuf, Failed> {
        let digest = descriptor["digest"].as_str().ok_or("no digest")?;
        Ok(layout.join("blobs").join(digest.replace(':', "/")))
    };
    let read = |path: &Path| -> Result<Value, Failed> { Ok(serde_json::from_slice(&fs::read(path)?)?) };
    let index = read(&layout.join("index.json"))?;
    let platforms = read(&blob(&index["manifests"][0])?)?;
    let manifest = read(&blob(&platforms["manifests"][0])?)?;
    let layer = blob(&manifest["layers"][0])?;
    run("tar", &["-xzf".as_ref(), layer.as_ref(), "-C".as_ref(), image.as_ref()])
}

fn run(program: &str, arguments: &[&OsStr]) -> TestResult {
    let output = Command::new(program).args(arguments).output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr)).into())
}
