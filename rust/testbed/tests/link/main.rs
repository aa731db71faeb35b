//! The link between the function and everything else is as long and as lossy as it was asked to be. One link can
//! follow another.
#![allow(clippy::unwrap_used)]

use std::{
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use testbed::{
    distance::{Distance, Link},
    network::ADDRESS,
    suite::{SuiteContext, TestResult, run},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
    time::timeout,
};

/// How much later than the round trip something may be.
const LATE: Duration = Duration::from_millis(2);
/// How many connections are measured.
const CONNECTS: usize = 20;
/// How many packets are sent to count those that get lost.
const PACKETS: u32 = 20_000;

fn main() -> ExitCode {
    run(|context| {
        testbed::trials![context;
            "a connection takes one round trip" => round_trip,
            "one packet in a hundred is lost" => loss,
            "forwarded ports have no delay" => forward,
        ]
    })
}

async fn round_trip(_: Arc<SuiteContext>) -> TestResult {
    for millis in [30, 100, 300] {
        let link = Link::open(Distance::of_millis(millis))?;
        let listener = TcpListener::bind((ADDRESS, 0)).await?;
        let to = listener.local_addr()?;
        let connecting = link.spawn(async move {
            let mut times = Vec::new();
            for _ in 0..CONNECTS {
                let began = Instant::now();
                TcpStream::connect(to).await.unwrap();
                times.push(began.elapsed());
            }
            times.sort_unstable();
            times
        });
        let times = connecting.await?;
        let wanted = Duration::from_millis(millis);
        let median = times[times.len() / 2];
        eprintln!(
            "  {millis} ms: median {median:.2?}, from {:.2?} to {:.2?}",
            times[0],
            times[times.len() - 1]
        );
        assert!(times[0] >= wanted, "too early: {times:?}");
        assert!(median <= wanted + LATE, "too late: {times:?}");
    }
    Ok(())
}

async fn loss(_: Arc<SuiteContext>) -> TestResult {
    let link = Link::open(Distance::of_millis(20).with_loss(0.01))?;
    let receiver = UdpSocket::bind((ADDRESS, 0)).await?;
    let to = receiver.local_addr()?;
    let sending = link.spawn(async move {
        let sender = UdpSocket::bind("0.0.0.0:0").await.unwrap();
        for number in 0..PACKETS {
            sender.send_to(&number.to_be_bytes(), to).await.unwrap();
            if number % 100 == 99 {
                // Bursts that no queue on the way is too small for.
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
    });
    let mut numbers = Vec::new();
    let mut packet = [0; 4];
    while let Ok(received) = timeout(Duration::from_millis(500), receiver.recv(&mut packet)).await {
        assert_eq!(received?, 4);
        numbers.push(u32::from_be_bytes(packet));
    }
    sending.await?;
    assert!(numbers.is_sorted(), "out of order");
    let lost = f64::from(PACKETS - u32::try_from(numbers.len())?) / f64::from(PACKETS);
    eprintln!("  lost {:.2} %", lost * 100.0);
    assert!((0.007..0.013).contains(&lost), "{lost}");
    Ok(())
}

async fn forward(_: Arc<SuiteContext>) -> TestResult {
    let link = Link::open(Distance::of_millis(100))?;
    let listening = link
        .spawn(async { TcpListener::bind("127.0.0.1:0").await.unwrap() })
        .await?;
    let forwarded = link.forward(listening.local_addr()?)?;
    link.spawn(async move {
        let (mut stream, _) = listening.accept().await.unwrap();
        stream.write_all(b"here").await.unwrap();
    });
    let began = Instant::now();
    let mut answer = String::new();
    TcpStream::connect(forwarded).await?.read_to_string(&mut answer).await?;
    let took = began.elapsed();
    eprintln!("  {took:.2?}");
    assert_eq!(answer, "here");
    assert!(took < Duration::from_millis(20), "{took:?}");
    Ok(())
}
