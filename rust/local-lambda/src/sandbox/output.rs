//! The function's and the extensions' own output: each line goes to standard error with the name of who wrote it.

use std::io::Write;

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};

/// Passes lines on until the pipe closes.
pub(crate) async fn pass_on(pipe: impl AsyncRead + Unpin, prefix: String) {
    let mut lines = BufReader::new(pipe).split(b'\n');
    while let Ok(Some(line)) = lines.next_segment().await {
        // In one piece, as others write there too. Nobody left to read it is no reason to end the function.
        let whole = [prefix.as_bytes(), &line, b"\n"].concat();
        let _ = std::io::stderr().lock().write_all(&whole);
    }
}
