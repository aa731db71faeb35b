//! What is sent and answered in the differential test.

use bytes::Bytes;

pub(crate) use crate::exchange::Case;

/// All cases.
pub(crate) fn all() -> Vec<Case> {
    [
        paths(),
        methods(),
        bodies(),
        request_headers(),
        statuses(),
        framings(),
        answer_headers(),
        httpbin(),
    ]
    .concat()
}

/// Path and query, byte for byte.
fn paths() -> Vec<Case> {
    [
        "/",
        "/%2F/a%2fb",
        "/plus+plus/%20space",
        "/%C3%A9/%c3%a9/%E9",
        "//double//slashes//",
        "/trailing/",
        "/./dots/../and/./more/..",
        "/..%2f..%2fetc/passwd",
        "/matrix;v=1;w=2/(paren)/!*'",
        "/~tilde/@at/:colon/$dollar&and,comma=equals",
        "/odd|pipe{brace}^caret\"quote",
        "/%/%zz/%0",
        "/no-query?",
        "/q?a=&b&=c&&d==e",
        "/q?tag=1&tag=2&tag=1",
        "/q?b=2&a=1&c=3",
        "/q?plus=a+b&space=a%20b&slash=%2F&e=%C3%A9&bad=%E9",
        "/q?url=http://x/y?z=1&list[]=1&list[]=2&obj={a:[1,2]}&pipe=|^`~",
        "/q?question=?&hash=%23&percent=%25&semi=a;b",
        "/q?%61=encoded&A=B",
        "/favicon.ico",
    ]
    .map(|path| Case::raw("GET", path))
    .to_vec()
}

fn methods() -> Vec<Case> {
    let bare = [
        "GET", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "M-SEARCH", "x-own", "POST", "PUT", "PATCH",
    ];
    let mut cases: Vec<Case> = bare.map(|method| Case::raw(method, "/")).to_vec();
    for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "REPORT"] {
        cases.push(
            Case::raw(method, "/with-a-body")
                .header("content-type", "text/plain")
                .body("body"),
        );
    }
    for head in ["200 OK\r\ncontent-length: 1234", "404 Not Found"] {
        cases.push(Case::raw("HEAD", "/").answered(response(head, "")));
    }
    cases
}

fn bodies() -> Vec<Case> {
    let post = |content_type: &str, body: Vec<u8>| {
        Case::raw("POST", "/body")
            .header("content-type", content_type)
            .body(body)
    };
    let every_byte: Vec<u8> = (0..=255).cycle().take(70_000).collect();
    let multipart = [
        &b"--x\r\ncontent-disposition: form-data; name=\"f\"; filename=\"\xc3\xa9.bin\"\r\n\r\n"[..],
        &every_byte,
        b"\r\n--x--\r\n",
    ]
    .concat();
    let large = every_byte.iter().copied().cycle().take(3_500_000).collect();
    let odd_json = br#"{"a": "\u00e9\n", "b": [1.0, 1e400], "a": 2}"#;
    let odd_text = "Gr\u{fc}\u{df}e \u{20ac} \u{1f980}\r\n\t\u{0}";
    let raw = |method: &str, body: &'static str| Case::raw(method, "/body").body(body);
    vec![
        post("application/octet-stream", every_byte),
        post("text/plain; charset=utf-8", odd_text.into()),
        post("text/plain; charset=iso-8859-1", b"Gr\xfc\xdfe".to_vec()),
        post("text/plain; charset=utf-16le", b"\xff\xfeG\x00r\x00".to_vec()),
        post("application/json", odd_json.to_vec()),
        post("application/json", b"{\"broken\": \xff".to_vec()),
        post("application/x-www-form-urlencoded", b"a=1&b=%C3%A9&c=+&d".to_vec()),
        post("multipart/form-data; boundary=x", multipart),
        post("text/plain", b"\x1f\x8b\x08\x00compressed".to_vec()).header("content-encoding", "gzip"),
        post("application/x-protobuf", vec![0; 5000]),
        post("text/plain", vec![b'x'; 3_000_000]),
        post("application/octet-stream", large),
        raw("POST", "no type"),
        raw("POST", "in chunks").header("transfer-encoding", "chunked"),
        raw("PUT", "").header("content-length", "0"),
        raw("POST", "asked for").header("expect", "100-continue"),
    ]
}

