//! Published request smuggling and response splitting tricks, what each is answered with, and why.
//!
//! A trick needs two readers that find different ends of one message. So each must either be refused, or be
//! read in the one way that RFC 9112 leaves open; then the test says which bytes are body and which are
//! behind it. A refusal ends the connection, so nothing behind it is read as a request.

use super::*;

/// What becomes of a message.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    /// It is refused: the status of the answer to a request, 502 for any response.
    Refused(u16),
    /// Its body is `data`, and `behind` is left to the next message.
    Taken { data: Vec<u8>, behind: Vec<u8> },
}

use Answer::Refused;

fn taken(data: &[u8], behind: &[u8]) -> Answer {
    Answer::Taken {
        data: data.to_vec(),
        behind: behind.to_vec(),
    }
}

/// Reads a request as it arrives in steps of so many bytes.
fn read_request(input: &[u8], step: usize) -> Answer {
    let (framing, head_bytes) = match arrive(input, step, decode) {
        Ok((head, bytes)) => match request_framing(&head) {
            Ok(framing) => (framing, bytes),
            Err(error) => return Refused(error.status()),
        },
        Err(error) => return Refused(error.status()),
    };
    read_body(framing, &input[head_bytes..], step).unwrap_or(Refused(400))
}

/// Reads a response as it arrives in steps of so many bytes.
fn read_response(input: &[u8], step: usize, request_was_head: bool) -> Answer {
    let Ok((head, bytes)) = arrive(input, step, decode_response) else {
        return Refused(502);
    };
    let Ok(framing) = response_framing(&head, request_was_head) else {
        return Refused(502);
    };
    read_body(framing, &input[bytes..], step).unwrap_or(Refused(502))
}

fn arrive<'a, H>(
    input: &'a [u8],
    step: usize,
    decode: impl Fn(&'a [u8]) -> Result<Option<(H, usize)>, HeadError>,
) -> Result<(H, usize), HeadError> {
    (0..input.len())
        .step_by(step)
        .chain([input.len()])
        .find_map(|end| decode(&input[..end]).transpose())
        .expect("the head is complete or refused")
}

/// The body and what is behind it, or an error; the connection closes at the end of the input.
fn read_body(framing: Framing, input: &[u8], step: usize) -> Result<Answer, BodyError> {
    let mut body = Body::new(framing);
    let (mut data, mut parts, mut at) = (Vec::new(), Vec::new(), 0);
    for arrived in input.chunks(step) {
        let consumed = body.receive(arrived, Relay::Decoded, &mut parts)?;
        for part in &parts {
            data.extend_from_slice(&arrived[part.clone()]);
        }
        at += consumed;
    }
    body.finish()?;
    Ok(taken(&data, &input[at..]))
}

/// The request with these header lines and this behind its head, read in large and in small steps.
fn request(headers: &[u8], behind: &[u8]) -> Answer {
    let input = [b"POST / HTTP/1.1\r\nHost: a\r\n", headers, b"\r\n", behind].concat();
    let answer = read_request(&input, input.len());
    for step in 1..8 {
        assert_eq!(read_request(&input, step), answer, "in steps of {step}");
    }
    answer
}

/// As [`request`], for the response with this status line.
fn response(line: &[u8], headers: &[u8], behind: &[u8], request_was_head: bool) -> Answer {
    let input = [line, b"\r\n", headers, b"\r\n", behind].concat();
    let answer = read_response(&input, input.len(), request_was_head);
    for step in 1..8 {
        let again = read_response(&input, step, request_was_head);
        assert_eq!(again, answer, "in steps of {step}");
    }
    answer
}

