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
const HELLO: Ends = Whole(200, "hello");
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
    for length in ["-1", "+5", "0x5", "five", "5 5", "5, 6", "5,", "", "5.0"] {
        let head = format!("content-length: {length}");
        plays.push(says(&head, with(&head) + "hello", UNREACHABLE));
    }
    for coding in ["gzip", "gzip, chunked", "chunked, gzip", "chunked;q=1"] {
        let head = format!("transfer-encoding: {coding}");
        plays.push(says(&head, with(&head) + "5\r\nhello\r\n0\r\n\r\n", UNREACHABLE));
    }
    let second = format!("hello{MORE}content-length: 5\r\n\r\nhello");
    for (name, head, body) in [
        ("a length twice", "content-length: 5\r\ncontent-length: 5", "hello"),
        ("more than its length", "content-length: 5", "hello, world"),
        ("two responses", "content-length: 5", &second),
    ] {
        plays.push(keeps(name, with(head) + body, HELLO));
    }
    let both = with("content-length: 3\r\ntransfer-encoding: chunked") + "5\r\nhello\r\n0\r\n\r\n";
    let silent = vec![send(with("content-length: 50") + "hello"), Act::Hang];
    let two = with("content-length: 5\r\ncontent-length: 6") + "hello!";
    let greatest = with("content-length: 18446744073709551613") + "hello";
    let with_body = |head: &str| format!("HTTP/1.1 {head}\r\ncontent-type: text/plain\r\n\r\nhello");
    let unchanged = with_body("304 Not Modified\r\ncontent-length: 5");
    plays.extend([
        says("two lengths", two, UNREACHABLE),
        says("the greatest length", greatest, BROKEN),
        keeps("a length beside chunks", both, HELLO),
        play("less than its length, and silence", silent, STALLED),
        keeps("204 with a body", with_body("204 No Content"), Whole(204, "")),
        keeps("304 with a body", unchanged, Whole(304, "")),
    ]);
    plays
}

fn chunks() -> Vec<Play> {
    let chunked = |rest: &str| format!("{MORE}transfer-encoding: chunked\r\n\r\n{rest}");
    let hello = |size: &str| chunked(&format!("{size}\r\nhello\r\n0\r\n\r\n"));
    let mut plays = Vec::new();
    for size in ["zz", "-1", "", " ", "0x5", "5 5", "\u{e9}", "5\r", "3", "9"] {
        let name = format!("a chunk of 5 bytes and of size {}", size.escape_debug());
        plays.push(keeps(&name, hello(size), BROKEN));
    }
    let fields = flood("x-a: 1\r\n".repeat(5000));
    for (name, rest, then) in [
        ("a chunk's extension", "5;", flood("e".repeat(60_000))),
        ("trailers", "5\r\nhello\r\n0\r\n", fields),
    ] {
        let acts = vec![send(chunked(rest)), then];
        plays.push(play(&format!("{name} without an end"), acts, BROKEN));
    }
    let extended = hello(&format!("5;{}", "e".repeat(100_000)));
    let small = chunked(&format!("{}0\r\n\r\n", "1\r\na\r\n".repeat(5)));
    let trailers = |text: &str| chunked(&format!("5\r\nhello\r\n0\r\n{text}\r\n\r\n"));
    let endless = vec![send(chunked("5\r\nhello\r\n0\r\n")), Act::Hang];
    plays.extend([
        says("the greatest size", chunked("FFFFFFFFFFFFFFFF\r\nhello"), BROKEN),
        keeps("a chunk's extension", hello("5;a=\"b\""), HELLO),
        keeps("a chunk's extension of 100 kB", extended, BROKEN),
        keeps("a chunk's size with zeros", hello("00000000005"), HELLO),
        keeps("chunks of a byte", small, Whole(200, "aaaaa")),
        keeps("trailers", trailers("x-a: 1\r\ncontent-length: 9"), HELLO),
        keeps("trailers that are none", trailers("no trailer"), BROKEN),
        play("an empty chunk without an end", endless, STALLED),
    ]);
    plays
}

