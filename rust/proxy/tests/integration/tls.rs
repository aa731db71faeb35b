//! TLS between the proxy and its target.

use std::sync::Arc;

use crate::fakes::World;
use proxy::config::Config;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, pki_types::PrivateKeyDer},
};

/// A target that answers each connection's first request with the name that the client asked for.
async fn target() -> (u16, String) {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["db.example.com".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(signing_key.serialize_der().into());
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            // A client that does not trust the certificate breaks off: that is what some of the tests are about.
            let Ok(mut stream) = acceptor.accept(stream).await else {
                continue;
            };
            let name = stream.get_ref().1.server_name().unwrap_or("none").to_owned();
            let mut request = [0; 4096];
            assert!(stream.read(&mut request).await.unwrap() > 0);
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{name}", name.len());
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    (port, cert.pem())
}

async fn get(port: u16, host: Option<&str>, change: impl FnOnce(&mut Config)) -> serde_json::Value {
    let world = World::new(None, &[], &[], change).await;
    world
        .send(|event| {
            event["headers"]["ts-target-port"] = port.to_string().into();
            event["headers"]["ts-https"] = "true".into();
            if let Some(host) = host {
                event["headers"]["ts-host"] = host.into();
            }
        })
        .await
}

#[tokio::test]
async fn a_target_with_a_trusted_certificate_is_reached_under_the_name_asked_for() {
    let (port, pem) = target().await;
    let answer = get(port, Some("db.example.com"), |config| {
        config.ca_certificates = Some(pem)
    })
    .await;
    assert_eq!(
        (&answer["statusCode"], &answer["body"]),
        (&200.into(), &"db.example.com".into()),
        "{answer}"
    );
}

#[tokio::test]
async fn a_certificate_of_an_unknown_authority_is_refused() {
    let (port, _) = target().await;
    let answer = get(port, Some("db.example.com"), |_| ()).await;
    assert_eq!(answer["headers"]["ts-error-name"], "TargetUnreachable");
    assert!(
        answer["headers"]["ts-error-message"]
            .as_str()
            .unwrap()
            .contains("certificate"),
        "{answer}"
    );
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused() {
    let (port, pem) = target().await;
    for host in [None, Some("other.example.com")] {
        let pem = pem.clone();
        let answer = get(port, host, |config| config.ca_certificates = Some(pem)).await;
        assert_eq!(
            (&answer["statusCode"], &answer["headers"]["ts-error-name"]),
            (&502.into(), &"TargetUnreachable".into())
        );
    }
}

#[tokio::test]
async fn verification_can_be_switched_off() {
    let (port, _) = target().await;
    let answer = get(port, None, |config| config.skip_tls_verification = true).await;
    assert_eq!(answer["statusCode"], 200, "{answer}");
}

#[tokio::test]
async fn extra_authorities_that_cannot_be_read_are_named() {
    let (port, _) = target().await;
    let answer = get(port, None, |config| config.ca_certificates = Some("nonsense".into())).await;
    assert_eq!(answer["statusCode"], 500);
    assert!(
        answer["headers"]["ts-error-message"]
            .as_str()
            .unwrap()
            .contains("TS_CA_CERTIFICATES"),
        "{answer}"
    );
}
