//! Database drivers at local ports: their connections through freezes, and TLS with the server's own name checked.

use std::{
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
    stack::TestStack,
    suite::{SuiteContext, TestResult},
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
    async fn start(&self, stack: &TestStack, session: &str) -> TestResult {
        let words: Vec<&str> = self.command.iter().map(String::as_str).collect();
        start(stack, session, &words).await
    }
}

/// A kind of server, and its clients in Python and in JavaScript: each has a name, a script, and what becomes of its connection.
struct Kind {
    python: (&'static str, &'static str, First),
    packages: &'static [&'static str],
    node: (&'static str, &'static str, First),
    /// Asks for the server's number for the connection.
    number: &'static str,
    /// Asks for the version of TLS.
    version: &'static str,
    /// The words in which each client refuses a server of another name.
    refusals: [&'static str; 2],
}

const POSTGRESQL: Kind = Kind {
    python: ("psycopg", "psycopg_pool", First::Fails),
    packages: &python::PSYCOPG,
    node: ("node-postgres", "pg_pool", First::FailsOrNot),
    number: "select pg_backend_pid()",
    version: "select version from pg_stat_ssl where pid = pg_backend_pid()",
    refusals: ["does not match host name", "does not match certificate"],
};
const MYSQL: Kind = Kind {
    python: ("PyMySQL", "mysql_pool", First::Fails),
    packages: &python::PYMYSQL,
    node: ("mysql2", "mysql2_pool", First::FailsOrNot),
    number: "select connection_id()",
    version: "show session status like 'ssl_version'",
    refusals: ["Hostname mismatch", "does not match certificate"],
};
/// Its connections have no numbers, and its TLS is not tested.
const REDIS: Kind = Kind {
    python: ("redis-py", "redis_pool", First::IsAnswered),
    packages: &python::REDIS,
    node: ("node-redis", "redis_client", First::FailsOrNot),
    number: "",
    version: "",
    refusals: ["", ""],
};

impl Kind {
    /// The clients, for the local port; with a name and a file of certificates they check that name by TLS.
    fn drivers(&self, verified: &[&str]) -> Vec<Driver> {
        let ((python, script, first), (node, module, at_first)) = (self.python, self.node);
        let port = LOCAL_PORT.to_string();
        let told = [&[&*port], verified].concat();
        let (script, module) = (format!("/var/task/{script}.py"), format!("/var/task/{module}.js"));
        vec![
            Driver::new(python, &[&[PYTHON, &script], &told[..]].concat(), first),
            Driver::new(node, &[&[NODE, &module], &told[..]].concat(), at_first),
        ]
    }

    /// The function with these clients, and more files, whose local port leads to a server at `port`.
    async fn stack(
        &self,
        context: &SuiteContext,
        port: u16,
        mut more: Vec<(String, PathBuf)>,
    ) -> Result<TestStack, Failed> {
        more.extend(javascript::files(context, &[self.node.1]).await?);
        let handler = python::handler(context, &format!("{}.py", self.python.1), self.packages, &more)?;
        with_target(context, &handler, port).await
    }

    /// Clients that are told another name refuse the server; told its own name, they have a connection by TLS, which survives
    /// a freeze.
    async fn verify(&self, context: &SuiteContext, port: u16, certificate: &Path) -> TestResult {
        let more = vec![("server.crt".to_owned(), certificate.to_owned())];
        let stack = self.stack(context, port, more).await?;
        let log = || stack.log();
        let other = self.drivers(&[&format!("other.{MAGIC_DNS_DOMAIN}"), CERTIFICATE]);
        for (driver, refusal) in other.iter().zip(self.refusals) {
            let session = format!("{} of another", driver.name);
            driver.start(&stack, &session).await?;
            let (said, _) = say(&stack, &session, self.version).await?;
            let refused = said.starts_with("failed: ") && said.contains(refusal);
            assert!(refused, "{}: {said}\n{}", driver.name, log());
        }
        let drivers = self.drivers(&[&servers::name(), CERTIFICATE]);
        survive(&stack, &drivers, self.number, &[5]).await?;
        for driver in &drivers {
            let (said, _) = say(&stack, driver.name, self.version).await?;
            assert!(said.starts_with("TLSv1."), "{}: {said}\n{}", driver.name, log());
        }
        stack.stop().await;
        Ok(())
    }
}

pub(crate) fn trials(context: &Arc<SuiteContext>) -> Vec<Trial> {
    let postgresql = testbed::trials![context;
        "forward: PostgreSQL by psycopg, node-postgres and sqlx survives freezes with dead flows" within LIMIT => postgresql,
        "forward: PostgreSQL over TLS by psycopg and node-postgres: the server's own name is checked, also after a freeze"
            within LIMIT => postgresql_verified,
    ];
    let others = testbed::trials![context;
        "forward: MySQL by PyMySQL and mysql2 survives freezes with dead flows" within LIMIT => mysql,
        "forward: MySQL over TLS by PyMySQL and mysql2: the server's own name is checked, also after a freeze"
            within LIMIT => mysql_verified,
        "forward: redis-py and node-redis go on after freezes with dead flows" within LIMIT => redis,
    ];
    let missing = postgres::programs().is_none();
    let postgresql = postgresql.into_iter().map(|trial| trial.with_ignored_flag(missing));
    postgresql.chain(others).collect()
}

