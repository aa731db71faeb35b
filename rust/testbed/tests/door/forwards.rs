//! Local ports, for clients that know no proxy: their connections through freezes.

use std::{path::Path, sync::Arc, time::Duration};

use libtest_mimic::{Failed, Trial};
use testbed::{
    control::MAGIC_DNS_DOMAIN,
    expect::logged,
    freeze::with_dead_flows,
    nat,
    process::{Process, command},
    suite::{Outcome, Setting, set, trial_within},
    world::World,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpListener,
    time::sleep,
};

use crate::{
    clients::{deploy, packed, say, start},
    postgres, python,
};

/// The lengths of the freezes with dead flows, in seconds.
const FREEZES: [u64; 2] = [5, 12];
/// A freeze that leaves the flows alive.
const SHORT_FREEZE: Duration = Duration::from_secs(4);
/// How soon a client learns that its connection is dead, and how soon its next query is answered.
const SOON: u64 = 1000;
const LIMIT: Duration = Duration::from_secs(180);
/// How long a server may take to listen, and to end.
const START_LIMIT: Duration = Duration::from_secs(10);
const LOCAL_PORT: u16 = 5433;
const NO_POSTGRESQL: &str = "this machine has no PostgreSQL in /usr/lib/postgresql";

pub(crate) fn trials(setting: &Arc<Setting>) -> Vec<Trial> {
    vec![
        trial_within(
            LIMIT,
            setting,
            "forward: connections that died in a freeze are reset at the thaw, and new ones get through at once",
            dead_flows,
        ),
        trial_within(
            LIMIT,
            setting,
            "forward: connections that outlive a freeze are left alone",
            live_flows,
        ),
        trial_within(
            LIMIT,
            setting,
            "forward: PostgreSQL by its own client survives freezes with dead flows",
            postgresql,
        )
        .with_ignored_flag(postgres::programs().is_none()),
        trial_within(
            LIMIT,
            setting,
            "forward: PostgreSQL by psycopg with verify-full: the server's own name is checked, also after a freeze",
            verified,
        )
        .with_ignored_flag(postgres::programs().is_none()),
        trial_within(
            LIMIT,
            setting,
            "forward: redis-py answers its next command after freezes with dead flows",
            redis,
        ),
    ]
}

