//! A Secrets Manager that throttles, fails or refuses. moto does neither by itself: what stands before it does, and
//! passes on the rest.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, StatusCode, header::HOST};
use http_body_util::Full;
use libtest_mimic::{Failed, Trial};
use testbed::{
    expect::{get, recovers, says_why},
    http_call::call,
    suite::{Outcome, Setting, set, trial},
    world::World,
};
use tokio::net::TcpStream;

use crate::server::Server;

/// How long moto may take.
const MOTO_LIMIT: Duration = Duration::from_secs(30);

pub(crate) fn trials(setting: &Arc<Setting>) -> Vec<Trial> {
    vec![
        trial(
            setting,
            "Secrets Manager: throttling and failures are waited out within INIT",
            waited_out,
        ),
        trial(
            setting,
            "Secrets Manager: throttling that goes on is told, and it is asked again",
            throttled,
        ),
        trial(
            setting,
            "Secrets Manager: a refused access is told, and found when it is granted",
            denied,
        ),
    ]
}

/// A fault, in the form of <https://docs.aws.amazon.com/secretsmanager/latest/apireference/CommonErrors.html>.
#[derive(Clone, Copy)]
struct Fault(u16, &'static str);

/// The number of faults to come, shared with the server.
type Left = Arc<AtomicUsize>;

/// A world whose function asks moto by way of a server that answers with `faults` in turn, for `left` times.
async fn world(setting: &Setting, faults: &'static [Fault], left: &Left) -> Result<World, Failed> {
    let surroundings = setting.surroundings().await?;
    let moto = surroundings.aws.endpoint().trim_start_matches("http://").to_owned();
    let left = Arc::clone(left);
    let server = Server::start(move |before, request| {
        let fails = left
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1))
            .is_ok();
        let moto = moto.clone();
        async move {
            if !fails {
                return pass_on(&moto, request).await;
            }
            let Fault(status, code) = faults[before % faults.len()];
            let body = format!(r#"{{"__type":"{code}","message":"as the test says"}}"#);
            let answer = Response::builder().status(status).header("x-amzn-errortype", code);
            answer.body(Bytes::from(body)).unwrap()
        }
    })
    .await?;
    let endpoint = format!("http://{}", server.address);
    Ok(World::around(surroundings, &|_, _, _| (), |function| {
        set(function, "AWS_ENDPOINT_URL_SECRETS_MANAGER", &endpoint);
    })
    .await?)
}

async fn pass_on(moto: &str, mut request: Request<Bytes>) -> Response<Bytes> {
    request.headers_mut().insert(HOST, moto.parse().unwrap());
    let stream = TcpStream::connect(moto).await.unwrap();
    call(stream, request.map(Full::new), MOTO_LIMIT).await.unwrap()
}

async fn waited_out(setting: Arc<Setting>) -> Outcome {
    let left = Left::new(2.into());
    let faults = &[Fault(400, "ThrottlingException"), Fault(500, "InternalServiceError")];
    let world = world(&setting, faults, &left).await?;
    let (answer, took) = get(&world).await?;
    let log = world.lambda.process.log().tail();
    assert_eq!(answer.status(), StatusCode::OK, "{answer:?}\n{log}");
    assert_eq!(left.load(Ordering::SeqCst), 0);
    assert!(took < Duration::from_secs(10), "{took:?}");
    world.stop().await;
    Ok(())
}

async fn throttled(setting: Arc<Setting>) -> Outcome {
    let left = Left::new(usize::MAX.into());
    let world = world(&setting, &[Fault(400, "ThrottlingException")], &left).await?;
    let (answer, took) = get(&world).await?;
    let words = [
        "brings no auth key: ThrottlingException",
        "it is asked again with growing pauses",
    ];
    says_why(&world, &answer, &words).await;
    assert!(took < Duration::from_secs(10), "{took:?}");
    left.store(0, Ordering::SeqCst);
    recovers(&world, Duration::from_secs(30)).await?;
    world.stop().await;
    Ok(())
}

async fn denied(setting: Arc<Setting>) -> Outcome {
    let left = Left::new(usize::MAX.into());
    let world = world(&setting, &[Fault(400, "AccessDeniedException")], &left).await?;
    let (answer, _) = get(&world).await?;
    let words = [
        "brings no auth key: AccessDeniedException: as the test says",
        "let the function's role do secretsmanager:GetSecretValue on it",
    ];
    says_why(&world, &answer, &words).await;
    left.store(0, Ordering::SeqCst);
    recovers(&world, Duration::from_secs(30)).await?;
    world.stop().await;
    Ok(())
}
