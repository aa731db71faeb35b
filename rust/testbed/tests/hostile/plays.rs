//! The ways to misbehave: what a target does with a connection, and what its caller is to get of it.

use std::time::Duration;

use bytes::Bytes;

use crate::actor::{Act, HEALTHY};

/// The beginning of a response.
const MORE: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n";

/// What the caller is to get.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Ends {
    /// The proxy's error of this name.
    Fails(&'static str),
    /// The target's response, with this status and body.
    Whole(u16, &'static str),
    /// The head, if the response is streamed, and no end; the error of this name, if it is buffered.
    Cut(&'static str),
    /// As [`Cut`](Self::Cut); where it is buffered, it is too large.
    Endless,
    /// Whole if it is streamed; too large if it is buffered.
    Large,
    /// What it sent cannot be told from what it should have: whole, or an error of the target's.
    Either,
}

use Ends::{Cut, Either, Endless, Fails, Large, Whole};

const UNREACHABLE: Ends = Fails("TargetUnreachable");
const TIMEOUT: Ends = Fails("TargetTimeout");
const BROKEN: Ends = Cut("TargetUnreachable");
const STALLED: Ends = Cut("TargetTimeout");
const MOMENT: Duration = Duration::from_millis(100);

/// One way to misbehave.
pub(crate) struct Play {
    pub(crate) name: String,
    /// Whether a megabyte is sent to it.
    pub(crate) upload: bool,
    pub(crate) https: bool,
    pub(crate) acts: Vec<Act>,
    pub(crate) ends: Ends,
}

fn send(text: impl Into<Bytes>) -> Act {
    Act::Send(text.into())
}

/// Without an end.
fn flood(text: impl Into<Bytes>) -> Act {
    Act::Flood(text.into(), Duration::ZERO)
}

/// Reads the request, then does this.
fn play(name: &str, acts: Vec<Act>, ends: Ends) -> Play {
    from_the_start(name, [vec![Act::ReadHead], acts].concat(), ends)
}

/// Reads the request, sends this, and closes.
fn says(name: &str, text: impl Into<Bytes>, ends: Ends) -> Play {
    play(name, vec![send(text)], ends)
}

/// Reads the request, sends this, and answers the next one as it should.
fn keeps(name: &str, text: impl Into<Bytes>, ends: Ends) -> Play {
    play(name, vec![send(text), Act::Serve], ends)
}

/// From the first byte of a connection on.
fn from_the_start(name: &str, acts: Vec<Act>, ends: Ends) -> Play {
    Play {
        name: name.into(),
        upload: false,
        https: false,
        acts,
        ends,
    }
}

fn upload(name: &str, acts: Vec<Act>, ends: Ends) -> Play {
    Play {
        upload: true,
        ..from_the_start(name, acts, ends)
    }
}

fn https(name: &str, acts: Vec<Act>, ends: Ends) -> Play {
    Play {
        https: true,
        ..from_the_start(name, acts, ends)
    }
}

/// All of them.
pub(crate) fn all() -> Vec<Play> {
    let kinds = [
        closes(),
        lengths(),
        chunks(),
        heads(),
        beginnings(),
        interim(),
        bodies(),
        uploads(),
        tls(),
    ];
    kinds.into_iter().flatten().collect()
}

/// A close or a reset at every stage.
fn closes() -> Vec<Play> {
    let half_close = || vec![Act::HalfClose, Act::Hang];
    let mut plays = vec![
        from_the_start("closes at once", vec![], UNREACHABLE),
        from_the_start("resets at once", vec![Act::Reset], UNREACHABLE),
        from_the_start("closes after a byte", vec![Act::Read(1)], UNREACHABLE),
        play("closes after the request", vec![], UNREACHABLE),
        play("resets after the request", vec![Act::Reset], UNREACHABLE),
        play("half-closes after the request", half_close(), UNREACHABLE),
    ];
    let whole = format!(
        "{MORE}transfer-encoding: chunked\r\ntrailer: x-a\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\nx-a: 1\r\n\r\n"
    );
    let head = whole.find("\r\n\r\n").unwrap() + 4;
    for cut in [1, 5, 9, 12, 15, 17, 20, 34, head - 30, head - 3, head - 1] {
        let name = format!("closes {cut} bytes into the head");
        plays.push(says(&name, whole[..cut].to_owned(), UNREACHABLE));
    }
    for cut in head..whole.len() {
        let name = format!("closes {} bytes into a chunked body", cut - head);
        plays.push(says(&name, whole[..cut].to_owned(), BROKEN));
    }
    for cut in [0, 5] {
        let text = format!("{MORE}content-length: 10\r\n\r\n{}", &"0123456789"[..cut]);
        for (how, acts) in [
            ("closes", vec![]),
            ("resets", vec![Act::Reset]),
            ("half-closes", half_close()),
        ] {
            let acts = [vec![send(text.clone())], acts].concat();
            plays.push(play(&format!("{how} after {cut} of 10 bytes"), acts, BROKEN));
        }
    }
    plays
}

fn lengths() -> Vec<Play> {
    let with = |head: &str| format!("{MORE}{head}\r\n\r\n");
    let mut plays = Vec::new();
    for length in [
        "-1",
        "+5",
        "0x5",
        "five",
        "5 5",
        "5, 6",
        "5,",
        "",
        "5.0",
        "99999999999999999999",
    ] {
        let head = format!("content-length: {length}");
        plays.push(says(&head, with(&head) + "hello", UNREACHABLE));
    }
    for coding in [
        "gzip",
        "gzip, chunked",
        "chunked, gzip",
        "chunked, chunked",
        "xchunked",
        "chunked;q=1",
    ] {
        let head = format!("transfer-encoding: {coding}");
        plays.push(says(&head, with(&head) + "5\r\nhello\r\n0\r\n\r\n", UNREACHABLE));
    }
    let five = || with("content-length: 5") + "hello";
    plays.extend([
        says(
            "two lengths",
            with("content-length: 5\r\ncontent-length: 6") + "hello!",
            UNREACHABLE,
        ),
        keeps(
            "a length twice",
            with("content-length: 5\r\ncontent-length: 5") + "hello",
            Whole(200, "hello"),
        ),
        says(
            "the greatest length",
            with("content-length: 18446744073709551613") + "hello",
            BROKEN,
        ),
        keeps(
            "a length beside chunks",
            with("content-length: 3\r\ntransfer-encoding: chunked") + "5\r\nhello\r\n0\r\n\r\n",
            Whole(200, "hello"),
        ),
        keeps("more than its length", five() + ", world", Whole(200, "hello")),
        keeps("two responses", five() + &five(), Whole(200, "hello")),
        play(
            "less than its length, and silence",
            vec![send(with("content-length: 50") + "hello"), Act::Hang],
            STALLED,
        ),
        keeps(
            "204 with a body",
            "HTTP/1.1 204 No Content\r\ncontent-type: text/plain\r\n\r\nhello",
            Whole(204, ""),
        ),
        keeps(
            "304 with a body",
            "HTTP/1.1 304 Not Modified\r\ncontent-type: text/plain\r\ncontent-length: 5\r\n\r\nhello",
            Whole(304, ""),
        ),
    ]);
    plays
}

fn chunks() -> Vec<Play> {
    let chunked = |rest: &str| format!("{MORE}transfer-encoding: chunked\r\n\r\n{rest}");
    let hello = |size: &str| chunked(&format!("{size}\r\nhello\r\n0\r\n\r\n"));
    let mut plays = Vec::new();
    for size in [
        "zz",
        "-1",
        "",
        " ",
        "0x5",
        "FFFFFFFFFFFFFFFFF",
        "5 5",
        "\u{e9}",
        "5\r",
        "3",
        "9",
    ] {
        let name = format!("a chunk of 5 bytes and of size {}", size.escape_debug());
        plays.push(keeps(&name, hello(size), BROKEN));
    }
    plays.extend([
        says(
            "a chunk of the greatest size",
            chunked("FFFFFFFFFFFFFFFF\r\nhello"),
            BROKEN,
        ),
        keeps("a chunk's extension", hello("5;a=\"b\""), Whole(200, "hello")),
        keeps(
            "a chunk's extension of 100 kB",
            hello(&format!("5;{}", "e".repeat(100_000))),
            BROKEN,
        ),
        play(
            "a chunk's extension without an end",
            vec![send(chunked("5;")), flood("e".repeat(60_000))],
            BROKEN,
        ),
        keeps("a chunk's size with zeros", hello("00000000005"), Whole(200, "hello")),
        keeps(
            "chunks of a byte",
            chunked(&format!("{}0\r\n\r\n", "1\r\na\r\n".repeat(5))),
            Whole(200, "aaaaa"),
        ),
        keeps(
            "trailers",
            chunked("5\r\nhello\r\n0\r\nx-a: 1\r\ncontent-length: 9\r\n\r\n"),
            Whole(200, "hello"),
        ),
        keeps(
            "trailers that are none",
            chunked("5\r\nhello\r\n0\r\nno trailer\r\n\r\n"),
            BROKEN,
        ),
        play(
            "trailers without an end",
            vec![send(chunked("5\r\nhello\r\n0\r\n")), flood("x-a: 1\r\n".repeat(5000))],
            BROKEN,
        ),
        play(
            "an empty chunk without an end",
            vec![send(chunked("5\r\nhello\r\n0\r\n")), Act::Hang],
            STALLED,
        ),
    ]);
    plays
}

fn heads() -> Vec<Play> {
    let fields = |count: usize| {
        let fields: String = (0..count).map(|number| format!("x-{number}: v\r\n")).collect();
        format!("{MORE}{fields}content-length: 5\r\n\r\nhello")
    };
    let with = |field: &str| format!("{MORE}{field}\r\ncontent-length: 5\r\n\r\nhello");
    let hello = Whole(200, "hello");
    let moment = |text: &str| Act::Flood(Bytes::copy_from_slice(text.as_bytes()), MOMENT);
    let mut plays = vec![
        keeps("90 fields", fields(90), hello),
        keeps("100,000 fields", fields(100_000), UNREACHABLE),
        play(
            "fields without an end",
            vec![send(MORE), flood("x-a: v\r\n".repeat(5000))],
            UNREACHABLE,
        ),
        play(
            "a value without an end",
            vec![send("HTTP/1.1 200 OK\r\nx-a: "), flood("v".repeat(60_000))],
            UNREACHABLE,
        ),
        play(
            "a reason without an end",
            vec![send("HTTP/1.1 200 "), flood("v".repeat(60_000))],
            UNREACHABLE,
        ),
        play("a byte of the head a moment", vec![moment("H")], TIMEOUT),
        play("a field a moment", vec![send(MORE), moment("x-a: v\r\n")], TIMEOUT),
        play("silence", vec![Act::Hang], TIMEOUT),
        play("half a head, and silence", vec![send(MORE), Act::Hang], TIMEOUT),
        keeps("a folded field", with("x-a: b\r\n c"), hello),
        keeps("a space before the colon", with("x-a : b"), hello),
        keeps(
            "ends of lines without CR",
            "HTTP/1.1 200 OK\ncontent-type: text/plain\ncontent-length: 5\n\nhello",
            hello,
        ),
    ];
    for field in [
        "no colon",
        ": no name",
        "x a: 1",
        "x-a: b\0c",
        "x-a: b\rc",
        "x\u{e9}: 1",
        "\u{1}: 1",
        "x(: 1",
    ] {
        let name = format!("a field that is {}", field.escape_debug());
        plays.push(keeps(&name, with(field), UNREACHABLE));
    }
    plays
}

/// What is no status line.
fn beginnings() -> Vec<Play> {
    let mut plays = Vec::new();
    for line in [
        "HTTP/1.1 abc OK",
        "HTTP/1.1 20 OK",
        "HTTP/1.1 2000 OK",
        "HTTP/1.1 -20 OK",
        "HTTP/1.1 099 OK",
        "HTTP/1.1 000 OK",
        "HTTP/1.1",
        "HTTP/1.1200 OK",
        "HTTP/1.1  200 OK",
        "HTTP/2.0 200 OK",
        "HTTP/0.9 200 OK",
        "HTTP/1.2 200 OK",
        "HTTP/3 200 OK",
        "http/1.1 200 OK",
        "ICY 200 OK",
        "RTSP/1.0 200 OK",
        "200 OK",
        "<html><body>no HTTP</body></html>",
        "SSH-2.0-OpenSSH_9.6",
        "220 mail.example ESMTP",
        "GET / HTTP/1.1",
        "\0\0\0\0\0\0\0\0",
        "\u{16}\u{3}\u{3}\0\u{31}\u{2}\0\0\u{2d}",
    ] {
        let text = format!("{line}\r\ncontent-length: 5\r\n\r\nhello");
        plays.push(says(&format!("begins {}", line.escape_debug()), text, UNREACHABLE));
    }
    let settings = &b"\0\0\x06\x04\0\0\0\0\0\0\x03\0\0\0\x64"[..];
    let noise: Vec<u8> = (0..1024_u32)
        .map(|number| number.wrapping_mul(2_654_435_761).to_be_bytes()[0])
        .collect();
    let body = "content-length: 5\r\n\r\nhello";
    plays.extend([
        says("begins with HTTP/2's settings", settings, UNREACHABLE),
        says("begins with a kilobyte of noise", noise, UNREACHABLE),
        keeps(
            "begins with empty lines",
            format!("\r\n\r\n{MORE}{body}"),
            Whole(200, "hello"),
        ),
        from_the_start(
            "responds before it was asked",
            vec![send(format!("{MORE}{body}")), Act::Serve],
            Either,
        ),
        play("garbage without an end", vec![flood(vec![0xfe; 60_000])], UNREACHABLE),
    ]);
    plays
}

fn interim() -> Vec<Play> {
    let last = format!("{MORE}content-length: 5\r\n\r\nhello");
    let interim = |count: usize| "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n".repeat(count);
    let hello = Whole(200, "hello");
    vec![
        keeps("three interim responses", interim(3) + &last, hello),
        keeps("20,000 interim responses", interim(20_000) + &last, hello),
        play(
            "interim responses without an end",
            vec![Act::Flood(interim(100).into(), Duration::from_millis(1))],
            TIMEOUT,
        ),
        says("an interim response alone", interim(1), UNREACHABLE),
        says(
            "101",
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\nhello",
            UNREACHABLE,
        ),
        keeps("199", format!("HTTP/1.1 199 Odd\r\n\r\n{last}"), hello),
    ]
}

fn bodies() -> Vec<Play> {
    let block = Bytes::from(vec![b'b'; 60_000]);
    let chunk = [&b"ea60\r\n"[..], &block, b"\r\n"].concat();
    let until_close = || send(format!("{MORE}\r\n"));
    vec![
        says(
            "a body until the close",
            format!("{MORE}\r\nhello"),
            Whole(200, "hello"),
        ),
        says(
            "HTTP/1.0 without a length",
            "HTTP/1.0 200 OK\r\ncontent-type: text/plain\r\n\r\nhello",
            Whole(200, "hello"),
        ),
        play(
            "a body without an end",
            vec![until_close(), flood(block.clone())],
            Endless,
        ),
        play(
            "chunks without an end",
            vec![send(format!("{MORE}transfer-encoding: chunked\r\n\r\n")), flood(chunk)],
            Endless,
        ),
        play(
            "7 MB",
            vec![send(format!("{MORE}content-length: 7000000\r\n\r\n")), flood(block)],
            Large,
        ),
        play(
            "a byte of the body a moment",
            vec![until_close(), Act::Flood("b".into(), MOMENT)],
            STALLED,
        ),
        play("a head, and silence", vec![until_close(), Act::Hang], STALLED),
        keeps(
            "connection: close, and the connection stays",
            format!("{MORE}connection: close\r\ncontent-length: 5\r\n\r\nhello"),
            Whole(200, "hello"),
        ),
    ]
}

fn uploads() -> Vec<Play> {
    let full = "HTTP/1.1 413 Too Large\r\ncontent-type: text/plain\r\ncontent-length: 4\r\n\r\nfull";
    let after_head = |acts: Vec<Act>| [vec![Act::ReadHead], acts].concat();
    vec![
        upload("an upload is cut after its head", after_head(vec![]), UNREACHABLE),
        upload(
            "an upload is reset after its head",
            after_head(vec![Act::Reset]),
            UNREACHABLE,
        ),
        upload(
            "an upload is reset in the middle",
            vec![Act::Read(500_000), Act::Reset],
            UNREACHABLE,
        ),
        upload("an upload is not read", vec![Act::Read(1), Act::Hang], TIMEOUT),
        upload(
            "413, and nothing more is written",
            after_head(vec![send(full), Act::HalfClose, Act::Hang]),
            Whole(413, "full"),
        ),
        upload(
            "413, and the rest is read",
            after_head(vec![send(full), Act::Serve]),
            Whole(413, "full"),
        ),
        upload(
            "100 and a close",
            after_head(vec![send("HTTP/1.1 100 Continue\r\n\r\n")]),
            UNREACHABLE,
        ),
        upload(
            "half a 413, and a close",
            after_head(vec![send(&full[..full.len() - 2])]),
            BROKEN,
        ),
    ]
}

fn tls() -> Vec<Play> {
    let alert = |level: u8, code: u8| send(vec![21, 3, 3, 0, 2, level, code]);
    let hello = |acts: Vec<Act>| [vec![Act::Read(1)], acts].concat();
    let spoken = |acts: Vec<Act>| [vec![Act::Handshake, Act::ReadHead], acts].concat();
    let until_close = || send(format!("{MORE}\r\nhello"));
    let half = || send(format!("{MORE}content-length: 10\r\n\r\nhello"));
    let too_long = [&[22, 3, 3, 0xff, 0xff][..], &[0; 65535]].concat();
    let endless = [&[22, 3, 3, 0x40, 0, 2, 0xff, 0xff, 0xff][..], &[0; 16379]].concat();
    let failing = [
        ("plain HTTP", vec![send(HEALTHY)]),
        ("closes after the hello", vec![]),
        ("resets after the hello", vec![Act::Reset]),
        ("handshake_failure", vec![alert(2, 40)]),
        ("protocol_version", vec![alert(2, 70)]),
        ("internal_error", vec![alert(2, 80)]),
        ("warnings without an end", vec![flood(vec![21, 3, 3, 0, 2, 1, 112])]),
        ("close_notify", vec![alert(1, 0)]),
        ("an unknown alert", vec![alert(9, 200)]),
        ("a record of garbage", vec![send(vec![22, 3, 3, 0, 4, 9, 9, 9, 9])]),
        ("a record of another kind", vec![send(vec![99, 3, 3, 0, 1, 0])]),
        ("a record that is too long", vec![send(too_long)]),
        (
            "half a server's hello",
            vec![send(vec![22, 3, 3, 0, 0x7a, 2, 0, 0, 0x76, 3, 3])],
        ),
        ("a byte a moment", vec![Act::Flood(Bytes::from_static(&[22]), MOMENT)]),
        ("a handshake without an end", vec![flood(endless)]),
    ];
    let mut plays: Vec<Play> = failing
        .into_iter()
        .map(|(name, acts)| https(&format!("TLS: {name}"), hello(acts), UNREACHABLE))
        .collect();
    plays.extend([
        https("TLS: closes at once", vec![], UNREACHABLE),
        https("TLS: silence", hello(vec![Act::Hang]), TIMEOUT),
        https(
            "TLS: all is well",
            spoken(vec![send(HEALTHY), Act::Serve]),
            Whole(200, "healthy"),
        ),
        https("TLS: closes after the handshake", vec![Act::Handshake], UNREACHABLE),
        https(
            "TLS: silence after the handshake",
            vec![Act::Handshake, Act::Hang],
            TIMEOUT,
        ),
        https("TLS: closes after the request", spoken(vec![]), UNREACHABLE),
        https("TLS: a body cut without close_notify", spoken(vec![half()]), BROKEN),
        https(
            "TLS: a body until the close, cut without close_notify",
            spoken(vec![until_close()]),
            BROKEN,
        ),
        https(
            "TLS: a body until close_notify",
            spoken(vec![until_close(), Act::HalfClose]),
            Whole(200, "hello"),
        ),
        https("TLS: resets in the body", spoken(vec![half(), Act::Reset]), BROKEN),
    ]);
    plays
}