fn request_headers() -> Vec<Case> {
    let get = |lines: &str| {
        let lines = lines.split("\r\n").filter_map(|line| line.split_once(':'));
        lines.fold(Case::raw("GET", "/headers"), |case, (name, value)| {
            case.header(name, value.trim_start())
        })
    };
    let mut cases = [
        "authorization: Bearer for.the.target\r\nx-amz-date: 20200101T000000Z",
        "x-amz-security-token: the target's\r\nx-amz-content-sha256: UNSIGNED-PAYLOAD",
        "host: virtual.example.com:8443",
        "cookie: a=1; b=\"two\"; c=; d=x=y",
        "cookie: a=1; a=2;b=3",
        "x-many: 1\r\nx-many: 2, 3\r\nx-many:",
        "x-empty:\r\nx-quoted: \"a\\\"b\", c\r\nx-tab: a\tb",
        "accept: */*\r\naccept-encoding: gzip, br\r\naccept-language: de;q=0.9",
        "user-agent: curl/8.0 (test)\r\nreferer: http://a/b?c#d\r\norigin: null",
        "if-none-match: W/\"a\", \"b\"\r\nif-modified-since: Sat, 01 Jan 2022 00:00:00 GMT",
        "range: bytes=0-0,5-,-3\r\nif-range: \"a\"",
        "connection: x-hop, keep-alive\r\nx-hop: 1\r\nkeep-alive: timeout=5\r\nx-kept: 1",
        "te: trailers\r\nupgrade: websocket\r\nproxy-authorization: Basic eA==",
        "x-forwarded-for: 203.0.113.9\r\nx-forwarded-host: shop.example.com\r\nforwarded: for=203.0.113.9",
        "via: 1.1 caller\r\nx-amz-meta-a: 1\r\nx-amz-target: Svc.Op\r\ntraceparent: 00-1-2-01",
        "max-forwards: 3\r\ncache-control: no-cache\r\ncontent-type: text/plain\r\ncontent-language: de",
    ]
    .map(get)
    .to_vec();
    cases.push(get(&format!("x-long: {}", "v".repeat(6000))));
    cases.push(get("x-utf8: caf\u{e9} \u{20ac}").header("x-latin1", b"caf\xe9"));
    cases
}

/// A response of this status and these header fields, of a type of its own or of text.
fn response(head: &str, body: &str) -> String {
    format!("HTTP/1.1 {head}\r\ncontent-type: text/plain\r\n\r\n{body}")
}

fn raw_get(answer: impl Into<Bytes>) -> Case {
    Case::raw("GET", "/answer").answered(answer)
}

fn statuses() -> Vec<Case> {
    let plain = [
        201, 202, 203, 207, 226, 299, 300, 400, 401, 403, 404, 405, 409, 410, 418, 421, 422, 429, 451, 500, 501, 502,
        503, 504, 511, 599, 799, 999,
    ];
    let plain = plain.map(|status| {
        let head = format!("{status} Some Reason\r\nx-status: {status}\r\ncontent-length: 4");
        response(&head, "body")
    });
    let moved = [301, 302, 303, 307, 308].map(|status| {
        let head = format!("{status} Go\r\nlocation: http://elsewhere.example/a?b=c%2F#d\r\ncontent-length: 0");
        response(&head, "")
    });
    let others = [
        "302 Found\r\nlocation: ../relative\r\ncontent-length: 0",
        "204 No Content\r\nx-a: 1",
        "205 Reset Content\r\ncontent-length: 0",
        "304 Not Modified\r\netag: \"a\"\r\ncontent-length: 500",
        "304 Not Modified\r\netag: W/\"b\"",
        "200 \r\ncontent-length: 0",
        "200 An Odd (Reason), \"quoted\"\r\ncontent-length: 0",
        "100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n\
         HTTP/1.1 200 OK\r\ncontent-length: 0",
    ];
    let others = others.map(|head| response(head, ""));
    plain.into_iter().chain(moved).chain(others).map(raw_get).collect()
}

fn framings() -> Vec<Case> {
    let chunked = [
        ("", "3;ext=1\r\nabc\r\n1\r\nd\r\n0\r\n\r\n"),
        ("\r\ntrailer: x-sum", "3\r\nabc\r\n0\r\nx-sum: 1\r\n\r\n"),
        ("", "0\r\n\r\n"),
    ];
    let chunked = chunked.map(|(more, body)| (format!("200 OK\r\ntransfer-encoding: chunked{more}"), body));
    let with_length = [
        ("200 OK\r\ncontent-length: 0", ""),
        ("404 Not Found\r\ncontent-length: 6", "of old"),
        (
            "200 OK\r\nconnection: keep-alive, x-hop\r\nkeep-alive: timeout=5\r\nx-hop: 1\r\ncontent-length: 1",
            "x",
        ),
    ];
    let with_length = with_length.map(|(head, body)| (head.to_owned(), body));
    let whole = chunked.into_iter().chain(with_length);
    let mut cases: Vec<Case> = whole.map(|(head, body)| raw_get(response(&head, body))).collect();
    for head in ["200 OK", "200 OK\r\nconnection: close\r\ncontent-length: 13"] {
        cases.push(Case::raw("GET", "/framing").closing(response(head, "until the end")));
    }
    for head in ["200 OK", "404 Not Found\r\ncontent-length: 13"] {
        let old = response(head, "until the end").replace("HTTP/1.1", "HTTP/1.0");
        cases.push(Case::raw("GET", "/framing").closing(old));
    }
    let every_byte: Vec<u8> = (0..=255).collect();
    for (content_type, body) in [
        ("application/octet-stream", every_byte),
        ("application/octet-stream", vec![0xfe; 4_000_000]),
        ("text/plain", vec![b't'; 5_000_000]),
    ] {
        let length = body.len();
        let head = format!("HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\ncontent-length: {length}\r\n\r\n");
        cases.push(raw_get([head.into_bytes(), body].concat()));
    }
    cases
}

