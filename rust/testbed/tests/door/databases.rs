//! Database drivers at local ports: their connections through freezes, and TLS with the server's own name checked.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use libtest_mimic::{Failed, Trial};
use testbed::{
    control::MAGIC_DNS_DOMAIN,
    expect::logged,
    freeze::with_dead_flows,
    process::Process,
    suite::{Outcome, Setting},
    world::World,
};

use crate::{
    clients::{say, start},
    forwards::{LIMIT, LOCAL_PORT, SOON, with_target},
    javascript::{self, NODE},
    postgres,
    python::{self, PYTHON},
    rust_clients,
    servers::{self, Certificate},
};

/// The freezes that every driver's connection dies in, in seconds.
const FREEZES: [u64; 2] = [5, 70];
/// A certificate in the function.
const CERTIFICATE: &str = "/var/task/server.crt";
/// Names the jar of PostgreSQL's JDBC driver, which no package of the project's brings: with it, Java is one of the drivers.
const JDBC: &str = "POSTGRESQL_JDBC";
/// How long a server may take to end.
const STOP_LIMIT: Duration = Duration::from_secs(10);
const NO_POSTGRESQL: &str = "this machine has no PostgreSQL in /usr/lib/postgresql";

/// What a driver's first query after a freeze with dead flows may come to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum First {
    /// It finds the connection dead.
    Fails,
    /// The pool may have found it dead before, and opened another one.
    FailsOrNot,
    /// The pool checks the connection before it gives it out.
    IsAnswered,
}

/// A driver that runs within the function from one invocation to the next.
struct Driver {
    name: &'static str,
    command: Vec<String>,
    first: First,
}

impl Driver {
    fn new(name: &'static str, command: &[&str], first: First) -> Self {
        let command = command.iter().map(|word| (*word).to_owned()).collect();
        Self { name, command, first }
    }

    /// Starts it as a session of its own.
    async fn start(&self, world: &World, session: &str) -> Outcome {
        let words: Vec<&str> = self.command.iter().map(String::as_str).collect();
        start(world, session, &words).await
    }
}

pub(crate) fn trials(setting: &Arc<Setting>) -> Vec<Trial> {
    let postgresql = testbed::trials![setting;
        "forward: PostgreSQL by libpq, node-postgres and sqlx survives freezes with dead flows" within LIMIT => postgresql,
        "forward: PostgreSQL over TLS by psycopg and node-postgres: the server's own name is checked, also after a freeze"
            within LIMIT => postgresql_verified,
    ];
    let others = testbed::trials![setting;
        "forward: MySQL by PyMySQL and mysql2 survives freezes with dead flows" within LIMIT => mysql,
        "forward: MySQL over TLS by PyMySQL and mysql2: the server's own name is checked, also after a freeze"
            within LIMIT => mysql_verified,
        "forward: redis-py and node-redis go on after freezes with dead flows" within LIMIT => redis,
    ];
    let missing = postgres::programs().is_none();
    let postgresql = postgresql.into_iter().map(|trial| trial.with_ignored_flag(missing));
    postgresql.chain(others).collect()
}

async fn postgresql(setting: Arc<Setting>) -> Outcome {
    let programs = postgres::programs().ok_or(NO_POSTGRESQL)?;
    let server = postgres::start(&setting, &programs).await?;
    let mut more = javascript::files(&setting, &["pg_pool"]).await?;
    more.push(("sqlx".to_owned(), std::env::current_exe()?));
    let jdbc = std::env::var_os(JDBC).map(PathBuf::from);
    match &jdbc {
        Some(jar) => {
            let own = setting.binaries.root.join("rust/testbed/tests/door/clients");
            more.push(("postgresql.jar".to_owned(), jar.clone()));
            more.push(("JdbcPool.java".to_owned(), own.join("JdbcPool.java")));
        }
        None => eprintln!("    JDBC is not tested: {JDBC} names no jar"),
    }
    let handler = python::handler(&setting, "postgres.py", &[], &more)?;
    let world = with_target(&setting, &handler, postgres::PORT).await?;
    let port = LOCAL_PORT.to_string();
    let connection = format!("host=127.0.0.1 port={port} user=app dbname=postgres sslmode=disable");
    let mut drivers = vec![
        Driver::new("libpq", &[PYTHON, "/var/task/postgres.py", &connection], First::Fails),
        Driver::new(
            "node-postgres",
            &[NODE, "/var/task/pg_pool.js", &port],
            First::FailsOrNot,
        ),
        Driver::new(
            "sqlx",
            &["/var/task/sqlx", rust_clients::SQLX, &port],
            First::IsAnswered,
        ),
    ];
    if jdbc.is_some() {
        let java = [
            "/usr/bin/java",
            "-XX:TieredStopAtLevel=1",
            "-cp",
            "/var/task/postgresql.jar",
            "/var/task/JdbcPool.java",
            &port,
        ];
        drivers.push(Driver::new("JDBC", &java, First::IsAnswered));
    }
    for driver in &drivers {
        driver.start(&world, driver.name).await?;
    }
    survive(&world, &drivers, "select pg_backend_pid()", &FREEZES).await?;
    world.stop().await;
    server.stop().await
}

