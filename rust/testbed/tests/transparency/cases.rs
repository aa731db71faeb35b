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
    cases.push(
        Case::raw("HEAD", "/").answered("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 1234\r\n\r\n"),
    );
    cases.push(Case::raw("HEAD", "/").answered("HTTP/1.1 404 Not Found\r\ncontent-type: text/plain\r\n\r\n"));
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
    let form = b"a=1&b=%C3%A9&c=+&d".to_vec();
    vec![
        post("application/octet-stream", every_byte.clone()),
        post(
            "text/plain; charset=utf-8",
            "Gr\u{fc}\u{df}e \u{20ac} \u{1f980}\r\n\t\u{0}".into(),
        ),
        post("text/plain; charset=iso-8859-1", b"Gr\xfc\xdfe".to_vec()),
        post("text/plain; charset=utf-16le", b"\xff\xfeG\x00r\x00".to_vec()),
        post("text/html; charset=windows-1251", vec![0xcf, 0xf0, 0xe8]),
        post(
            "application/json",
            br#"{"a": "\u00e9\n", "b": [1.0, 1e400], "a": 2}"#.to_vec(),
        ),
        post("application/json", b"{\"broken\": \xff".to_vec()),
        post("application/x-www-form-urlencoded", form),
        post("multipart/form-data; boundary=x", multipart),
        post("text/plain", b"\x1f\x8b\x08\x00compressed".to_vec()).header("content-encoding", "gzip"),
        post("application/x-protobuf", vec![0; 5000]),
        post("text/plain", vec![b'x'; 3_000_000]),
        post(
            "application/octet-stream",
            every_byte.iter().copied().cycle().take(3_500_000).collect(),
        ),
        Case::raw("POST", "/untyped").body("no type"),
        Case::raw("POST", "/chunked")
            .header("transfer-encoding", "chunked")
            .body("in chunks"),
        Case::raw("PUT", "/empty").header("content-length", "0"),
        Case::raw("POST", "/expect")
            .header("expect", "100-continue")
            .body("asked for"),
    ]
}

fn request_headers() -> Vec<Case> {
    let get = || Case::raw("GET", "/headers");
    vec![
        get()
            .header("authorization", "Bearer for.the.target")
            .header("x-amz-date", "20200101T000000Z"),
        get()
            .header("x-amz-security-token", "the target's")
            .header("x-amz-content-sha256", "UNSIGNED-PAYLOAD"),
        get().header("host", "virtual.example.com:8443"),
        get().header("cookie", "a=1; b=\"two\"; c=; d=x=y"),
        get().header("cookie", "a=1; a=2;b=3"),
        get()
            .header("x-many", "1")
            .header("x-many", "2, 3")
            .header("x-many", ""),
        get()
            .header("x-utf8", "caf\u{e9} \u{20ac}")
            .header("x-latin1", b"caf\xe9"),
        get()
            .header("x-empty", "")
            .header("x-quoted", "\"a\\\"b\", c")
            .header("x-tab", "a\tb"),
        get()
            .header("accept", "*/*")
            .header("accept-encoding", "gzip, br")
            .header("accept-language", "de;q=0.9"),
        get()
            .header("user-agent", "curl/8.0 (test)")
            .header("referer", "http://a/b?c#d")
            .header("origin", "null"),
        get()
            .header("if-none-match", "W/\"a\", \"b\"")
            .header("if-modified-since", "Sat, 01 Jan 2022 00:00:00 GMT"),
        get().header("range", "bytes=0-0,5-,-3").header("if-range", "\"a\""),
        get()
            .header("connection", "x-hop, keep-alive")
            .header("x-hop", "1")
            .header("keep-alive", "timeout=5")
            .header("x-kept", "1"),
        get()
            .header("te", "trailers")
            .header("upgrade", "websocket")
            .header("proxy-authorization", "Basic eA=="),
        get()
            .header("x-forwarded-for", "203.0.113.9")
            .header("x-forwarded-host", "shop.example.com")
            .header("forwarded", "for=203.0.113.9"),
        get()
            .header("via", "1.1 caller")
            .header("x-amz-meta-a", "1")
            .header("x-amz-target", "Svc.Op")
            .header("traceparent", "00-1-2-01"),
        get()
            .header("x-long", vec![b'v'; 6000])
            .header("max-forwards", "3")
            .header("cache-control", "no-cache"),
        get()
            .header("content-type", "text/plain")
            .header("content-language", "de"),
    ]
}