/// Header lines, the status of the refusal, and why.
const REFUSED_HEADERS: &[(&[u8], u16, &str)] = &[
    // CL.TE and TE.CL: front and back each believe another of the two.
    (
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        400,
        "CL.TE",
    ),
    (
        b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        400,
        "TE.CL",
    ),
    (
        b"Transfer-Encoding: chunked\r\nContent-Length: 0\r\n",
        400,
        "TE.0",
    ),
    (
        b"Content-Length: 5\r\nTransfer-Encoding: identity\r\n",
        400,
        "a length beside any coding, also an obsolete one",
    ),
    (
        b"Content-Length: 5\r\nTransfer-Encoding:\r\n",
        400,
        "a length beside an empty coding",
    ),
    // TE.TE: one of the two does not recognise the coding.
    (
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n",
        400,
        "chunked must be the last, in whichever line",
    ),
    (
        b"Transfer-Encoding: x\r\nTransfer-Encoding: chunked\r\n",
        501,
        "all lines count",
    ),
    (
        b"Transfer-Encoding: chunked\r\nTransfer-encoding: chunked\r\n",
        400,
        "chunked must not be applied twice",
    ),
    (
        b"Transfer-Encoding: chunked, chunked\r\n",
        400,
        "the same as a list",
    ),
    (
        b"Transfer-Encoding: chunked, identity\r\n",
        400,
        "chunked is not last",
    ),
    (
        b"Transfer-Encoding: identity, chunked\r\n",
        501,
        "identity is no coding any more",
    ),
    (b"Transfer-Encoding: identity\r\n", 501, "nor alone"),
    (
        b"Transfer-Encoding: gzip, chunked\r\n",
        501,
        "we could not undo gzip",
    ),
    (
        b"Transfer-Encoding: xchunked\r\n",
        501,
        "a substring is not the coding",
    ),
    (b"Transfer-Encoding: chunkedx\r\n", 501, "nor a prefix"),
    (b"Transfer-Encoding: chunk\r\n", 501, "nor a part"),
    (
        b"Transfer-Encoding: x chunked\r\n",
        400,
        "a space does not separate codings",
    ),
    (b"Transfer-Encoding: chunked x\r\n", 400, "neither behind"),
    (
        b"Transfer-Encoding: chunked;x=1\r\n",
        400,
        "chunked has no parameters",
    ),
    (b"Transfer-Encoding: chunked;\r\n", 400, "nor empty ones"),
    (
        b"Transfer-Encoding: \"chunked\"\r\n",
        400,
        "a quoted string is not a token",
    ),
    (
        b"Transfer-Encoding: 'chunked'\r\n",
        501,
        "these are token characters",
    ),
    (
        b"Transfer-Encoding: chunked,\r\n",
        400,
        "an empty element could end a reader's list",
    ),
    (b"Transfer-Encoding: ,chunked\r\n", 400, "or begin it"),
    (
        b"Transfer-Encoding:\r\n",
        400,
        "an empty list names no coding",
    ),
    (
        b"Transfer-Encoding: \x0bchunked\r\n",
        400,
        "vertical tab is white space to some",
    ),
    (
        b"Transfer-Encoding: chunked\x0c\r\n",
        400,
        "so is form feed",
    ),
    (
        b"Transfer-Encoding: chunked\x00\r\n",
        400,
        "NUL ends the text for some",
    ),
    (
        b"Transfer-Encoding: chunked\xa0\r\n",
        400,
        "no-break space is not white space here",
    ),
    (
        b"Transfer-Encoding: chun\xe2\x84\xaaed\r\n",
        400,
        "the Kelvin sign is a k to Unicode",
    ),
    (
        b"Transfer-Encoding : chunked\r\n",
        400,
        "white space before the colon",
    ),
    (b"Transfer-Encoding\t: chunked\r\n", 400, "of any kind"),
    (
        b"Transfer-Encoding\x0b: chunked\r\n",
        400,
        "or what some take for it",
    ),
    (b"Transfer-Encoding\r\n : chunked\r\n", 400, "a folded name"),
    (
        b"Transfer-Encoding\n: chunked\r\n",
        400,
        "a name cut by a bare LF",
    ),
    (b"Transfer-Encoding:\r\n chunked\r\n", 400, "a folded value"),
    (
        b"Transfer-Encoding:\n\tchunked\r\n",
        400,
        "folded with a bare LF and a tab",
    ),
    (
        b" Transfer-Encoding: chunked\r\n",
        400,
        "hidden in a fold of the line before",
    ),
    (
        b"X: y\r\n\tTransfer-Encoding: chunked\r\n",
        400,
        "the same with a tab",
    ),
    (
        b"X: y\rTransfer-Encoding: chunked\r\n",
        400,
        "a bare CR ends a line for some",
    ),
    (
        b"X: y\r\r\nTransfer-Encoding: chunked\r\n",
        400,
        "also in front of a line end",
    ),
    (
        b"\rTransfer-Encoding: chunked\r\n",
        400,
        "and at the start of a line",
    ),
    (b"Transfer-Encoding\0: chunked\r\n", 400, "NUL in a name"),
    // Lengths that some readers read otherwise, or not at all.
    (
        b"Content-Length: 5\r\nContent-Length: 6\r\n",
        400,
        "which one counts?",
    ),
    (
        b"Content-Length: 5\r\ncontent-length: 5\r\n",
        400,
        "equal ones differ after an edit of one",
    ),
    (b"Content-Length: 5, 5\r\n", 400, "the same as a list"),
    (b"Content-Length: 5,6\r\n", 400, "some read up to the comma"),
    (b"Content-Length: 5,\r\n", 400, "so no comma at all"),
    (
        b"Content-Length: +5\r\n",
        400,
        "a sign is taken by many number parsers",
    ),
    (b"Content-Length: -5\r\n", 400, "and wraps around in some"),
    (b"Content-Length: -0\r\n", 400, "also this one"),
    (b"Content-Length: 0x5\r\n", 400, "0 to some, 5 to others"),
    (b"Content-Length: 5 6\r\n", 400, "some read up to the blank"),
    (
        b"Content-Length: 5;x\r\n",
        400,
        "or up to whatever is no digit",
    ),
    (b"Content-Length: 5.0\r\n", 400, "or as a fraction"),
    (b"Content-Length: 1_0\r\n", 400, "or with separators"),
    (b"Content-Length: 5e1\r\n", 400, "or with an exponent"),
    (b"Content-Length: \"5\"\r\n", 400, "or quoted"),
    (
        b"Content-Length: \xef\xbc\x95\r\n",
        400,
        "or as a digit of Unicode",
    ),
    (b"Content-Length:\r\n", 400, "0, absent or an error"),
    (
        b"Content-Length: \x0b5\r\n",
        400,
        "vertical tab is skipped by some",
    ),
    (
        b"Content-Length: 5\0\r\n",
        400,
        "NUL ends the text for some",
    ),
    (
        b"Content-Length : 5\r\n",
        400,
        "white space before the colon",
    ),
    (b"Content-Length: 5\r\n 6\r\n", 400, "56, 5 or an error"),
    (b"Content-Length:\r\n 5\r\n", 400, "5 or empty"),
    (
        b"Content-Length: 5\rX: y\r\n",
        400,
        "a bare CR ends a line for some",
    ),
    (
        b"Content-Length: 18446744073709551621\r\n",
        413,
        "5 in 64 bits",
    ),
    (
        b"Content-Length: 4294967301999999999999\r\n",
        413,
        "more than any integer",
    ),
    (
        b"Content-Length: 9223372036854775808\r\n",
        413,
        "negative in 64 bits",
    ),
    // Other headers that give a request two meanings.
    (b"Host: b\r\n", 400, "a second Host"),
    (b"X\r\n", 400, "a line without a colon is skipped by some"),
    (b": y\r\n", 400, "a line without a name too"),
];

