//! Database drivers at local ports: their connections through freezes, and TLS with the server's own name checked.

use std::{ffi::OsStr, sync::Arc, time::Duration};

use libtest_mimic::Trial;
use testbed::{
    control::MAGIC_DNS_DOMAIN,
    expect::logged,
    freeze::with_dead_flows,
    suite::{Outcome, Setting, trial_within},
    world::World,
};

use crate::{
    clients::{packed, say, start},
    forwards::{LIMIT, LOCAL_PORT, SOON, with_target},
    postgres, python,
    servers::{self, Certificate},
};

/// The freezes that every driver's connection dies in, in seconds.
const FREEZES: [u64; 2] = [5, 70];
/// How long a server may take to end.
const STOP_LIMIT: Duration = Duration::from_secs(10);
/// Runs the drivers, within the function.
const PYTHON: &str = "/usr/bin/python3";
const NO_POSTGRESQL: &str = "this machine has no PostgreSQL in /usr/lib/postgresql";

pub(crate) fn trials(setting: &Arc<Setting>) -> Vec<Trial> {
    vec![
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
            postgresql_verified,
        )
        .with_ignored_flag(postgres::programs().is_none()),
        trial_within(
            LIMIT,
            setting,
            "forward: MySQL by PyMySQL survives freezes with dead flows",
            mysql,
        ),
        trial_within(
            LIMIT,
            setting,
            "forward: MySQL by PyMySQL over TLS: the server's own name is checked, also after a freeze",
            mysql_verified,
        ),
        trial_within(
            LIMIT,
            setting,
            "forward: redis-py answers its next command after freezes with dead flows",
            redis,
        ),
    ]
}

async fn postgresql(setting: Arc<Setting>) -> Outcome {
    let programs = postgres::programs().ok_or(NO_POSTGRESQL)?;
    let server = postgres::start(&setting, &programs).await?;
    let (handler, _) = packed(&setting)?;
    let world = with_target(&setting, &handler, postgres::PORT).await?;
    let connection = format!("host=127.0.0.1 port={LOCAL_PORT} user=app dbname=postgres sslmode=disable");
    let program = [PYTHON, "/var/task/postgres.py", &connection];
    start(&world, "pool", &program).await?;
    survives(&world, "pool", "select pg_backend_pid()", &FREEZES).await?;
    world.stop().await;
    server.stop().await
}

async fn postgresql_verified(setting: Arc<Setting>) -> Outcome {
    let programs = postgres::programs().ok_or(NO_POSTGRESQL)?;
    let server = postgres::start(&setting, &programs).await?;
    let more = [("server.crt".to_owned(), server.certificate.clone())];
    let handler = python::handler(&setting, "psycopg_pool.py", &python::PSYCOPG, &more)?;
    let world = with_target(&setting, &handler, postgres::PORT).await?;
    let program = |name: &str| {
        let connection = format!(
            "host={name} hostaddr=127.0.0.1 port={LOCAL_PORT} user=app dbname=postgres sslmode=verify-full \
             sslrootcert=/var/task/server.crt"
        );
        vec!["/var/task/psycopg_pool.py".to_owned(), connection]
    };
    verifies(
        &world,
        program,
        "does not match host name",
        "select version from pg_stat_ssl where pid = pg_backend_pid()",
    )
    .await?;
    survives(&world, "pool", "select pg_backend_pid()", &[5]).await?;
    world.stop().await;
    server.stop().await
}

async fn mysql(setting: Arc<Setting>) -> Outcome {
    let (server, port) = servers::start(&setting, "MySQL-compatible server", &setting.binaries.mysql, &[]).await?;
    let handler = python::handler(&setting, "mysql_pool.py", &python::PYMYSQL, &[])?;
    let world = with_target(&setting, &handler, port).await?;
    let program = [PYTHON, "/var/task/mysql_pool.py", &LOCAL_PORT.to_string()];
    start(&world, "pool", &program).await?;
    survives(&world, "pool", "select connection_id()", &FREEZES).await?;
    world.stop().await;
    server.stop(STOP_LIMIT).await;
    Ok(())
}

async fn mysql_verified(setting: Arc<Setting>) -> Outcome {
    let own = Certificate::make(&setting.run_dir)?;
    let tls: [&OsStr; 4] = [
        "-certificate".as_ref(),
        own.certificate.as_ref(),
        "-key".as_ref(),
        own.key.as_ref(),
    ];
    let (server, port) = servers::start(&setting, "MySQL-compatible server", &setting.binaries.mysql, &tls).await?;
    let more = [("server.crt".to_owned(), own.certificate.clone())];
    let handler = python::handler(&setting, "mysql_pool.py", &python::PYMYSQL, &more)?;
    let world = with_target(&setting, &handler, port).await?;
    let program = |name: &str| {
        let port = LOCAL_PORT.to_string();
        ["/var/task/mysql_pool.py", &port, name, "/var/task/server.crt"]
            .map(str::to_owned)
            .to_vec()
    };
    verifies(
        &world,
        program,
        "Hostname mismatch",
        "show session status like 'ssl_version'",
    )
    .await?;
    survives(&world, "pool", "select connection_id()", &[5]).await?;
    world.stop().await;
    server.stop(STOP_LIMIT).await;
    Ok(())
}

/// The driver by itself opens another connection for a dead one: no command fails, none is counted twice.
async fn redis(setting: Arc<Setting>) -> Outcome {
    let (server, port) = servers::start(&setting, "Redis-compatible server", &setting.binaries.redis, &[]).await?;
    let handler = python::handler(&setting, "redis_pool.py", &python::REDIS, &[])?;
    let world = with_target(&setting, &handler, port).await?;
    let program = [PYTHON, "/var/task/redis_pool.py", &LOCAL_PORT.to_string()];
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
    server.stop(STOP_LIMIT).await;
    Ok(())
}

/// A driver that is told another name refuses the server with `refusal`; told its own name, as session `pool`, it has a
/// connection whose version of TLS `query` asks for. `program` makes the command line of a name.
async fn verifies(world: &World, program: impl Fn(&str) -> Vec<String>, refusal: &str, query: &str) -> Outcome {
    let log = || world.lambda.process.log().tail();
    let open = async |session, name: &str| {
        let words = program(name);
        let words: Vec<&str> = [PYTHON].into_iter().chain(words.iter().map(String::as_str)).collect();
        start(world, session, &words).await
    };
    open("other", &format!("other.{MAGIC_DNS_DOMAIN}")).await?;
    let (said, _) = say(world, "other", query).await?;
    assert!(
        said.starts_with("failed: ") && said.contains(refusal),
        "{said}\n{}",
        log()
    );
    open("pool", &servers::name()).await?;
    let (said, _) = say(world, "pool", query).await?;
    assert!(said.starts_with("TLSv1."), "{said}\n{}", log());
    Ok(())
}

/// After each freeze with dead flows the first query finds its connection dead, at once, and the second is answered over another.
/// `query` must be answered with the server's number for the connection, which tells the connections apart.
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
        eprintln!("    {query:?} after {seconds} s: {first:?} in {lost} ms, then {second:?} in {took} ms");
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