async fn postgresql_verified(setting: Arc<Setting>) -> Outcome {
    let programs = postgres::programs().ok_or(NO_POSTGRESQL)?;
    let server = postgres::start(&setting, &programs).await?;
    let more = with_certificate(&setting, "pg_pool", &server.certificate).await?;
    let handler = python::handler(&setting, "psycopg_pool.py", &python::PSYCOPG, &more)?;
    let world = with_target(&setting, &handler, postgres::PORT).await?;
    let port = LOCAL_PORT.to_string();
    let drivers = |name: &str| {
        let connection = format!(
            "host={name} hostaddr=127.0.0.1 port={port} user=app dbname=postgres sslmode=verify-full \
             sslrootcert={CERTIFICATE}"
        );
        let node = [NODE, "/var/task/pg_pool.js", &port, name, CERTIFICATE];
        [
            Driver::new(
                "psycopg",
                &[PYTHON, "/var/task/psycopg_pool.py", &connection],
                First::Fails,
            ),
            Driver::new("node-postgres", &node, First::FailsOrNot),
        ]
    };
    let version = "select version from pg_stat_ssl where pid = pg_backend_pid()";
    verify(
        &world,
        drivers,
        &["does not match host name", "does not match certificate"],
        version,
    )
    .await?;
    survive(&world, &drivers(&servers::name()), "select pg_backend_pid()", &[5]).await?;
    world.stop().await;
    server.stop().await
}

async fn mysql(setting: Arc<Setting>) -> Outcome {
    let (server, port) = servers::start(&setting, "MySQL-compatible server", &setting.binaries.mysql, &[]).await?;
    let more = javascript::files(&setting, &["mysql2_pool"]).await?;
    let handler = python::handler(&setting, "mysql_pool.py", &python::PYMYSQL, &more)?;
    let world = with_target(&setting, &handler, port).await?;
    let port = LOCAL_PORT.to_string();
    let drivers = [
        Driver::new("PyMySQL", &[PYTHON, "/var/task/mysql_pool.py", &port], First::Fails),
        Driver::new("mysql2", &[NODE, "/var/task/mysql2_pool.js", &port], First::FailsOrNot),
    ];
    for driver in &drivers {
        driver.start(&world, driver.name).await?;
    }
    survive(&world, &drivers, "select connection_id()", &FREEZES).await?;
    stop(world, server).await
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
    let more = with_certificate(&setting, "mysql2_pool", &own.certificate).await?;
    let handler = python::handler(&setting, "mysql_pool.py", &python::PYMYSQL, &more)?;
    let world = with_target(&setting, &handler, port).await?;
    let port = LOCAL_PORT.to_string();
    let drivers = |name: &str| {
        let python = [PYTHON, "/var/task/mysql_pool.py", &port, name, CERTIFICATE];
        let node = [NODE, "/var/task/mysql2_pool.js", &port, name, CERTIFICATE];
        [
            Driver::new("PyMySQL", &python, First::Fails),
            Driver::new("mysql2", &node, First::FailsOrNot),
        ]
    };
    let version = "show session status like 'ssl_version'";
    verify(
        &world,
        drivers,
        &["Hostname mismatch", "does not match certificate"],
        version,
    )
    .await?;
    survive(&world, &drivers(&servers::name()), "select connection_id()", &[5]).await?;
    stop(world, server).await
}