#[test]
fn headers_that_some_read_otherwise_are_refused() {
    for &(headers, status, why) in REFUSED_HEADERS {
        let shown = headers.escape_ascii();
        for behind in [&b"hello"[..], b"0\r\n\r\nGET /admin HTTP/1.1\r\n\r\n"] {
            assert_eq!(request(headers, behind), Refused(status), "{shown}: {why}");
        }
        // A second Host and its like are no matter of a response's; they give 200 until the close.
        if !headers.starts_with(b"Host") {
            let answer = response(b"HTTP/1.1 200 OK", headers, b"hello", false);
            assert_eq!(answer, Refused(502), "{shown}: {why}");
        }
    }
}

#[test]
fn transfer_coding_in_old_versions_is_refused() {
    let input = b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    assert_eq!(read_request(input, 1), Refused(400));
    let headers = b"Transfer-Encoding: chunked\r\n";
    assert_eq!(
        response(b"HTTP/1.0 200 OK", headers, b"0\r\n\r\n", false),
        Refused(502)
    );
}

/// Chunked bodies that are refused, and why. A request follows each for a reader that finds an earlier end.
const REFUSED_CHUNKS: &[(&[u8], &str)] = &[
    (
        b"5 \r\nhello\r\n0\r\n\r\n",
        "a blank behind the size is a digit's end or an error",
    ),
    (b" 5\r\nhello\r\n0\r\n\r\n", "or skipped in front"),
    (b"\t5\r\nhello\r\n0\r\n\r\n", "of any kind"),
    (b"5\x0b\r\nhello\r\n0\r\n\r\n", "or what some take for it"),
    (
        b"5 ;x\r\nhello\r\n0\r\n\r\n",
        "and in front of an extension",
    ),
    (b"0x5\r\nhello\r\n0\r\n\r\n", "0 to some, 5 to others"),
    (
        b"+5\r\nhello\r\n0\r\n\r\n",
        "a sign is taken by many number parsers",
    ),
    (b"-5\r\nhello\r\n0\r\n\r\n", "and wraps around in some"),
    (b"-0\r\n\r\n", "a zero all the same"),
    (b"5_0\r\nhello\r\n0\r\n\r\n", "separators"),
    (b"5,5\r\nhello\r\n0\r\n\r\n", "a list"),
    (
        b"g\r\n\r\n",
        "0 to parsers that stop at the first foreign byte",
    ),
    (b"\r\nhello\r\n", "0 to some"),
    (b";x\r\nhello\r\n", "the same with an extension"),
    (b"5\0\r\nhello\r\n0\r\n\r\n", "NUL ends the text for some"),
    (b"10000000000000005\r\nhello\r\n0\r\n\r\n", "5 in 64 bits"),
    (
        b"100000000000000000000000000000005\r\nhello\r\n0\r\n\r\n",
        "5 in 128 bits",
    ),
    (b"8000000000000000\r\nhello", "negative in 64 bits"),
    (b"fffffffffffffffe\r\nhello", "-2 in 64 bits"),
    // Bare line ends: TERM.EXT, EXT.TERM and their like.
    (b"5\nhello\r\n0\r\n\r\n", "a bare LF ends the size for some"),
    (b"5\rhello\r\n0\r\n\r\n", "a bare CR too"),
    (b"5\r\r\nhello\r\n0\r\n\r\n", "CR CR LF"),
    (
        b"2;\nxx\r\n0\r\n\r\n",
        "a bare LF ends an extension for some, for others it is part of it",
    ),
    (b"2;x\ry\r\nxx\r\n0\r\n\r\n", "a bare CR too"),
    (b"2;x=\"\n\"\r\nxx\r\n0\r\n\r\n", "also in a quoted string"),
    (
        b"2;x=\"\r\n\"\r\nxx\r\n0\r\n\r\n",
        "a quoted string cannot span lines: its end is data too long",
    ),
    (b"5;\0\r\nhello\r\n0\r\n\r\n", "NUL in an extension"),
    (b"5\r\nhello\n0\r\n\r\n", "a bare LF behind the data"),
    (b"5\r\nhello\r0\r\n\r\n", "a bare CR behind the data"),
    (b"5\r\nhello0\r\n\r\n", "nothing behind the data"),
    (b"5\r\nhelloxx0\r\n\r\n", "two bytes skipped unseen by some"),
    (
        b"5\r\nhello\r\n\r\n0\r\n\r\n",
        "an empty line between chunks",
    ),
    (b"4\r\nhello\r\n0\r\n\r\n", "more data than announced"),
    (b"0\r\n\n", "a bare LF at the end"),
    (b"0\n\n", "twice"),
    (b"0\n\r\n", "once"),
    (b"0\r\n\r\r\n", "a bare CR at the end"),
    // Trailers.
    (b"0\r\nA: b\n\r\n", "a bare LF behind a trailer"),
    (b"0\r\nA: b\r\r\n\r\n", "CR CR LF behind a trailer"),
    (b"0\r\n A: b\r\n\r\n", "a fold of nothing"),
    (b"0\r\nA: b\r\n c\r\n\r\n", "a folded trailer"),
    (b"0\r\nA : b\r\n\r\n", "white space before the colon"),
    (b"0\r\nA: \0\r\n\r\n", "NUL in a trailer"),
    (b"0\r\nx\r\n\r\n", "a line that is no header"),
    (
        b"0\r\n",
        "a request where trailers should be, for those who stop at the last chunk",
    ),
];

