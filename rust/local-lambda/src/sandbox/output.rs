//! The function's and the extensions' own output: each line goes to standard error with the name of who wrote it.

use std::io::Write;

use tokio::io::{AsyncRead, AsyncReadExt};

/// A line that grows beyond this is cut into pieces: a program may write without ever ending a line.
const LINE_BYTES: usize = 64 * 1024;

/// Passes lines on until the pipe closes.
pub(crate) async fn pass_on(mut pipe: impl AsyncRead + Unpin, prefix: String) {
    let mut lines = Lines::new(prefix);
    let mut buffer = vec![0; 8192];
    loop {
        match pipe.read(&mut buffer).await {
            Ok(0) | Err(_) => break,
            Ok(count) => show(&lines.push(&buffer[..count])),
        }
    }
    show(&lines.finish());
}

/// Nobody left to read standard error is no reason to end the function.
fn show(text: &[u8]) {
    let _ = std::io::stderr().lock().write_all(text);
}

struct Lines {
    prefix: String,
    unfinished: Vec<u8>,
}

impl Lines {
    fn new(prefix: String) -> Self {
        Self {
            prefix,
            unfinished: Vec::new(),
        }
    }

    /// The lines that are complete with these bytes, each with its prefix.
    fn push(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut complete = Vec::new();
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.unfinished.extend_from_slice(piece);
            if piece.ends_with(b"\n") || self.unfinished.len() >= LINE_BYTES {
                complete.append(&mut self.finish());
            }
        }
        complete
    }

    fn finish(&mut self) -> Vec<u8> {
        if self.unfinished.is_empty() {
            return Vec::new();
        }
        let mut line = self.prefix.clone().into_bytes();
        line.append(&mut self.unfinished);
        if !line.ends_with(b"\n") {
            line.push(b'\n');
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_become_lines_and_each_gets_its_prefix() {
        let mut lines = Lines::new("runtime: ".into());
        assert_eq!(lines.push(b"one\ntw"), b"runtime: one\n");
        assert_eq!(lines.push(b"o\n\n"), b"runtime: two\nruntime: \n");
        assert_eq!(lines.push(b"end"), b"");
        assert_eq!(lines.finish(), b"runtime: end\n");
    }

    #[test]
    fn a_line_without_an_end_is_cut() {
        let mut lines = Lines::new(String::new());
        assert_eq!(lines.push(&[b'x'; LINE_BYTES]).len(), LINE_BYTES + 1);
    }
}
