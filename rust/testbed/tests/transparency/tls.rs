//! https to a target of the tailnet: under the name that was asked for, by a certificate that is trusted.

use std::{net::Ipv4Addr, sync::Arc};

use bytes::Bytes;
use http::Response;
use libtest_mimic::{Failed, Trial};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use testbed::{control::MAGIC_DNS_DOMAIN, lambda::Function, target};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, pki_types::PrivateKeyDer},
};

use crate::{Outcome, Setting, set, trial};

pub(crate) fn trials(setting: &Arc<Setting>) -> Vec<Trial> {
    vec![
        trial(
            setting,
            "https: a target under an authority of the owner's is reached by its name, which it sees",
            trusted,
        ),
        trial(
            setting,
            "https: a target with an unknown certificate is refused, or taken if the owner says so",
            unknown,
        ),
    ]
}

fn name() -> String {
    format!("{}.{MAGIC_DNS_DOMAIN}", target::HOSTNAME)
}

/// What stands behind the target's node: it answers with the name that its client wants. Returns its port, and its
/// certificate.
async fn serve() -> Result<(u16, String), Failed> {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed([name()])?;
    let key = PrivateKeyDer::Pkcs8(signing_key.serialize_der().into());
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)?;
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let port = listener.local_addr()?.port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // A client that does not trust the certificate breaks off: that is what one of the tests is about.
            let Ok(mut stream) = acceptor.accept(stream).await else {
                continue;
            };
            let name = stream.get_ref().1.server_name().unwrap_or("none").to_owned();
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{name}", name.len());
            if stream.read(&mut [0; 4096]).await.is_ok() {
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        }
    });
    Ok((port, cert.pem()))
}

/// The answer of a function that `adjust` has changed.
async fn get(setting: &Setting, port: u16, adjust: impl FnOnce(&mut Function)) -> Result<Response<Bytes>, Failed> {
    let world = setting.world(adjust).await?;
    let request = world.url().request("GET", "/").header("ts-target-ip", name());
    let request = request.header("ts-target-port", port).header("ts-https", "true");
    let answer = world.url().send(request.body(Bytes::new())?).await?;
    world.stop().await;
    Ok(answer)
}

async fn trusted(setting: Arc<Setting>) -> Outcome {
    let (port, authority) = serve().await?;
    let answer = get(&setting, port, |function| {
        set(function, "TS_CA_CERTIFICATES", &authority)
    })
    .await?;
    assert_eq!(
        (answer.status().as_u16(), answer.body().as_ref()),
        (200, name().as_bytes()),
        "{answer:?}"
    );
    Ok(())
}

async fn unknown(setting: Arc<Setting>) -> Outcome {
    let (port, _) = serve().await?;
    let refused = get(&setting, port, |_| ()).await?;
    assert_eq!(refused.status(), 502, "{refused:?}");
    let message = refused.headers()["ts-error-message"].to_str()?;
    assert!(message.contains("certificate"), "{message}");
    let taken = get(&setting, port, |function| {
        set(function, "TS_SKIP_TLS_VERIFICATION", "true")
    })
    .await?;
    assert_eq!(
        (taken.status().as_u16(), taken.body().as_ref()),
        (200, name().as_bytes()),
        "{taken:?}"
    );
    Ok(())
}