#[test]
fn chunks_that_some_read_otherwise_are_refused() {
    const NEXT: &[u8] = b"GET /admin HTTP/1.1\r\nHost: a\r\n\r\n";
    let headers = b"Transfer-Encoding: chunked\r\n";
    for &(chunks, why) in REFUSED_CHUNKS {
        let shown = chunks.escape_ascii();
        let behind = [chunks, NEXT].concat();
        assert_eq!(request(headers, &behind), Refused(400), "{shown}: {why}");
        let answer = response(b"HTTP/1.1 200 OK", headers, &behind, false);
        assert_eq!(answer, Refused(502), "{shown}: {why}");
    }
}

#[test]
fn body_that_ends_early_is_refused() {
    assert_eq!(request(b"Content-Length: 6\r\n", b"hello"), Refused(400));
    for chunks in ["", "5", "5\r\nhel", "5\r\nhello\r\n", "0\r\n", "0\r\n\r"] {
        let answer = request(b"Transfer-Encoding: chunked\r\n", chunks.as_bytes());
        assert_eq!(answer, Refused(400), "{chunks:?}");
    }
}

/// Header lines, what follows the head, the data of the body in it, what is behind that, and why.
type Taken = (
    &'static [u8],
    &'static [u8],
    &'static [u8],
    &'static [u8],
    &'static str,
);

