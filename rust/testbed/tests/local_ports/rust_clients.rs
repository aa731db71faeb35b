//! Clients in Rust. The suite's own executable is each of them, within the function.

use std::{
    error::Error,
    io::{self, BufRead, Write},
    process::ExitCode,
    time::Duration,
};

use sqlx::{
    AssertSqlSafe,
    postgres::{PgConnectOptions, PgPoolOptions, PgSslMode},
};

/// The first argument that makes the executable reqwest as it comes, which reads the proxy variables; the second is the URL.
pub(crate) const REQWEST: &str = "reqwest-get";
/// The first argument that makes the executable a pool of one connection by sqlx: it runs each query that it is told, and says
/// its value. The second is the local port.
pub(crate) const SQLX: &str = "sqlx-pool";
/// How long sqlx waits for a connection.
const TIMEOUT: Duration = Duration::from_secs(15);

/// Runs the client that the arguments ask for, if they ask for one.
pub(crate) fn run() -> Option<ExitCode> {
    let mut arguments = std::env::args().skip(1);
    let word = arguments.next()?;
    let told = arguments.next().unwrap_or_default();
    let result = match word.as_str() {
        REQWEST => get(&told),
        SQLX => answer_lines(&told),
        _ => return None,
    };
    Some(match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:?}");
            ExitCode::FAILURE
        }
    })
}

#[tokio::main(flavor = "current_thread")]
async fn get(url: &str) -> Result<(), Box<dyn Error>> {
    let response = reqwest::get(url).await?;
    let status = response.status().as_u16();
    write!(io::stdout(), "{status} {}", response.text().await?)?;
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn answer_lines(port: &str) -> Result<(), Box<dyn Error>> {
    let options = PgConnectOptions::new_without_pgpass()
        .host("127.0.0.1")
        .port(port.parse()?)
        .username("app")
        .database("postgres")
        .ssl_mode(PgSslMode::Disable);
    let pool = PgPoolOptions::new().max_connections(1).acquire_timeout(TIMEOUT);
    let pool = pool.connect_lazy_with(options);
    for line in io::stdin().lock().lines() {
        let answer = match sqlx::query_scalar::<_, i32>(AssertSqlSafe(line?))
            .fetch_one(&pool)
            .await
        {
            Ok(value) => value.to_string(),
            Err(error) => format!("failed: {}", error.to_string().replace('\n', " ")),
        };
        writeln!(io::stdout(), "{answer}")?;
    }
    Ok(())
}