fn raw_get(answer: &str) -> Case {
    Case::raw("GET", "/answer").answered(Bytes::copy_from_slice(answer.as_bytes()))
}

fn statuses() -> Vec<Case> {
    let mut cases: Vec<Case> = [201, 202, 203, 207, 226, 299, 300, 400, 401, 403, 404, 405, 409, 410, 418, 421, 422, 429, 451, 500, 501, 502, 503, 504, 511, 599, 799, 999]
        .map(|status| raw_get(&format!("HTTP/1.1 {status} Some Reason\r\ncontent-type: text/plain\r\nx-status: {status}\r\ncontent-length: 4\r\n\r\nbody")))
        .to_vec();
    for status in [301, 302, 303, 307, 308] {
        cases.push(raw_get(&format!("HTTP/1.1 {status} Go\r\ncontent-type: text/html\r\nlocation: http://elsewhere.example/a?b=c%2F#d\r\ncontent-length: 0\r\n\r\n")));
    }
    cases.push(raw_get(
        "HTTP/1.1 302 Found\r\ncontent-type: text/html\r\nlocation: ../relative\r\ncontent-length: 0\r\n\r\n",
    ));
    cases.push(raw_get(
        "HTTP/1.1 204 No Content\r\ncontent-type: text/plain\r\nx-a: 1\r\n\r\n",
    ));
    cases.push(raw_get(
        "HTTP/1.1 205 Reset Content\r\ncontent-type: text/plain\r\ncontent-length: 0\r\n\r\n",
    ));
    cases.push(raw_get(
        "HTTP/1.1 304 Not Modified\r\ncontent-type: text/plain\r\netag: \"a\"\r\ncontent-length: 500\r\n\r\n",
    ));
    cases.push(raw_get(
        "HTTP/1.1 304 Not Modified\r\ncontent-type: text/plain\r\netag: W/\"b\"\r\n\r\n",
    ));
    cases.push(raw_get(
        "HTTP/1.1 200 \r\ncontent-type: text/plain\r\ncontent-length: 9\r\n\r\nno reason",
    ));
    cases.push(raw_get(
        "HTTP/1.1 200 An Odd (Reason), \"quoted\"\r\ncontent-type: text/plain\r\ncontent-length: 1\r\n\r\nx",
    ));
    cases.push(raw_get("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 5\r\n\r\nfinal"));
    cases
}

