//! The order of the start: what Lambda waits for comes first, and nothing waits for Lambda.

use std::{
    io::BufRead,
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    time::Duration,
};

use extension::{
    auth::{key_source::KeySource, secret::Secret},
    error::JoinError,
};

use crate::{
    fake_keys::FakeKeys,
    fake_tailscaled::{FakeTailscaled, Plan},
    stage::{config, unique_path},
};

/// How long anything may take here.
const LIMIT: Duration = Duration::from_secs(5);

/// Secrets Manager, which is called while the registration is under way.
struct AfterRegistration {
    lambda: TcpListener,
    connected: Arc<Mutex<Option<TcpStream>>>,
}

impl KeySource for AfterRegistration {
    async fn login_key(&self) -> Result<Secret, JoinError> {
        // It does not wait: the connection must be there.
        let (connection, _) = self.lambda.accept().expect("Lambda is called before the key is read");
        *self.connected.lock().unwrap() = Some(connection);
        FakeKeys::Good.login_key().await
    }

    async fn changed(&self) -> Result<bool, JoinError> {
        Ok(false)
    }
}

#[tokio::test]
async fn it_registers_first_and_logs_in_before_the_response() {
    let lambda = TcpListener::bind("127.0.0.1:0").unwrap();
    lambda.set_nonblocking(true).unwrap();
    let mut config = config();
    config.runtime_api = lambda.local_addr().unwrap().to_string();
    let connected = Arc::default();
    let keys = AfterRegistration {
        lambda,
        connected: Arc::clone(&connected),
    };
    let tailscaled = FakeTailscaled::new(Plan::default());
    let socket = unique_path("start");
    let program = tailscaled.clone();
    let life = tokio::spawn(async move { extension::lifecycle::run(&config, program, keys, socket).await });
    // Lambda has not responded, and tailscaled is already up and logged in with the key.
    let logged_in = async {
        while tailscaled.counts().logins == 0 {
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
    assert!(!tailscaled.is_running());
}
