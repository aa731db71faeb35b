//! The hostile events, most of them generated: each character in each place, each field with each kind of value.

use bytes::Bytes;

use crate::{
    event::{Draft, Wire, quoted},
    requests::{Case, Expected},
};

/// What a token is made of beside letters and digits (RFC 9110 section 5.6.2).
const TOKEN: &str = "!#$%&'*+-.^_`|~";
/// What a path or a query may hold as it is, beside letters and digits (RFC 3986 sections 3.3 and 3.4).
const PATH: &str = "-._~!$&'()*+,;=:@/%";

/// All of them, for a target at this address and port.
pub(crate) fn all(target: &str, port: u16) -> Vec<Case> {
    let corpus = Corpus { target, port };
    let kinds = [
        corpus.methods(),
        corpus.paths(),
        corpus.names(),
        corpus.values(),
        corpus.hop_by_hop(),
        corpus.targets(),
        corpus.hosts(),
        corpus.own_headers(),
        corpus.signatures(),
        corpus.cookies(),
        corpus.bodies(),
        corpus.amounts(),
        corpus.fields(),
        payloads(),
    ];
    kinds.into_iter().flatten().collect()
}

struct Corpus<'a> {
    target: &'a str,
    port: u16,
}

fn intact(title: String, draft: &Draft) -> Case {
    case(title, draft.json(), Expected::Intact(Box::new(draft.wire())))
}

fn refused(title: String, draft: &Draft) -> Case {
    case(title, draft.json(), Expected::Refused)
}

fn either(title: String, draft: &Draft) -> Case {
    case(title, draft.json(), Expected::RefusedOrIntact(Box::new(draft.wire())))
}

/// Intact if it may pass, else refused.
fn judged(passes: bool, title: String, draft: &Draft) -> Case {
    match passes {
        true => intact(title, draft),
        false => refused(title, draft),
    }
}

/// A draft with each of these values of a header.
fn each(judge: fn(String, &Draft) -> Case, draft: &Draft, name: &str, values: &[&str]) -> Vec<Case> {
    let with = |value: &&str| judge(format!("{name}: {value}"), &draft.clone().with(name, value));
    values.iter().map(with).collect()
}

fn case(title: impl Into<String>, payload: String, expected: Expected) -> Case {
    let title: String = title.into().chars().take(120).collect();
    Case {
        title: title.escape_debug().to_string(),
        payload,
        expected,
    }
}

/// Every character of ASCII that is neither a letter nor a digit, and some from beyond it.
fn characters() -> impl Iterator<Item = char> {
    let ascii = (0..=0x7f_u8).map(char::from).filter(|c| !c.is_ascii_alphanumeric());
    ascii.chain("\u{80}\u{85}\u{a0}\u{ff}\u{100}\u{2028}\u{202e}\u{feff}\u{fffd}\u{1f4a5}".chars())
}