async fn postgresql(context: Arc<SuiteContext>) -> TestResult {
    let programs = postgres::programs().ok_or(NO_POSTGRESQL)?;
    let server = postgres::start(&context, &programs).await?;
    let port = LOCAL_PORT.to_string();
    let mut drivers = POSTGRESQL.drivers(&[]);
    let sqlx = ["/var/task/sqlx", rust_clients::SQLX, &port];
    drivers.push(Driver::new("sqlx", &sqlx, First::IsAnswered));
    let mut more = vec![("sqlx".to_owned(), std::env::current_exe()?)];
    match std::env::var_os(JDBC).map(PathBuf::from) {
        Some(jar) => {
            let own = context.binaries.root.join("rust/testbed/tests/local_ports/clients");
            more.push(("postgresql.jar".to_owned(), jar));
            more.push(("JdbcPool.java".to_owned(), own.join("JdbcPool.java")));
            let java = [
                "/usr/bin/java",
                "-XX:TieredStopAtLevel=1",
                "-cp",
                "/var/task/postgresql.jar",
            ];
            let java = [&java[..], &["/var/task/JdbcPool.java", &port]].concat();
            drivers.push(Driver::new("JDBC", &java, First::IsAnswered));
        }
        None => eprintln!("    JDBC is not tested: {JDBC} names no jar"),
    }
    let stack = POSTGRESQL.stack(&context, postgres::PORT, more).await?;
    survive(&stack, &drivers, POSTGRESQL.number, &FREEZES).await?;
    stack.stop().await;
    server.stop().await
}

async fn postgresql_verified(context: Arc<SuiteContext>) -> TestResult {
    let programs = postgres::programs().ok_or(NO_POSTGRESQL)?;
    let server = postgres::start(&context, &programs).await?;
    POSTGRESQL.verify(&context, postgres::PORT, &server.certificate).await?;
    server.stop().await
}

async fn mysql(context: Arc<SuiteContext>) -> TestResult {
    let (server, port) = servers::start(&context, "MySQL-compatible server", &context.binaries.mysql, &[]).await?;
    let stack = MYSQL.stack(&context, port, Vec::new()).await?;
    survive(&stack, &MYSQL.drivers(&[]), MYSQL.number, &FREEZES).await?;
    stop(stack, server).await
}

async fn mysql_verified(context: Arc<SuiteContext>) -> TestResult {
    let own = Certificate::make(&context.run_dir)?;
    let words = [
        "-certificate".as_ref(),
        own.certificate.as_os_str(),
        "-key".as_ref(),
        own.key.as_os_str(),
    ];
    let (server, port) = servers::start(&context, "MySQL-compatible server", &context.binaries.mysql, &words).await?;
    MYSQL.verify(&context, port, &own.certificate).await?;
    server.stop(STOP_LIMIT).await;
    Ok(())
}

/// The drivers by themselves open other connections for dead ones; no command is counted twice, nor one that failed.
async fn redis(context: Arc<SuiteContext>) -> TestResult {
    let (server, port) = servers::start(&context, "Redis-compatible server", &context.binaries.redis, &[]).await?;
    let stack = REDIS.stack(&context, port, Vec::new()).await?;
    let drivers = REDIS.drivers(&[]);
    let log = || stack.log();
    let mut visits = 0;
    let mut since = 0;
    for driver in &drivers {
        driver.start(&stack, driver.name).await?;
        since = stack.lambda.events.len();
        visits += 1;
        let (said, _) = say(&stack, driver.name, "INCR visits").await?;
        assert_eq!(said, visits.to_string(), "{}: {}", driver.name, log());
    }
    for (turn, seconds) in FREEZES.into_iter().enumerate() {
        let lines = stack.lambda.process.log().len();
        with_dead_flows(&stack, since, Duration::from_secs(seconds)).await?;
        for driver in in_turn(&drivers, turn) {
            since = stack.lambda.events.len();
            visits += 1;
            let (mut said, mut took) = say(&stack, driver.name, "INCR visits").await?;
            if driver.first == First::FailsOrNot && said.starts_with("failed: ") && took < SOON {
                since = stack.lambda.events.len();
                (said, took) = say(&stack, driver.name, "INCR visits").await?;
            }
            assert_eq!(said, visits.to_string(), "{}: {}", driver.name, log());
            assert!(took < SOON, "{}: it took {took} ms\n{}", driver.name, log());
        }
        logged(&stack, lines, "reset, because a freeze had killed it").await;
    }
    stop(stack, server).await
}

async fn stop(stack: TestStack, server: Process) -> TestResult {
    stack.stop().await;
    server.stop(STOP_LIMIT).await;
    Ok(())
}

/// After each freeze with dead flows the first query of each driver finds its connection dead, at once, or is answered over
/// another, and the second is answered over another. `query` must be answered with the server's number for the connection, which
/// tells the connections apart.
async fn survive(stack: &TestStack, drivers: &[Driver], query: &str, freezes: &[u64]) -> TestResult {
    let log = || stack.log();
    let mut since = 0;
    let mut known = Vec::new();
    for driver in drivers {
        driver.start(stack, driver.name).await?;
        since = stack.lambda.events.len();
        let (number, _) = say(stack, driver.name, query).await?;
        assert!(number.parse::<u32>().is_ok(), "{}: {number}\n{}", driver.name, log());
        known.push(number);
    }
    for (turn, seconds) in freezes.iter().enumerate() {
        with_dead_flows(stack, since, Duration::from_secs(*seconds)).await?;
        let mut asked = Vec::new();
        for driver in in_turn(drivers, turn) {
            let (first, lost) = say(stack, driver.name, query).await?;
            since = stack.lambda.events.len();
            let (second, took) = say(stack, driver.name, query).await?;
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