/// The drivers by themselves open other connections for dead ones; no command is counted twice, nor one that failed.
async fn redis(setting: Arc<Setting>) -> Outcome {
    let (server, port) = servers::start(&setting, "Redis-compatible server", &setting.binaries.redis, &[]).await?;
    let more = javascript::files(&setting, &["redis_client"]).await?;
    let handler = python::handler(&setting, "redis_pool.py", &python::REDIS, &more)?;
    let world = with_target(&setting, &handler, port).await?;
    let port = LOCAL_PORT.to_string();
    let drivers = [
        Driver::new(
            "redis-py",
            &[PYTHON, "/var/task/redis_pool.py", &port],
            First::IsAnswered,
        ),
        Driver::new(
            "node-redis",
            &[NODE, "/var/task/redis_client.js", &port],
            First::FailsOrNot,
        ),
    ];
    let log = || world.log();
    let mut visits = 0;
    let mut since = 0;
    for driver in &drivers {
        driver.start(&world, driver.name).await?;
        since = world.lambda.events.len();
        visits += 1;
        let (said, _) = say(&world, driver.name, "INCR visits").await?;
        assert_eq!(said, visits.to_string(), "{}: {}", driver.name, log());
    }
    for (turn, seconds) in FREEZES.into_iter().enumerate() {
        let lines = world.lambda.process.log().len();
        with_dead_flows(&world, since, Duration::from_secs(seconds)).await?;
        for driver in in_turn(&drivers, turn) {
            since = world.lambda.events.len();
            visits += 1;
            let (mut said, mut took) = say(&world, driver.name, "INCR visits").await?;
            eprintln!("    {} after {seconds} s: {said:?} in {took} ms", driver.name);
            if driver.first == First::FailsOrNot && said.starts_with("failed: ") && took < SOON {
                since = world.lambda.events.len();
                (said, took) = say(&world, driver.name, "INCR visits").await?;
                eprintln!("    then {said:?} in {took} ms");
            }
            assert_eq!(said, visits.to_string(), "{}: {}", driver.name, log());
            assert!(took < SOON, "{}: it took {took} ms\n{}", driver.name, log());
        }
        logged(&world, lines, "reset, because a freeze had killed it").await;
    }
    stop(world, server).await
}

/// Node.js with a script, and a certificate.
async fn with_certificate(
    setting: &Setting,
    script: &str,
    certificate: &Path,
) -> Result<Vec<(String, PathBuf)>, Failed> {
    let mut files = javascript::files(setting, &[script]).await?;
    files.push(("server.crt".to_owned(), certificate.to_owned()));
    Ok(files)
}

async fn stop(world: World, server: Process) -> Outcome {
    world.stop().await;
    server.stop(STOP_LIMIT).await;
    Ok(())
}

/// Drivers that are told another name refuse the server with these words; told its own name, they have a connection whose version
/// of TLS `query` asks for.
async fn verify<const N: usize>(
    world: &World,
    drivers: impl Fn(&str) -> [Driver; N],
    refusals: &[&str; N],
    query: &str,
) -> Outcome {
    let log = || world.log();
    for (driver, refusal) in drivers(&format!("other.{MAGIC_DNS_DOMAIN}")).iter().zip(refusals) {
        let session = format!("{} of another", driver.name);
        driver.start(world, &session).await?;
        let (said, _) = say(world, &session, query).await?;
        let refused = said.starts_with("failed: ") && said.contains(refusal);
        assert!(refused, "{}: {said}\n{}", driver.name, log());
    }
    for driver in drivers(&servers::name()) {
        driver.start(world, driver.name).await?;
        let (said, _) = say(world, driver.name, query).await?;
        assert!(said.starts_with("TLSv1."), "{}: {said}\n{}", driver.name, log());
    }
    Ok(())
}

/// After each freeze with dead flows the first query of each driver finds its connection dead, at once, or is answered over
/// another, and the second is answered over another. `query` must be answered with the server's number for the connection, which
/// tells the connections apart.
async fn survive(world: &World, drivers: &[Driver], query: &str, freezes: &[u64]) -> Outcome {
    let log = || world.log();
    let mut since = 0;
    let mut known = Vec::new();
    for driver in drivers {
        since = world.lambda.events.len();
        let (number, _) = say(world, driver.name, query).await?;
        assert!(number.parse::<u32>().is_ok(), "{}: {number}\n{}", driver.name, log());
        known.push(number);
    }
    for (turn, seconds) in freezes.iter().enumerate() {
        with_dead_flows(world, since, Duration::from_secs(*seconds)).await?;
        let mut asked = Vec::new();
        for driver in in_turn(drivers, turn) {
            let (first, lost) = say(world, driver.name, query).await?;
            since = world.lambda.events.len();
            let (second, took) = say(world, driver.name, query).await?;
            let told = format!(
                "{} after {seconds} s: {first:?} in {lost} ms, then {second:?} in {took} ms",
                driver.name
            );
            eprintln!("    {told}");
            let right = match driver.first {
                First::Fails => first.starts_with("failed: "),
                First::FailsOrNot => first.starts_with("failed: ") || first == second,
                First::IsAnswered => first == second,
            };
            assert!(right && lost < SOON, "{told}\n{}", log());
            let is_new = second.parse::<u32>().is_ok() && !known.contains(&second);
            assert!(is_new && took < SOON, "{told}; before: {known:?}\n{}", log());
            asked.push(second);
        }
        known = asked;
    }
    Ok(())
}

/// Whose turn it is to be the first after a freeze.
fn in_turn(drivers: &[Driver], turn: usize) -> impl Iterator<Item = &Driver> {
    drivers.iter().cycle().skip(turn).take(drivers.len())
}