const TAKEN: &[Taken] = &[
    (
        b"",
        b"GET /",
        b"",
        b"GET /",
        "no announced body, no body, whatever the method",
    ),
    (
        b"Content-Length: 0\r\n",
        b"GET /",
        b"",
        b"GET /",
        "CL.0: the length holds for every route",
    ),
    (
        b"Content-Length: 5\r\n",
        b"helloGET /",
        b"hello",
        b"GET /",
        "not a byte more",
    ),
    (
        b"Content-Length:\t05 \r\n",
        b"helloGET /",
        b"hello",
        b"GET /",
        "decimal, zeros or not",
    ),
    (
        b"transfer-encoding:\tCHUNKED \r\n",
        b"5\r\nhello\r\n0\r\n\r\nGET /",
        b"hello",
        b"GET /",
        "case does not matter, and a tab is white space (RFC 9112 §5)",
    ),
    (
        b"X: y\nTransfer-Encoding: chunked\r\n",
        b"0\r\n\r\nGET /",
        b"",
        b"GET /",
        "a bare LF ends a line, and no header is passed on with one inside",
    ),
    (
        b"Transfer_Encoding: chunked\r\n",
        b"0\r\n\r\n",
        b"",
        b"0\r\n\r\n",
        "another header; the rest is a malformed request",
    ),
    (
        b"X-Content-Length: 5\r\nContent-Length: 1\r\n",
        b"helloGET /",
        b"h",
        b"elloGET /",
        "names are compared as a whole",
    ),
    (
        b"Transfer-Encoding: chunked\r\n",
        b"0;\r\n\r\nGET /",
        b"",
        b"GET /",
        "an empty extension is dropped like any other",
    ),
    (
        b"Transfer-Encoding: chunked\r\n",
        b"0005;x=\"\xff 0\"\r\nhello\r\n000\r\nContent-Length: 99\r\n\r\nGET /",
        b"hello",
        b"GET /",
        "zeros do not matter; a trailer is never a header",
    ),
    (
        b"Transfer-Encoding: chunked\r\n",
        b"a\r\n\r\n0\r\n\r\n123\r\n0\r\n\r\nGET /",
        b"\r\n0\r\n\r\n123",
        b"GET /",
        "data is not searched for ends",
    ),
];

#[test]
fn what_has_one_meaning_is_taken() {
    for &(headers, input, data, behind, why) in TAKEN {
        assert_eq!(request(headers, input), taken(data, behind), "{why}");
    }
}

#[test]
fn responses_without_a_body_leave_everything_behind() {
    // Whoever believed the headers would take the next response for this one's body.
    for headers in [
        &b""[..],
        b"Content-Length: 5\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Content-Length: 5\r\nContent-Length: 6\r\n",
    ] {
        let behind = b"HTTP/1.1 200 OK\r\n\r\n";
        for line in [
            &b"HTTP/1.1 100 Continue"[..],
            b"HTTP/1.1 103",
            b"HTTP/1.1 204 x",
            b"HTTP/1.1 304 x",
        ] {
            assert_eq!(response(line, headers, behind, false), taken(b"", behind));
        }
        let answer = response(b"HTTP/1.1 200 OK", headers, behind, true);
        assert_eq!(answer, taken(b"", behind));
    }
}

#[test]
fn split_response_is_refused() {
    for input in [
        &b"HTTP/1.1 200 OK\rContent-Length: 0\r\n\r\n"[..],
        b"HTTP/1.1 200 OK\r\nLocation: /\rContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\0\r\n\r\n",
        b"\r\nHTTP/1.1 200 OK\r\n\r\n",
        b"xHTTP/1.1 200 OK\r\n\r\n",
    ] {
        assert_eq!(
            read_response(input, 1, false),
            Refused(502),
            "{}",
            input.escape_ascii()
        );
    }
}
