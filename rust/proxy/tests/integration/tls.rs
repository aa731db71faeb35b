//! TLS between the proxy and its target.

use std::sync::Arc;

use crate::fakes::World;
use proxy::{ca_certificates::CaCertificates, client_certificate::ClientCertificate, config::Config};
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        RootCertStore, ServerConfig, SupportedProtocolVersion,
        crypto::aws_lc_rs::sign::any_supported_type,
        pki_types::{CertificateDer, PrivateKeyDer},
        server::WebPkiClientVerifier,
        sign::{CertifiedKey, SingleCertAndKey},
        version::{TLS12, TLS13},
    },
};

/// A self-signed certificate for db.example.com, changed by `change`, and its key.
fn certificate(change: impl FnOnce(&mut CertificateParams)) -> (CertificateDer<'static>, KeyPair) {
    let mut params = CertificateParams::new(["db.example.com".to_owned()]).unwrap();
    change(&mut params);
    let key = KeyPair::generate().unwrap();
    (params.self_signed(&key).unwrap().der().clone(), key)
}

/// A target that shows this certificate, and answers each connection's first request with the name that was asked for.
async fn target_with(
    certificate: CertificateDer<'static>,
    key: &KeyPair,
    versions: &[&'static SupportedProtocolVersion],
) -> u16 {
    let key = any_supported_type(&PrivateKeyDer::Pkcs8(key.serialize_der().into())).unwrap();
    let resolver = SingleCertAndKey::from(CertifiedKey::new(vec![certificate], key));
    let config = ServerConfig::builder_with_protocol_versions(versions)
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(resolver));
    serve(config).await
}

/// Answers each connection's first request with the name that was asked for.
async fn serve(config: ServerConfig) -> u16 {
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
    port
}

/// A target that takes clients of `authority` alone, and its own certificate.
async fn demanding_target(authority: &CertificateDer<'static>) -> (u16, CaCertificates) {
    let (own, key) = certificate(|_| ());
    let mut roots = RootCertStore::empty();
    roots.add(authority.clone()).unwrap();
    let clients = WebPkiClientVerifier::builder(Arc::new(roots)).build().unwrap();
    let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let config = ServerConfig::builder()
        .with_client_cert_verifier(clients)
        .with_single_cert(vec![own.clone()], key)
        .unwrap();
    (serve(config).await, trusted(&own))
}

async fn target() -> (u16, CaCertificates) {
    let (certificate, key) = certificate(|_| ());
    let trusted = trusted(&certificate);
    (target_with(certificate, &key, &[&TLS13]).await, trusted)
}

