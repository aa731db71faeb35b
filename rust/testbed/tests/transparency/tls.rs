//! https to a target of the tailnet: under the name that was asked for, by a certificate that is trusted.

use std::{net::Ipv4Addr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::Response;
use libtest_mimic::{Failed, Trial};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use testbed::{
    control::MAGIC_DNS_DOMAIN, deadline::within, expect::get as get_target, http_call::header, lambda::Function,
    log::Log, package::write_zip, stack::TestStack, target,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        RootCertStore, ServerConfig,
        pki_types::{CertificateDer, PrivateKeyDer},
        server::{WebPkiClientVerifier, danger::ClientCertVerifier},
    },
};

use crate::{SuiteContext, TestResult, set};

/// How long the log may take.
const LOG_LIMIT: Duration = Duration::from_secs(10);

pub(crate) fn trials(context: &Arc<SuiteContext>) -> Vec<Trial> {
    testbed::trials![context;
        "https: a target with an unknown certificate is refused unless the owner allows it" => unknown,
        "https: a target that demands a certificate gets the one in the owner's secret, and nothing else does"
            => mutual,
        "https: unusable certificates end the start with the cause, and no key appears" => unusable,
    ]
}

fn name() -> String {
    format!("{}.{MAGIC_DNS_DOMAIN}", target::HOSTNAME)
}

/// What stands behind the target's node: it answers with the name that its client wants. Returns its port, and its
/// certificate. With `clients` it takes only those whose certificates that one vouches for.
async fn serve(clients: Option<&CertificateDer<'static>>) -> Result<(u16, String), Failed> {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed([name()])?;
    let key = PrivateKeyDer::Pkcs8(signing_key.serialize_der().into());
    let clients: Arc<dyn ClientCertVerifier> = match clients {
        None => WebPkiClientVerifier::no_client_auth(),
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add(authority.clone())?;
            WebPkiClientVerifier::builder(Arc::new(roots)).build()?
        }
    };
    let config = ServerConfig::builder()
        .with_client_cert_verifier(clients)
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
async fn get(context: &SuiteContext, port: u16, adjust: impl FnOnce(&mut Function)) -> Result<Response<Bytes>, Failed> {
    let stack = context.stack(adjust).await?;
    let answer = ask(&stack, port).await?;
    stack.stop().await;
    Ok(answer)
}

async fn ask(stack: &TestStack, port: u16) -> Result<Response<Bytes>, Failed> {
    let request = stack.url().request_to(name(), port, "GET", "/");
    let request = request.header("ts-https", "true").body(Bytes::new())?;
    Ok(stack.url().send(request).await?)
}

fn is_refused(answer: &Response<Bytes>, word: &str) {
    let message = header(answer.headers(), "ts-error-message");
    assert!(answer.status() == 502 && message.contains(word), "{answer:?}");
}

fn is_targets(answer: &Response<Bytes>) {
    assert!(answer.status() == 200 && *answer.body() == name(), "{answer:?}");
}

fn is_unseen(key: &str, log: &Log) {
    for line in key.lines().filter(|line| !line.starts_with("---")) {
        let shown = log.look(0, |shown| shown.contains(line).then_some(()));
        assert_eq!(shown, None, "the key is in the log");
    }
}

async fn unknown(context: Arc<SuiteContext>) -> TestResult {
    let (port, _) = serve(None).await?;
    is_refused(&get(&context, port, |_| ()).await?, "certificate");
    let unverified = |function: &mut Function| set(function, "TS_SKIP_TLS_VERIFICATION", "true");
    is_targets(&get(&context, port, unverified).await?);
    Ok(())
}

async fn mutual(context: Arc<SuiteContext>) -> TestResult {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["lambda-proxy".to_owned()])?;
    let (port, authority) = serve(Some(cert.der())).await?;
    let backends = context.backends().await?;
    let key = signing_key.serialize_pem();
    let secret = backends.aws.create_secret("mtls", &(cert.pem() + &key)).await?;
    // A file may be longer than all of a function's variables: Lambda has room for 4 KB of them.
    let layer = backends.run_dir.join("authorities.zip");
    let authorities = authority.repeat(20).into_bytes();
    write_zip(&layer, [Ok(("authorities.pem".to_owned(), authorities))])?;
    let layers = serde_json::json!([backends.binaries.extension_zip, layer]);
    let stack = backends
        .deploy(|function| {
            set(function, "TS_CLIENT_CERTIFICATE_SECRET", &secret);
            set(function, "TS_CA_CERTIFICATES_FILE", "/opt/authorities.pem");
            function.settings.insert("layerZips".into(), layers);
            set(function, "TS_DEBUG", "true");
        })
        .await?;
    is_targets(&ask(&stack, port).await?);
    let log = stack.lambda.process.log().clone();
    stack.stop().await;
    is_unseen(&key, &log);
    let trusting = |function: &mut Function| set(function, "TS_CA_CERTIFICATES", &authority);
    is_refused(&get(&context, port, trusting).await?, "clientCertificateSecret");
    Ok(())
}

async fn unusable(context: Arc<SuiteContext>) -> TestResult {
    let CertifiedKey { signing_key, .. } = generate_simple_self_signed(["lambda-proxy".to_owned()])?;
    let key = signing_key.serialize_pem();
    let secret = "TS_CLIENT_CERTIFICATE_SECRET";
    for (variable, text, cause) in [
        (secret, &*key, "has no certificate; fix: store PEM text in it"),
        (secret, "/opt/none.pem", "ResourceNotFoundException"),
        (
            "TS_CA_CERTIFICATES_FILE",
            "/opt/none.pem",
            "/opt/none.pem: it cannot be read",
        ),
        ("TS_CA_CERTIFICATES", "no certificate", "PEM"),
    ] {
        let backends = context.backends().await?;
        let value = match text == key {
            true => backends.aws.create_secret("mtls", text).await?,
            false => text.to_owned(),
        };
        let stack = backends.deploy(|function| set(function, variable, &value)).await?;
        let (answer, _) = get_target(&stack).await?;
        // Lambda's own answer for a function that does not start.
        assert_eq!(answer.status(), 502, "{answer:?}");
        assert!(!answer.headers().contains_key("ts-error-name"), "{answer:?}");
        let log = stack.lambda.process.log();
        let tells = |line: &String| (line.contains(variable) && line.contains(cause)).then_some(());
        within(LOG_LIMIT, "the cause in the log", log.find(0, tells)).await?;
        is_unseen(&key, log);
        stack.stop().await;
    }
    Ok(())
}
