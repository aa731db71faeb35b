//! What is left of it: no process, however it ends.

use std::path::Path;
use std::time::Instant;

use nix::sys::signal::Signal;
use serde_json::json;

use super::run::PATIENCE;
use super::script::Script;

fn wait_until_gone(path: &Path) {
    let deadline = Instant::now() + PATIENCE;
    while path.exists() {
        assert!(Instant::now() < deadline, "{} is still there", path.display());
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
}

#[test]
fn no_process_is_left_when_it_is_killed_with_a_frozen_environment() {
    for freeze in [true, false] {
        let mut run = Script::new().with("freeze", freeze).extension("one", "").run();
        assert_eq!(run.call(&json!({})).status, 200);
        if freeze {
            run.state("frozen");
        }
        let pids = ["runtime", "extension:one"].map(|name| run.process(name, "started")["pid"].as_u64().unwrap());
        run.signal(Signal::SIGKILL);
        run.wait();
        for pid in pids {
            wait_until_gone(Path::new(&format!("/proc/{pid}")));
        }
    }
}

#[test]
fn no_process_is_left_when_it_ends_by_itself() {
    let mut run = Script::new().with("maxEnvironments", 2).extension("one", "").run();
    let requests = [
        run.begin(&json!({ "do": "sleep", "ms": 200 })),
        run.begin(&json!({ "do": "sleep", "ms": 200 })),
    ];
    for request in requests {
        assert_eq!(request.finish().status, 200);
    }
    let pids: Vec<_> = (0..2)
        .map(|_| run.process("runtime", "started")["pid"].as_u64().unwrap())
        .collect();
    run.stop();
    for pid in pids {
        assert!(!Path::new(&format!("/proc/{pid}")).exists());
    }
}
