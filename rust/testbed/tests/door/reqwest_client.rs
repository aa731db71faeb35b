//! The client that reqwest is by itself: it reads the proxy variables. The suite's own executable is it, within the function.

use std::{
    error::Error,
    io::{self, Write},
    process::ExitCode,
};

/// The first argument that makes the executable the client; the second is the URL.
pub(crate) const WORD: &str = "reqwest-get";

/// Gets the URL if the arguments ask for it.
pub(crate) fn run() -> Option<ExitCode> {
    let mut arguments = std::env::args().skip(1);
    arguments.next().filter(|first| first == WORD)?;
    let url = arguments.next().unwrap_or_default();
    Some(match get(&url) {
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
