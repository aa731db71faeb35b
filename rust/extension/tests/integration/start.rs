//! The order of the start: what Lambda waits for comes first, and nothing waits for Lambda.

use std::{
    io::BufRead,
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    time::Duration,
};

use extension::{credentials::Keys, secret::Secret, trouble::Trouble};

use crate::{
    fake_daemon::{FakeDaemon, Plan},
    stage::{FakeKeys, config},
};

/// How long anything may take here.
const LIMIT: Duration = Duration::from_secs(5);

/// Secrets Manager, which is asked while the registration is under way.
struct AfterRegistration {
    lambda: TcpListener,
    connected: Arc<Mutex<Option<TcpStream>>>,
}

impl Keys for AfterRegistration {
    async fn login_key(&self) -> Result<Secret, Trouble> {
        // It does not wait: the connection must be there.
        let (connection, _) = self.lambda.accept().expect("Lambda is called before the key is read");
        *self.connected.lock().unwrap() = Some(connection);
        FakeKeys::Good.login_key().await
    }

    async fn renewed(&self) -> Result<bool, Trouble> {
        Ok(false)
    }
}

#[tokio::test]
async fn it_registers_first_and_brings_all_else_under_way_before_the_answer() {
    let lambda = TcpListener::bind("127.0.0.1:0").unwrap();
    lambda.set_nonblocking(true).unwrap();
    let mut config = config();
    config.runtime_api = lambda.local_addr().unwrap().to_string();
    let connected = Arc::default();
    let keys = AfterRegistration {
        lambda,
        connected: Arc::clone(&connected),
    };
    let daemon = FakeDaemon::new(Plan::default());
    let endpoint = std::env::temp_dir().join(format!("order-{}", std::process::id()));
    let program = daemon.clone();
    let life = tokio::spawn(async move { extension::lifecycle::run(&config, program, keys, endpoint).await });
    // Lambda has not answered, and yet the daemon is up and logged in with the key.
    let logged_in = async {
        while daemon.count("login-interactive") == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LIMIT, logged_in).await.unwrap();
    let request = connected.lock().unwrap().take().unwrap();
    request.set_read_timeout(Some(LIMIT)).unwrap();
    let mut line = String::new();
    std::io::BufReader::new(&request).read_line(&mut line).unwrap();
    assert_eq!(line.trim_end(), "POST /2020-01-01/extension/register HTTP/1.1");
    drop(request);
    let end = life.await.unwrap();
    assert!(end.is_err(), "the registration was lost: {end:?}");
    assert!(!daemon.is_running());
}
