//! Functions from images, which have another C library than Lambda's own runtimes, or none.

use std::{fs, sync::Arc};

use libtest_mimic::Trial;
use serde_json::json;
use testbed::{
    foreign::{self, tell},
    suite::{Outcome, Setting, trial},
    target,
};

use crate::clients::{build_go, proxy_environment};

pub(crate) fn trials(setting: &Arc<Setting>) -> Vec<Trial> {
    vec![trial(
        setting,
        "images: the extension joins where there is no C library, no program and no file but the function's",
        nothing_but_the_layer,
    )]
}

async fn nothing_but_the_layer(setting: Arc<Setting>) -> Outcome {
    let source = setting
        .binaries
        .root
        .join("rust/testbed/tests/door/clients/get_handler.go");
    let program = setting.run_dir.join("get-handler");
    if !build_go(&source, &program) {
        return Err("`go build` does not work here: the handler of this trial must be linked statically".into());
    }
    let handler = foreign::package(&setting, "get-handler", &program, &[])?;
    let image = setting.run_dir.join("image");
    fs::create_dir(&image)?;
    let world = setting
        .world(|function| {
            foreign::be(function, &handler);
            proxy_environment(function);
            function.settings.insert("rootFilesystem".into(), json!(image));
        })
        .await?;
    let address = world.surroundings.target.node.address();
    let got = tell(
        &world,
        json!({"url": format!("http://{address}:{}/get?image=1", target::PORT)}),
    )
    .await?;
    assert_eq!(got["status"], 200, "{got}\n{}", world.lambda.process.log().tail());
    assert_eq!(got["entries"], json!(["dev", "opt", "proc", "tmp", "var"]), "{got}");
    world.stop().await;
    Ok(())
}