impl Corpus<'_> {
    fn draft(&self) -> Draft {
        Draft::to(self.target, self.port)
    }

    fn methods(&self) -> Vec<Case> {
        let with = |method: &str| self.draft().method(method);
        let mut cases = Vec::new();
        for character in characters() {
            let method = format!("G{character}T");
            let title = format!("method {method}");
            cases.push(judged(TOKEN.contains(character), title, &with(&method)));
        }
        for method in ["get", "Get", "PURGE", "PRI", "connect", "HTTP", &"M".repeat(5000)] {
            cases.push(intact(format!("method {method}"), &with(method)));
        }
        for method in ["", "CONNECT", "GET / HTTP/1.1\r\nhost: evil\r\n\r\nGET"] {
            cases.push(refused(format!("method {method}"), &with(method)));
        }
        cases
    }

    fn paths(&self) -> Vec<Case> {
        let mut cases = Vec::new();
        for character in characters() {
            let (path, query) = (format!("/a{character}b"), format!("a{character}b"));
            let judge = |title: String, draft: &Draft, also: &str| {
                if PATH.contains(character) || also.contains(character) {
                    intact(title, draft)
                } else if character.is_ascii_control() || character == ' ' || character == '#' {
                    refused(title, draft)
                } else {
                    either(title, draft)
                }
            };
            if character != '?' {
                cases.push(judge(format!("path {path}"), &self.draft().path(&path), ""));
            }
            cases.push(judge(format!("query {query}"), &self.draft().query(&query), "?"));
        }
        for path in [
            "/../../etc/passwd",
            "//evil.example/",
            "/%00%0a%0d",
            "/%zz",
            "/http://evil.example/",
            &format!("/{}", "a".repeat(60_000)),
        ] {
            cases.push(intact(format!("path {path}"), &self.draft().path(path)));
        }
        for path in [
            "",
            "*",
            "http://evil.example/",
            "@evil.example/",
            "/ HTTP/1.1\r\nx: y\r\n\r\nGET /",
        ] {
            cases.push(refused(format!("path {path}"), &self.draft().path(path)));
        }
        cases.push(intact("OPTIONS *".into(), &self.draft().method("OPTIONS").path("*")));
        cases.push(refused(
            "query that ends the line".into(),
            &self.draft().query("a HTTP/1.1\r\nx: y"),
        ));
        cases
    }

    fn names(&self) -> Vec<Case> {
        let mut cases = Vec::new();
        for character in characters() {
            let name = format!("x{character}y");
            let draft = self.draft().header(&name, "1");
            cases.push(judged(TOKEN.contains(character), format!("header {name}"), &draft));
        }
        for name in ["", " ", "x-a ", " x-a", "x-a:", "x-a: 1\r\nx-b", &"n".repeat(70_000)] {
            cases.push(refused(format!("header {name}"), &self.draft().header(name, "1")));
        }
        let long = "n".repeat(60_000);
        cases.push(intact("a name of 60,000".into(), &self.draft().header(&long, "1")));
        cases.push(intact("X-A in capitals".into(), &self.draft().header("X-A", "1")));
        let twice = self.draft().header("x-a", "1").header("X-a", "2");
        cases.push(intact("a name twice".into(), &twice));
        cases
    }

    fn values(&self) -> Vec<Case> {
        let mut cases = Vec::new();
        for character in characters() {
            let value = format!("a{character}b");
            let draft = self.draft().header("x-a", &value);
            let legal = !character.is_ascii_control() || character == '\t';
            cases.push(judged(legal, format!("value {value}"), &draft));
        }
        for (name, value) in [
            ("ts-authorization", "a\r\nx: y"),
            ("ts-host", "a\r\nx: y"),
            ("cookie", "a=1\r\nx: y"),
            ("ts-x-amz-date", "\0"),
        ] {
            cases.push(refused(format!("{name}: {value}"), &self.draft().header(name, value)));
        }
        let values = ["", " ", "\t", " a ", "\t a b \t", &"v".repeat(200_000)];
        cases.extend(each(intact, &self.draft(), "x-a", &values));
        cases
    }

    /// RFC 9110 section 7.6.1, and what framing could be smuggled in by.
    fn hop_by_hop(&self) -> Vec<Case> {
        let post = self.draft().method("POST").text("five!");
        let post = post.header("content-type", "text/plain").header("x-a", "1");
        let authorized = post.clone().header("ts-authorization", "Basic YTpi");
        let long = "x-b,".repeat(10_000);
        let named = [
            "X-A, close",
            "host",
            "content-length",
            "ts-target-ip",
            ",,,",
            "a b, x-a",
            "\u{e9}, x-a",
            &long,
        ];
        let codings = ["chunked", "Chunked", "gzip, chunked", "identity", "", " chunked"];
        let lengths = ["0", "5", "6", "-1", "+5", "5, 5", "0x5", "", "five"];
        let mut cases = [
            each(intact, &authorized, "connection", &named),
            each(intact, &post, "transfer-encoding", &codings),
            each(refused, &post, "transfer-encoding", &["chunked\u{b}"]),
            each(intact, &post, "content-length", &lengths),
            each(intact, &self.draft(), "content-length", &lengths),
        ]
        .concat();
        for (name, value) in [
            ("upgrade", "h2c"),
            ("trailer", "x-a"),
            ("proxy-connection", "keep-alive"),
            ("http2-settings", "AAMAAABkAAQAAP__"),
            ("expect", "200-ok"),
        ] {
            cases.extend(each(intact, &post, name, &[value]));
        }
        for method in ["OPTIONS", "TRACE"] {
            let draft = self.draft().method(method).header("via", "1.1 a");
            cases.extend(each(intact, &draft, "max-forwards", &["0"]));
        }
        let smuggled = "0\r\n\r\nGET /admin HTTP/1.1\r\nhost: x\r\n\r\n";
        let draft = self.draft().method("POST").text(smuggled);
        cases.extend(each(intact, &draft, "transfer-encoding", &["chunked"]));
        cases
    }

    fn targets(&self) -> Vec<Case> {
        let (draft, named) = (self.draft(), self.draft().header("ts-host", "x.example"));
        let (labels, long) = ("a.".repeat(130), "a".repeat(100_000));
        let none = [
            "", " ", "[", "]", "[]", "[::1", "::1]", "a b", "a\tb", "a..b", ".", "..", ".a", "a/b", "a@b", "u:p@b",
            "a:80", "a?b", "a#b", "a%00", "a\0b", "a\r\nb", "*", "*.a", "1.2.3", "::1,::2",
        ];
        let ports = [
            "", " ", "0", "-1", "+80", "80 80", "80,80", "65536", "8o", "0x50", "80.0", "1e3", "\u{661}", "80\0",
        ];
        let neither = ["", "yes", "1", "TRUE", "true, false", "false,false", " true", "\0"];
        [
            each(refused, &draft, "ts-target-ip", &none),
            each(refused, &draft, "ts-target-ip", &[&labels, &long]),
            each(refused, &draft, "ts-target-port", &ports),
            each(refused, &draft, "ts-https", &neither),
            each(intact, &draft, "ts-https", &["false"]),
            each(either, &named, "ts-target-port", &[&format!("000{}", self.port)]),
            each(
                intact,
                &named,
                "ts-target-ip",
                &["TARGET.", &format!(" {} ", self.target)],
            ),
        ]
        .concat()
    }

    fn hosts(&self) -> Vec<Case> {
        let illegal = [
            "", " ", "a b", "a,b", "a, b", "u@a", "u:p@a", "@a", "a:", "a:x", "a:99999", ":80", "a/b", "a?b", "a#b",
            "http://a", "a\\b", "a\0", "a\nb", "[::1", "::1", "[x]", "a b:80", "\u{e9}",
        ];
        let legal = ["a", "a:80", "A.Example:8443", "[fd7a::1]", "_x.a", "a.", "127.0.0.1"];
        let mut cases = each(refused, &self.draft(), "ts-host", &illegal);
        cases.extend(each(intact, &self.draft(), "ts-host", &legal));
        cases
    }

    /// The proxy's own headers, used in ways that nobody means.
    fn own_headers(&self) -> Vec<Case> {
        let mut cases = Vec::new();
        for (name, value) in [
            ("ts-target-ip", self.target),
            ("TS-Target-IP", "127.0.0.1"),
            ("ts-target-port", "1"),
            ("Ts-Target-Port", &*self.port.to_string()),
        ] {
            let draft = self.draft().header(name, value);
            cases.push(refused(format!("a second {name}"), &draft));
        }
        for (name, value) in [
            ("ts-host", "a"),
            ("ts-https", "false"),
            ("ts-authorization", "a"),
            ("ts-response-timeout", "5000"),
        ] {
            let once = self.draft().header(name, value);
            let twice = once.header(&name.to_uppercase(), value);
            cases.push(refused(format!("{name} twice"), &twice));
        }
        for name in ["ts-connect-timeout", "ts-response-timeout"] {
            let illegal = ["", "0", "-1", "+1", "1.5", "5s", "1e3", "900001", "\u{661}", "1,1"];
            cases.extend(each(refused, &self.draft(), name, &illegal));
            cases.extend(each(intact, &self.draft(), name, &["900000", " 9000 ", "0009000"]));
        }
        for name in [
            "ts-",
            "ts-ts-host",
            "ts-connection",
            "ts-transfer-encoding",
            "ts-cookie",
            "ts-error-name",
            "ts-caller-arn",
            "Ts-Host",
        ] {
            cases.extend(each(intact, &self.draft(), name, &["chunked"]));
        }
        let long = "\u{1f4a5}".repeat(300);
        for (service, name, value) in [
            ("", "", ""),
            ("s", "", "v"),
            ("s", ":n", "v"),
            ("s", "n,n", "v,w"),
            ("s\u{e9}", "\u{e9}", "\u{e9}"),
            (&long, "n", &long),
            ("a\0b", "n\n", "\r"),
        ] {
            let draft = self
                .draft()
                .header("ts-metric-service", service)
                .header("ts-metric-dimension-name", name)
                .header("ts-metric-dimension-value", value);
            cases.push(intact(format!("metrics for {service:?} {name:?} {value:?}"), &draft));
        }
        cases
    }

    fn signatures(&self) -> Vec<Case> {
        let scope = "AKID%2F20260101%2Feu-west-1%2Flambda%2Faws4_request";
        let ours = format!(
            "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={scope}&X-Amz-Signature=abc&X-Amz-Security-Token=t0ken"
        );
        let mut cases = Vec::new();
        for (before, after, rest) in [
            ("", "", ""),
            ("a=1&", "", "a=1"),
            ("", "&a=1", "a=1"),
            ("a=%26&", "&&b", "a=%26&&b"),
            ("X-Amz-Meta=1&", "&x-amz-datex=1", "X-Amz-Meta=1&x-amz-datex=1"),
        ] {
            let draft = self.draft().query(&format!("{before}{ours}{after}"));
            let wire: Wire = draft.wire_with(rest);
            let title = format!("presigned: {before} {after}");
            cases.push(case(title, draft.json(), Expected::Intact(Box::new(wire))));
        }
        let s3 = ours.replace("lambda", "s3");
        cases.push(intact("presigned for S3".into(), &self.draft().query(&s3)));
        let signed = self
            .draft()
            .header("authorization", "AWS4-HMAC-SHA256 Credential=x")
            .header("X-Amz-Security-Token", "secret")
            .header("x-amz-date", "20260101T000000Z")
            .header("x-amz-content-sha256", "abc")
            .header("X-Amzn-Trace-Id", "Root=1")
            .header("x-amzn-lambda-context", "{}");
        cases.push(intact("a signature in headers".into(), &signed));
        cases
    }

    fn cookies(&self) -> Vec<Case> {
        let mut cases = Vec::new();
        for cookies in [
            &["a=1", "b=2"][..],
            &["a=1,2", "b"],
            &["=", "==", "a=\"b c\""],
            &["caf\u{e9}=\u{1f4a5}"],
            &["a=1; b=2"],
            &["x"; 2000],
        ] {
            let draft = self.draft().cookies(cookies);
            cases.push(intact(format!("cookies {cookies:?}"), &draft));
        }
        for cookies in [&["a=1\r\nx: y"][..], &["a\0"], &["a=1", "\u{7f}"], &["\n"]] {
            let draft = self.draft().cookies(cookies);
            cases.push(refused(format!("cookies {cookies:?}"), &draft));
        }
        cases
    }

    fn bodies(&self) -> Vec<Case> {
        let post = self.draft().method("POST");
        let post = post.header("content-type", "application/octet-stream");
        let mut cases = Vec::new();
        for body in [
            "%", "a", "ab", "abc", "abcde", "YQ=", "YQ===", "=YQ=", "Y Q=", "YQ==\n", "YQ==YQ==", "-_-_", "YR==",
            "YWJj\0",
        ] {
            cases.push(refused(
                format!("base64 {body}"),
                &post.clone().base64(body, Bytes::new()),
            ));
        }
        for (body, bytes) in [("", &b""[..]), ("YQ==", b"a"), ("////", &[255, 255, 255])] {
            cases.push(intact(format!("base64 {body}"), &post.clone().base64(body, bytes)));
        }
        for text in ["\0\r\n\r\n", "\u{feff}\u{ffff}", "\"\\\u{8}", &"t".repeat(5_000_000)] {
            cases.push(intact(
                format!("text of {} bytes", text.len()),
                &post.clone().text(text),
            ));
        }
        for method in ["GET", "HEAD", "DELETE", "OPTIONS", "TRACE", "PATCH", "PUT", "X"] {
            let draft = self.draft().method(method);
            cases.push(intact(format!("{method} without a body"), &draft));
            cases.push(intact(format!("{method} with a body"), &draft.text("body")));
        }
        cases
    }

    fn amounts(&self) -> Vec<Case> {
        let with = |count: usize, name: &str| {
            let mut draft = self.draft();
            let more = (0..count).map(|number| (format!("{name}{number}"), "v".to_owned()));
            draft.headers.extend(more);
            draft
        };
        let mut same = self.draft();
        let again = ("x-a".to_owned(), "v".to_owned());
        same.headers.extend(std::iter::repeat_n(again, 40_000));
        vec![
            intact("10,000 headers".into(), &with(10_000, "x-")),
            refused("100,000 headers".into(), &with(100_000, "x-")),
            refused("a header 40,000 times".into(), &same),
            either("40,000 headers that stop here".into(), &with(40_000, "x-amzn-")),
        ]
    }

    /// Each field of an event with each kind of value.
    fn fields(&self) -> Vec<Case> {
        let values = ["null", "true", "-1", "1e400", r#""text""#, "[]", "[1]", "{}"];
        let headers = format!(
            r#"{{"ts-target-ip":{},"ts-target-port":"{}"}}"#,
            quoted(self.target),
            self.port
        );
        let usual = [
            ("rawPath", r#""/hostile""#),
            ("rawQueryString", r#""""#),
            ("cookies", "[]"),
            ("headers", &*headers),
            ("requestContext", r#"{"http":{"method":"GET"}}"#),
            ("body", "null"),
            ("isBase64Encoded", "false"),
        ];
        let mut cases = Vec::new();
        for (field, _) in usual {
            for value in values {
                let own = |(name, usual): &(&str, &str)| {
                    let value = if *name == field { value } else { usual };
                    format!("{}:{value}", quoted(name))
                };
                let payload = format!("{{{}}}", usual.iter().map(own).collect::<Vec<_>>().join(","));
                let mut draft = self.draft();
                match (field, value) {
                    ("body", r#""text""#) => draft = draft.text("text"),
                    ("rawQueryString", r#""text""#) => draft = draft.query("text"),
                    _ => {}
                }
                let expected = Expected::RefusedOrIntact(Box::new(draft.wire()));
                cases.push(case(format!("{field}: {value}"), payload, expected));
            }
        }
        for value in ["null", "1", "[]", "{}", "true", r#"["v"]"#] {
            let with = format!(r#""headers":{{"x-a":{value},"#);
            let json = self.draft().json().replace(r#""headers":{"#, &with);
            cases.push(case(format!("a header that is {value}"), json, Expected::Refused));
        }
        let json = self.draft().json();
        let twice = json.replace(r#""rawPath":"#, r#""rawPath":"/other","rawPath":"#);
        cases.push(case("rawPath twice", twice, Expected::Refused));
        let surrogate = json.replace("/hostile", r"/\ud800");
        cases.push(case("half a surrogate pair in the path", surrogate, Expected::Refused));
        let deep = format!(r#""deep":{}{}"#, "[".repeat(100), "]".repeat(100));
        for unknown in [r#""unknown":[[[{"a":1e999}]]]"#, &deep] {
            let with = json.replacen('{', &format!("{{{unknown},"), 1);
            let expected = Expected::Intact(Box::new(self.draft().wire()));
            cases.push(case(format!("a field {unknown}"), with, expected));
        }
        cases
    }
}

/// What is no request.
fn payloads() -> Vec<Case> {
    let payloads = [
        "[]",
        "null",
        "0",
        r#""""#,
        r#"{"rawPath":"/","requestContext":{"http":{}}}"#,
        r#"{"Records":[{"eventSource":"aws:sqs","body":"x"}]}"#,
        r#"{"httpMethod":"GET","path":"/","headers":{}}"#,
        r#"{"warmUp":null}"#,
        r#"{"warmUp":{"until":-1}}"#,
        r#"{"warmUp":{"until":1.5}}"#,
        r#"{"warmUp":{"until":99999999999999999999}}"#,
        r#"{"warmUp":{"until":1,"until":2}}"#,
        r#"{"warmUp":{"until":1},"warmUp":{"until":1}}"#,
    ];
    let deep = format!("{}{}", "[".repeat(100), "]".repeat(100));
    let payloads = payloads.iter().copied().chain([&*deep]);
    payloads
        .map(|payload| case(format!("payload {payload}"), payload.to_owned(), Expected::Refused))
        .collect()
}