/// A server behind the target's machine that answers each line with the number of the connection that it came by.
async fn numbering() -> Result<u16, Failed> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let port = listener.local_addr()?.port();
    tokio::spawn(async move {
        for number in 1.. {
            let Ok((mut stream, _)) = listener.accept().await else {
                return;
            };
            tokio::spawn(async move {
                let (read, mut write) = stream.split();
                let mut lines = BufReader::new(read).lines();
                while let Ok(Some(line)) = lines.next_line().await {
                    if write.write_all(format!("{number} {line}\n").as_bytes()).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    Ok(port)
}

/// The function with a client that keeps a connection to a local port. All goes by DERP.
async fn with_session(setting: &Setting) -> Result<World, Failed> {
    let port = numbering().await?;
    let (handler, _) = packed(setting)?;
    let world = with_target(setting, &handler, port).await?;
    let program = ["/usr/bin/python3", "/var/task/session.py", &LOCAL_PORT.to_string()];
    start(&world, "client", &program).await?;
    Ok(world)
}

async fn dead_flows(setting: Arc<Setting>) -> Outcome {
    let world = with_session(&setting).await?;
    let mut since = world.lambda.events.len();
    assert_eq!(say(&world, "client", "first").await?.0, "1 first");
    for (index, seconds) in FREEZES.into_iter().enumerate() {
        with_dead_flows(&world, since, Duration::from_secs(seconds)).await?;
        let (first, took) = say(&world, "client", "lost").await?;
        let log = || world.lambda.process.log().tail();
        eprintln!("    after {seconds} s: {first:?} in {took} ms");
        assert!(first.starts_with("failed: ConnectionReset"), "{first}\n{}", log());
        assert!(took < SOON, "it took {took} ms\n{}", log());
        logged(&world, 0, "reset, because a freeze had killed it").await;
        since = world.lambda.events.len();
        let (second, took) = say(&world, "client", "again").await?;
        eprintln!("    the next: {second:?} in {took} ms");
        assert_eq!(second, format!("{} again", index + 2), "{}", log());
        assert!(took < SOON, "it took {took} ms\n{}", log());
    }
    world.stop().await;
    Ok(())
}

async fn live_flows(setting: Arc<Setting>) -> Outcome {
    let world = with_session(&setting).await?;
    for word in ["one", "two", "three"] {
        let since = world.lambda.events.len();
        let (answer, took) = say(&world, "client", word).await?;
        assert_eq!(answer, format!("1 {word}"), "{}", world.lambda.process.log().tail());
        assert!(took < SOON, "it took {took} ms");
        world.lambda.reached(since, "frozen").await?;
        // The freeze itself.
        sleep(SHORT_FREEZE).await;
    }
    world.stop().await;
    Ok(())
}

async fn postgresql(setting: Arc<Setting>) -> Outcome {
    let programs = postgres::programs().ok_or(NO_POSTGRESQL)?;
    let server = postgres::start(&setting, &programs).await?;
    let (handler, _) = packed(&setting)?;
    let world = with_target(&setting, &handler, postgres::PORT).await?;
    let connection = format!("host=127.0.0.1 port={LOCAL_PORT} user=app dbname=postgres sslmode=disable");
    let program = ["/usr/bin/python3", "/var/task/postgres.py", &connection];
    start(&world, "pool", &program).await?;
    survives(&world, "pool", "select pg_backend_pid()", &[5, 70]).await?;
    world.stop().await;
    server.stop().await
}

async fn verified(setting: Arc<Setting>) -> Outcome {
    let programs = postgres::programs().ok_or(NO_POSTGRESQL)?;
    let server = postgres::start(&setting, &programs).await?;
    let more = [("server.crt".to_owned(), server.certificate())];
    let handler = python::handler(&setting, "psycopg_pool.py", &python::PSYCOPG, &more)?;
    let world = with_target(&setting, &handler, postgres::PORT).await?;
    let connection = |name: &str| {
        format!(
            "host={name} hostaddr=127.0.0.1 port={LOCAL_PORT} user=app dbname=postgres sslmode=verify-full \
             sslrootcert=/var/task/server.crt"
        )
    };
    let open = |name: &str| ["/usr/bin/python3", "/var/task/psycopg_pool.py", &connection(name)].map(str::to_owned);
    let other = open(&format!("other.{MAGIC_DNS_DOMAIN}"));
    start(&world, "other", &other.each_ref().map(String::as_str)).await?;
    let (said, _) = say(&world, "other", "select 1").await?;
    assert!(
        said.starts_with("failed: ") && said.contains("does not match host name"),
        "{said}\n{}",
        world.lambda.process.log().tail()
    );
    let own = open(&postgres::name());
    start(&world, "pool", &own.each_ref().map(String::as_str)).await?;
    let encrypted = "select version from pg_stat_ssl where pid = pg_backend_pid()";
    let (said, _) = say(&world, "pool", encrypted).await?;
    assert!(
        said.starts_with("TLSv1."),
        "{said}\n{}",
        world.lambda.process.log().tail()
    );
    survives(&world, "pool", "select pg_backend_pid()", &[5]).await?;
    world.stop().await;
    server.stop().await
}

/// The driver by itself opens another connection for a dead one: no command fails, none is counted twice.
async fn redis(setting: Arc<Setting>) -> Outcome {
    let mut server = command(&setting.binaries.redis, &setting.run_dir);
    server.args(["-address", "127.0.0.1:0"]);
    let server = Process::spawn("Redis-compatible server", &mut server)?;
    let port = server.log().find(0, |line| {
        line.split_once("listening on 127.0.0.1:")?.1.parse::<u16>().ok()
    });
    let port = server.ready(START_LIMIT, "its port", port).await?;
    let handler = python::handler(&setting, "redis_pool.py", &python::REDIS, &[])?;
    let world = with_target(&setting, &handler, port).await?;
    let program = ["/usr/bin/python3", "/var/task/redis_pool.py", &LOCAL_PORT.to_string()];
    start(&world, "pool", &program).await?;
    let log = || world.lambda.process.log().tail();
    let mut since = world.lambda.events.len();
    let (said, _) = say(&world, "pool", "INCR visits").await?;
    assert_eq!(said, "1", "{}", log());
    for (before, seconds) in (1..).zip(FREEZES) {
        with_dead_flows(&world, since, Duration::from_secs(seconds)).await?;
        let lines = world.lambda.process.log().len();
        since = world.lambda.events.len();
        let (said, took) = say(&world, "pool", "INCR visits").await?;
        eprintln!("    Redis after {seconds} s: {said:?} in {took} ms");
        assert_eq!(said, (before + 1).to_string(), "{}", log());
        assert!(took < SOON, "it took {took} ms\n{}", log());
        logged(&world, lines, "reset, because a freeze had killed it").await;
    }
    world.stop().await;
    server.stop(START_LIMIT).await;
    Ok(())
}

/// The function with a local port that leads to a server behind the target's machine. All goes by DERP.
async fn with_target(setting: &Setting, handler: &Path, port: u16) -> Result<World, Failed> {
    nat::remember().await?;
    nat::block_udp().await?;
    deploy(setting.surroundings().await?, handler, |function| {
        set(function, "TS_FORWARDS", &format!("{LOCAL_PORT}=target:{port}"));
    })
    .await
}

/// After each freeze with dead flows the first query finds its connection dead, at once, and the second is answered over another.
/// `query` must be answered with the number of the server's process for the connection, which tells the connections apart.
async fn survives(world: &World, session: &str, query: &str, freezes: &[u64]) -> Outcome {
    let log = || world.lambda.process.log().tail();
    let mut since = world.lambda.events.len();
    let (mut backend, _) = say(world, session, query).await?;
    backend.parse::<u32>().map_err(|_| format!("{backend}\n{}", log()))?;
    for seconds in freezes {
        with_dead_flows(world, since, Duration::from_secs(*seconds)).await?;
        let (first, lost) = say(world, session, query).await?;
        since = world.lambda.events.len();
        let (second, took) = say(world, session, query).await?;
        eprintln!("    PostgreSQL after {seconds} s: {first:?} in {lost} ms, then {second:?} in {took} ms");
        assert!(
            first.starts_with("failed: ") && lost < SOON,
            "{first} in {lost} ms\n{}",
            log()
        );
        assert!(
            second.parse::<u32>().is_ok() && second != backend,
            "{second}, {backend}\n{}",
            log()
        );
        assert!(took < SOON, "it took {took} ms\n{}", log());
        backend = second;
    }
    Ok(())
}