fn answer_headers() -> Vec<Case> {
    let with = |lines: &str| raw_get(format!("HTTP/1.1 200 OK\r\n{lines}\r\ncontent-length: 1\r\n\r\nx"));
    let many: Vec<String> = (0..80).map(|number| format!("x-{number}: {number}")).collect();
    let latin1 = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain; charset=iso-8859-1\r\nx-latin1: caf\xe9\r\n\
        content-length: 4\r\n\r\ncaf\xe9";
    let mut cases = [
        "set-cookie: a=1; Path=/; Expires=Wed, 21 Oct 2015 07:28:00 GMT\r\nset-cookie: b=2; HttpOnly\r\nset-cookie: a=3",
        "set-cookie: only=one",
        "x-many: 1\r\nx-many: 2, 3\r\nvary: a\r\nVary: b\r\nlink: </a>; rel=x\r\nlink: </b>",
        "www-authenticate: Basic realm=\"a\"\r\nwww-authenticate: Bearer\r\nproxy-authenticate: Basic",
        "date: Sat, 01 Jan 2022 00:00:00 GMT\r\nserver: odd/1.0\r\nvia: 1.0 x\r\nage: 5",
        "x-utf8: caf\u{e9} \u{20ac}\r\nx-empty:\r\nx-spaces:   a  b  ",
        "x-amzn-remapped-date: forged\r\nts-error-name: Forged\r\nts-error-message: forged\r\nts-other: kept",
        "content-disposition: attachment; filename*=UTF-8''%e2%82%ac.txt\r\netag: \"x\"",
        "access-control-allow-origin: *\r\nstrict-transport-security: max-age=1\r\nretry-after: 5\r\nallow: GET, X",
        "X-CaSe: KePt\r\nx_under.score~!: 1",
        &many.join("\r\n"),
    ]
    .map(|lines| with(&format!("CONTENT-TYPE: text/plain\r\n{lines}")))
    .to_vec();
    cases.push(with("x-no-type: 1"));
    cases.push(raw_get(&latin1[..]));
    cases
}

/// A server that is not ours, with its own ideas of HTTP.
fn httpbin() -> Vec<Case> {
    let mut cases: Vec<Case> = [
        "/get?a=1&a=2&b=%C3%A9&c=+",
        "/anything/a%2Fb?x=y",
        "/gzip",
        "/deflate",
        "/encoding/utf8",
        "/image/png",
        "/stream-bytes/50000?seed=7&chunk_size=1000",
        "/stream/5",
        "/range/1000",
        "/status/418",
        "/redirect-to?url=%2Fget&status_code=307",
        "/cookies/set?a=1",
        "/response-headers?x-a=1&x-a=2&content-language=de",
        "/basic-auth/u/p",
        "/cache",
        "/etag/abc",
        "/drip?duration=0.1&numbytes=5&delay=0",
    ]
    .map(|path| Case::new("GET", path))
    .to_vec();
    cases.extend([
        Case::new("GET", "/range/1000").header("range", "bytes=10-19"),
        Case::new("GET", "/etag/abc").header("if-none-match", "\"abc\""),
        Case::new("GET", "/cache").header("if-modified-since", "Sat, 01 Jan 2022 00:00:00 GMT"),
        Case::new("GET", "/basic-auth/u/p").header("authorization", "Basic dTpw"),
        Case::new("GET", "/cookies").header("cookie", "a=1; b=2"),
        Case::new("HEAD", "/get"),
        Case::new("OPTIONS", "/anything"),
        Case::new("POST", "/anything")
            .header("content-type", "application/json")
            .body(r#"{"a":[1,"\u00e9"]}"#),
        Case::new("DELETE", "/delete?x=1"),
        Case::new("POST", "/dump/request")
            .header("content-type", "application/octet-stream")
            .body((0..=255).collect::<Vec<u8>>()),
    ]);
    cases
}