fn heads() -> Vec<Play> {
    let with = |fields: &str| format!("{MORE}{fields}\r\ncontent-length: 5\r\n\r\nhello");
    let fields = |count: usize| {
        let fields: Vec<String> = (0..count).map(|number| format!("x-{number}: v")).collect();
        with(&fields.join("\r\n"))
    };
    let moment = |text: &'static str| Act::Flood(text.into(), MOMENT);
    let mut plays = vec![
        keeps("90 fields", fields(90), HELLO),
        keeps("100,000 fields", fields(100_000), UNREACHABLE),
        play("a byte of the head a moment", vec![moment("H")], TIMEOUT),
        play("a field a moment", vec![send(MORE), moment("x-a: v\r\n")], TIMEOUT),
        play("silence", vec![Act::Hang], TIMEOUT),
        play("half a head, and silence", vec![send(MORE), Act::Hang], TIMEOUT),
        keeps("a folded field", with("x-a: b\r\n c"), HELLO),
        keeps("a space before the colon", with("x-a : b"), HELLO),
        keeps("lines without CR", with("x-a: b").replace('\r', ""), HELLO),
    ];
    for (name, beginning, rest) in [
        ("fields", MORE, "x-a: v\r\n".repeat(5000)),
        ("a value", "HTTP/1.1 200 OK\r\nx-a: ", "v".repeat(60_000)),
        ("a reason", "HTTP/1.1 200 ", "v".repeat(60_000)),
    ] {
        let acts = vec![send(beginning), flood(rest)];
        plays.push(play(&format!("{name} without an end"), acts, UNREACHABLE));
    }
    for field in [
        "no colon",
        ": no name",
        "x a: 1",
        "x-a: b\0c",
        "x-a: b\rc",
        "x\u{e9}: 1",
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
    for version in ["HTTP/2.0", "HTTP/0.9", "HTTP/1.2", "http/1.1", "ICY", "RTSP/1.0", ""] {
        plays.push(beginning(&format!("{version} 200 OK")));
    }
    for status in ["abc OK", "20 OK", "2000 OK", "-20 OK", "099 OK", " 200 OK", ""] {
        plays.push(beginning(&format!("HTTP/1.1 {status}")));
    }
    for line in [
        "<html><body>no HTTP</body></html>",
        "SSH-2.0-OpenSSH_9.6",
        "GET / HTTP/1.1",
        "\0\0\0\0\0\0\0\0",
        "\u{16}\u{3}\u{3}\0\u{31}\u{2}\0\0\u{2d}",
    ] {
        plays.push(beginning(line));
    }
    let settings = &b"\0\0\x06\x04\0\0\0\0\0\0\x03\0\0\0\x64"[..];
    let whole = format!("{MORE}content-length: 5\r\n\r\nhello");
    let early = vec![send(whole.clone()), Act::Serve];
    plays.extend([
        says("begins with HTTP/2's settings", settings, UNREACHABLE),
        keeps("begins with empty lines", format!("\r\n\r\n{whole}"), HELLO),
        from_the_start("responds before it was asked", early, Either),
        play("garbage without an end", vec![flood(vec![0xfe; 60_000])], UNREACHABLE),
    ]);
    plays
}

fn beginning(line: &str) -> Play {
    let text = format!("{line}\r\ncontent-length: 5\r\n\r\nhello");
    says(&format!("begins {}", line.escape_debug()), text, UNREACHABLE)
}

fn interim() -> Vec<Play> {
    let last = format!("{MORE}content-length: 5\r\n\r\nhello");
    let interim = |count: usize| "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n".repeat(count);
    let endless = Act::Flood(interim(100).into(), Duration::from_millis(1));
    let switching = "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\nhello";
    vec![
        keeps("three interim responses", interim(3) + &last, HELLO),
        keeps("20,000 interim responses", interim(20_000) + &last, HELLO),
        play("interim responses without an end", vec![endless], TIMEOUT),
        says("an interim response alone", interim(1), UNREACHABLE),
        says("101", switching, UNREACHABLE),
        keeps("199", format!("HTTP/1.1 199 Odd\r\n\r\n{last}"), HELLO),
    ]
}

fn bodies() -> Vec<Play> {
    let block = Bytes::from(vec![b'b'; 60_000]);
    let chunk = [&b"ea60\r\n"[..], &block, b"\r\n"].concat();
    let head = |fields: &str| send(format!("{MORE}{fields}\r\n"));
    let mut plays = Vec::new();
    for (name, fields, then, ends) in [
        ("a body without an end", "", flood(block.clone()), Endless),
        (
            "chunks without an end",
            "transfer-encoding: chunked\r\n",
            flood(chunk),
            Endless,
        ),
        ("7 MB", "content-length: 7000000\r\n", flood(block), Large),
        (
            "a byte of the body a moment",
            "",
            Act::Flood("b".into(), MOMENT),
            STALLED,
        ),
        ("a head, and silence", "", Act::Hang, STALLED),
    ] {
        plays.push(play(name, vec![head(fields), then], ends));
    }
    let old = "HTTP/1.0 200 OK\r\ncontent-type: text/plain\r\n\r\nhello";
    let stays = format!("{MORE}connection: close\r\ncontent-length: 5\r\n\r\nhello");
    plays.extend([
        says("a body until the close", format!("{MORE}\r\nhello"), HELLO),
        says("HTTP/1.0 without a length", old, HELLO),
        keeps("connection: close, and the connection stays", stays, HELLO),
    ]);
    plays
}

fn uploads() -> Vec<Play> {
    let full = "HTTP/1.1 413 Too Large\r\ncontent-type: text/plain\r\ncontent-length: 4\r\n\r\nfull";
    let (goes_on, half) = ("HTTP/1.1 100 Continue\r\n\r\n", &full[..full.len() - 2]);
    let refused = Whole(413, "full");
    let plays = [
        ("cut after its head", vec![Act::ReadHead], UNREACHABLE),
        ("reset after its head", vec![Act::ReadHead, Act::Reset], UNREACHABLE),
        ("reset in the middle", vec![Act::Read(500_000), Act::Reset], UNREACHABLE),
        ("not read", vec![Act::Read(1), Act::Hang], TIMEOUT),
        (
            "refused, and not read",
            vec![Act::ReadHead, send(full), Act::HalfClose, Act::Hang],
            refused,
        ),
        (
            "refused, and read",
            vec![Act::ReadHead, send(full), Act::Serve],
            refused,
        ),
        ("asked for, and cut", vec![Act::ReadHead, send(goes_on)], UNREACHABLE),
        ("refused by half a response", vec![Act::ReadHead, send(half)], BROKEN),
    ];
    let plays = plays.into_iter().map(|(name, acts, ends)| Play {
        upload: true,
        ..from_the_start(&format!("an upload is {name}"), acts, ends)
    });
    plays.collect()
}

fn tls() -> Vec<Play> {
    let alert = |level: u8, code: u8| send(vec![21, 3, 3, 0, 2, level, code]);
    let hello = |acts: Vec<Act>| [vec![Act::Read(1)], acts].concat();
    let spoken = |acts: Vec<Act>| [vec![Act::Handshake, Act::ReadHead], acts].concat();
    let until_close = || send(format!("{MORE}\r\nhello"));
    let half = || send(format!("{MORE}content-length: 10\r\n\r\nhello"));
    let too_long = [&[22, 3, 3, 0xff, 0xff][..], &[0; 65535]].concat();
    let endless = [&[22, 3, 3, 0x40, 0, 2, 0xff, 0xff, 0xff][..], &[0; 16379]].concat();
    let half_hello = vec![22, 3, 3, 0, 0x7a, 2, 0, 0, 0x76, 3, 3];
    let failing = [
        ("plain HTTP", vec![send(HEALTHY)]),
        ("closes after the hello", vec![]),
        ("resets after the hello", vec![Act::Reset]),
        ("handshake_failure", vec![alert(2, 40)]),
        ("warnings without an end", vec![flood(vec![21, 3, 3, 0, 2, 1, 112])]),
        ("close_notify", vec![alert(1, 0)]),
        ("an unknown alert", vec![alert(9, 200)]),
        ("a record of garbage", vec![send(vec![22, 3, 3, 0, 4, 9, 9, 9, 9])]),
        ("a record of another kind", vec![send(vec![99, 3, 3, 0, 1, 0])]),
        ("a record that is too long", vec![send(too_long)]),
        ("half a server's hello", vec![send(half_hello)]),
        ("a byte a moment", vec![Act::Flood(Bytes::from_static(&[22]), MOMENT)]),
        ("a handshake without an end", vec![flood(endless)]),
    ];
    let failing = failing.map(|(name, acts)| (name, hello(acts), UNREACHABLE));
    let healthy = spoken(vec![send(HEALTHY), Act::Serve]);
    let others = [
        ("closes at once", vec![], UNREACHABLE),
        ("silence", hello(vec![Act::Hang]), TIMEOUT),
        ("all is well", healthy, Whole(200, "healthy")),
        ("closes after the handshake", vec![Act::Handshake], UNREACHABLE),
        ("silence after the handshake", vec![Act::Handshake, Act::Hang], TIMEOUT),
        ("closes after the request", spoken(vec![]), UNREACHABLE),
        ("a body cut without close_notify", spoken(vec![half()]), BROKEN),
        (
            "an endless body cut without close_notify",
            spoken(vec![until_close()]),
            BROKEN,
        ),
        (
            "a body until close_notify",
            spoken(vec![until_close(), Act::HalfClose]),
            HELLO,
        ),
        ("resets in the body", spoken(vec![half(), Act::Reset]), BROKEN),
    ];
    let plays = failing.into_iter().chain(others).map(|(name, acts, ends)| Play {
        https: true,
        ..from_the_start(&format!("TLS: {name}"), acts, ends)
    });
    plays.collect()
}