fn trusted(certificate: &CertificateDer<'_>) -> CaCertificates {
    use base64::{Engine, prelude::BASE64_STANDARD};
    let text = BASE64_STANDARD.encode(certificate);
    CaCertificates::parse(&format!(
        "-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n"
    ))
    .unwrap()
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
    let (port, trusted) = target().await;
    let answer = get(port, Some("db.example.com"), |config| {
        config.ca_certificates = Some(trusted)
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
    let (port, trusted) = target().await;
    for host in [None, Some("other.example.com")] {
        let trusted = trusted.clone();
        let answer = get(port, host, |config| config.ca_certificates = Some(trusted)).await;
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

/// The message of the proxy's own error.
fn message(answer: &serde_json::Value) -> &str {
    answer["headers"]["ts-error-message"].as_str().unwrap_or_default()
}

fn of_an_authority(params: &mut CertificateParams) {
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
}

/// The certificate in version 1, which has no extensions, and so no names. Its signature is not renewed.
fn version_1(certificate: &CertificateDer<'_>) -> CertificateDer<'static> {
    // RFC 5280 section 4.1, in DER.
    let header = |der: &[u8]| {
        if der[1] < 0x80 {
            2
        } else {
            2 + usize::from(der[1] & 0x7f)
        }
    };
    let split = |der: &[u8]| -> (Vec<u8>, Vec<u8>) {
        let long = der[2..header(der)].iter();
        let length = match der[1] {
            short @ ..0x80 => usize::from(short),
            _ => long.fold(0, |length, octet| length << 8 | usize::from(*octet)),
        };
        let end = header(der) + length;
        (der[..end].to_vec(), der[end..].to_vec())
    };
    let content = |der: &[u8]| der[header(der)..].to_vec();
    let sequence = |content: &[u8]| {
        let [high, low] = u16::try_from(content.len()).unwrap().to_be_bytes();
        let header = match (high, low) {
            (0, ..0x80) => vec![0x30, low],
            (0, _) => vec![0x30, 0x81, low],
            _ => vec![0x30, 0x82, high, low],
        };
        [&header, content].concat()
    };
    let (signed, signature) = split(&content(certificate));
    let (_version, mut rest) = split(&content(&signed));
    let mut fields = Vec::new();
    for _ in 0..6 {
        let (field, next) = split(&rest);
        fields.extend(field);
        rest = next;
    }
    sequence(&[sequence(&fields), signature].concat()).into()
}

#[tokio::test]
async fn with_the_verification_switched_off_any_certificate_is_taken_that_the_server_has_the_key_of() {
    for version in [&TLS12, &TLS13] {
        let (plain, key) = certificate(|_| ());
        let (authoritys, authoritys_key) = certificate(of_an_authority);
        let (expired, expired_key) = certificate(|params| params.not_after = rcgen::date_time_ymd(2001, 1, 1));
        for (certificate, key) in [
            (version_1(&plain), &key),
            (authoritys, &authoritys_key),
            (expired, &expired_key),
        ] {
            let port = target_with(certificate, key, &[version]).await;
            let answer = get(port, None, |config| config.skip_tls_verification = true).await;
            assert_eq!(answer["statusCode"], 200, "{answer}");
        }
        for certificate in [version_1(&plain), plain] {
            let port = target_with(certificate, &authoritys_key, &[version]).await;
            let answer = get(port, None, |config| config.skip_tls_verification = true).await;
            assert_eq!(answer["statusCode"], 502, "another key: {answer}");
        }
    }
}

#[tokio::test]
async fn an_authoritys_own_certificate_is_trusted_where_it_is_listed_and_for_its_names_alone() {
    let (authoritys, key) = certificate(of_an_authority);
    let (other, _) = certificate(of_an_authority);
    let port = target_with(authoritys.clone(), &key, &[&TLS13]).await;
    let answer = async |host: &str, listed: &CertificateDer<'_>| {
        get(port, Some(host), |config| {
            config.ca_certificates = Some(trusted(listed))
        })
        .await
    };
    assert_eq!(answer("db.example.com", &authoritys).await["statusCode"], 200);
    let wrong_name = answer("other.example.com", &authoritys).await;
    assert!(message(&wrong_name).contains("not valid for name"), "{wrong_name}");
    let not_listed = answer("db.example.com", &other).await;
    assert!(
        message(&not_listed).contains("list it among the trusted certificates"),
        "{not_listed}"
    );
}

#[tokio::test]
async fn an_authoritys_own_certificate_that_has_expired_is_refused_though_it_is_listed() {
    let (expired, key) = certificate(|params| {
        of_an_authority(params);
        params.not_after = rcgen::date_time_ymd(2001, 1, 1);
    });
    let port = target_with(expired.clone(), &key, &[&TLS13]).await;
    let answer = get(port, Some("db.example.com"), |config| {
        config.ca_certificates = Some(trusted(&expired))
    })
    .await;
    assert!(message(&answer).contains("expired"), "{answer}");
}

#[tokio::test]
async fn a_certificate_of_version_1_that_is_listed_is_refused_with_what_to_make_instead() {
    let (plain, key) = certificate(|_| ());
    let version_1 = version_1(&plain);
    let port = target_with(version_1.clone(), &key, &[&TLS13]).await;
    let answer = get(port, Some("db.example.com"), |config| {
        config.ca_certificates = Some(trusted(&version_1))
    })
    .await;
    assert!(message(&answer).contains("version 3 with a subjectAltName"), "{answer}");
}

#[tokio::test]
async fn a_target_that_demands_a_certificate_gets_the_owners() {
    let client = rcgen::generate_simple_self_signed(["client".to_owned()]).unwrap();
    let text = client.cert.pem() + &client.signing_key.serialize_pem();
    let (port, trusted) = demanding_target(client.cert.der()).await;
    let answer = get(port, Some("db.example.com"), |config| {
        config.ca_certificates = Some(trusted.clone());
        config.client_certificate = Some(Arc::new(ClientCertificate::parse(&text).unwrap()));
    })
    .await;
    assert_eq!(answer["statusCode"], 200, "{answer}");
    let none = get(port, Some("db.example.com"), |config| {
        config.ca_certificates = Some(trusted)
    })
    .await;
    assert_eq!(none["statusCode"], 502, "{none}");
    assert!(message(&none).contains("clientCertificateSecret"), "{none}");
}

#[tokio::test]
async fn a_client_certificate_that_a_target_does_not_know_is_refused_in_its_words() {
    let of = || rcgen::generate_simple_self_signed(["client".to_owned()]).unwrap();
    let (known, unknown) = (of(), of());
    let text = unknown.cert.pem() + &unknown.signing_key.serialize_pem();
    let (port, trusted) = demanding_target(known.cert.der()).await;
    let answer = get(port, Some("db.example.com"), |config| {
        config.ca_certificates = Some(trusted);
        config.client_certificate = Some(Arc::new(ClientCertificate::parse(&text).unwrap()));
    })
    .await;
    assert_eq!(answer["statusCode"], 502, "{answer}");
    assert!(message(&answer).contains("alert"), "{answer}");
}