fn framings() -> Vec<Case> {
    let get = || Case::raw("GET", "/framing");
    vec![
        raw_get(
            "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ntransfer-encoding: chunked\r\n\r\n3;ext=1\r\nabc\r\n1\r\nd\r\n0\r\n\r\n",
        ),
        raw_get(
            "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n3\r\nabc\r\n0\r\nx-sum: 1\r\n\r\n",
        ),
        raw_get("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
        raw_get("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 0\r\n\r\n"),
        get().closing("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\r\nuntil the end"),
        get().closing("HTTP/1.0 200 OK\r\ncontent-type: text/plain\r\n\r\nof old"),
        get().closing("HTTP/1.0 404 Not Found\r\ncontent-type: text/plain\r\ncontent-length: 6\r\n\r\nof old"),
        get().closing(
            "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\nconnection: close\r\ncontent-length: 3\r\n\r\nbye",
        ),
        raw_get(
            "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\nconnection: keep-alive, x-hop\r\nkeep-alive: timeout=5\r\nx-hop: 1\r\ncontent-length: 1\r\n\r\nx",
        ),
        get().answered(Bytes::from(
            [
                &b"HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\ncontent-length: 256\r\n\r\n"[..],
                &(0..=255).collect::<Vec<u8>>(),
            ]
            .concat(),
        )),
        get().answered(Bytes::from(
            [
                &b"HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\ncontent-length: 4000000\r\n\r\n"[..],
                &vec![0xfe; 4_000_000],
            ]
            .concat(),
        )),
        get().answered(Bytes::from(
            [
                &b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 5000000\r\n\r\n"[..],
                &vec![b't'; 5_000_000],
            ]
            .concat(),
        )),
    ]
}

fn answer_headers() -> Vec<Case> {
    let with = |lines: &str| raw_get(&format!("HTTP/1.1 200 OK\r\n{lines}\r\ncontent-length: 1\r\n\r\nx"));
    vec![
        with("content-type: text/plain\r\nset-cookie: a=1; Path=/; Expires=Wed, 21 Oct 2015 07:28:00 GMT\r\nset-cookie: b=2; HttpOnly\r\nset-cookie: a=3"),
        with("content-type: text/plain\r\nset-cookie: only=one"),
        with("content-type: text/plain\r\nx-many: 1\r\nx-many: 2, 3\r\nvary: a\r\nVary: b\r\nlink: </a>; rel=x\r\nlink: </b>"),
        with("content-type: text/plain\r\nwww-authenticate: Basic realm=\"a\"\r\nwww-authenticate: Bearer\r\nproxy-authenticate: Basic"),
        with("content-type: text/plain\r\ndate: Sat, 01 Jan 2022 00:00:00 GMT\r\nserver: odd/1.0\r\nvia: 1.0 x\r\nage: 5"),
        with("content-type: text/plain\r\nx-utf8: caf\u{e9} \u{20ac}\r\nx-empty:\r\nx-spaces:   a  b  "),
        Case::raw("GET", "/latin1").answered(&b"HTTP/1.1 200 OK\r\ncontent-type: text/plain; charset=iso-8859-1\r\nx-latin1: caf\xe9\r\ncontent-length: 4\r\n\r\ncaf\xe9"[..]),
        with("x-no-type: 1"),
        with("content-type: text/plain\r\nx-amzn-remapped-date: forged\r\nts-error-name: Forged\r\nts-error-message: forged\r\nts-other: kept"),
        with("content-type: text/plain\r\ncontent-disposition: attachment; filename*=UTF-8''%e2%82%ac.txt\r\netag: \"x\"\r\nlast-modified: Sat, 01 Jan 2022 00:00:00 GMT"),
        with("content-type: text/plain\r\naccess-control-allow-origin: *\r\nstrict-transport-security: max-age=1\r\nretry-after: 5\r\nallow: GET, X"),
        with("CONTENT-TYPE: text/plain\r\nX-CaSe: KePt\r\nx_under.score~!: 1"),
        with(&format!("content-type: text/plain\r\n{}", (0..80).map(|n| format!("x-{n}: {n}")).collect::<Vec<_>>().join("\r\n"))),
    ]
}

/// A server that is not ours, with its own ideas of HTTP.
fn httpbin() -> Vec<Case> {
    let mut cases: Vec<Case> = [
        "/get?a=1&a=2&b=%C3%A9&c=+",
        "/anything/a%2Fb?x=y",
        "/gzip",
        "/deflate",
        "/encoding/utf8",
        "/html",
        "/json",
        "/xml",
        "/image/png",
        "/image/webp",
        "/bytes/100000?seed=7",
        "/stream-bytes/50000?seed=7&chunk_size=1000",
        "/stream/5",
        "/range/1000",
        "/status/418",
        "/status/503",
        "/redirect-to?url=%2Fget&status_code=307",
        "/absolute-redirect/2",
        "/cookies/set?a=1",
        "/response-headers?x-a=1&x-a=2&content-language=de",
        "/basic-auth/u/p",
        "/cache",
        "/etag/abc",
        "/drip?duration=0.1&numbytes=5&delay=0",
        "/base64/aGVsbG8=",
        "/links/3/0",
        "/robots.txt",
        "/deny",
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
        Case::new("HEAD", "/bytes/100?seed=1"),
        Case::new("OPTIONS", "/anything"),
        Case::new("POST", "/post")
            .header("content-type", "application/x-www-form-urlencoded")
            .body("a=1&b=2&a=3"),
        Case::new("POST", "/anything")
            .header("content-type", "application/json")
            .body(r#"{"a":[1,"\u00e9"]}"#),
        Case::new("PUT", "/put").body(vec![0xff; 1000]),
        Case::new("PATCH", "/patch")
            .header("content-type", "text/plain; charset=utf-8")
            .body("gr\u{fc}n"),
        Case::new("DELETE", "/delete?x=1"),
        Case::new("POST", "/dump/request")
            .header("content-type", "application/octet-stream")
            .body((0..=255).collect::<Vec<u8>>()),
    ]);
    cases
}
