//! One request and its response over an open stream.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};

use super::url::Url;

/// How much of a body is kept, in bytes; the rest is read and counted.
pub const KEPT: usize = 1 << 20;

const MAX_HEAD: usize = 64 << 10;

#[derive(Debug)]
pub struct Response {
    pub status: u16,
    pub version: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Of the whole body.
    pub bytes: u64,
}

impl Response {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }
}

pub fn exchange(
    stream: impl Read + Write,
    url: &Url,
    method: &str,
    headers: &BTreeMap<String, String>,
    body: Option<&[u8]>,
) -> io::Result<Response> {
    let mut stream = BufReader::new(stream);
    stream
        .get_mut()
        .write_all(&request(url, method, headers, body)?)?;
    stream.get_mut().flush()?;

    let mut response = loop {
        let response = head(&mut stream)?;
        // 1xx announce the real one; 101 would need an upgrade that nobody asked for.
        if response.status >= 200 || response.status == 101 {
            break response;
        }
    };
    let bodiless =
        method.eq_ignore_ascii_case("HEAD") || matches!(response.status, 101 | 204 | 304);
    if !bodiless {
        let mut sink = Sink::default();
        read_body(&mut stream, &response, &mut sink)?;
        response.body = sink.kept;
        response.bytes = sink.bytes;
    }
    Ok(response)
}

fn request(
    url: &Url,
    method: &str,
    headers: &BTreeMap<String, String>,
    body: Option<&[u8]>,
) -> io::Result<Vec<u8>> {
    let given = |name: &str| headers.keys().any(|key| key.eq_ignore_ascii_case(name));
    let mut head = format!("{method} {} HTTP/1.1\r\n", url.target);
    let mut add = |name: &str, value: &str| {
        head.push_str(name);
        head.push_str(": ");
        head.push_str(value);
        head.push_str("\r\n");
    };
    if !given("Host") {
        add("Host", &url.host_header());
    }
    if !given("User-Agent") {
        add(
            "User-Agent",
            concat!("trunkline-agent/", env!("CARGO_PKG_VERSION")),
        );
    }
    if !given("Accept") {
        add("Accept", "*/*");
    }
    add("Connection", "close");
    if let Some(body) = body
        && !given("Content-Length")
    {
        add("Content-Length", &body.len().to_string());
    }
    for (name, value) in headers {
        if name
            .bytes()
            .chain(value.bytes())
            .any(|byte| byte.is_ascii_control())
        {
            return Err(invalid(format!(
                "header `{name}` contains a control character"
            )));
        }
        add(name, value);
    }
    head.push_str("\r\n");
    let mut request = head.into_bytes();
    request.extend_from_slice(body.unwrap_or_default());
    Ok(request)
}

fn head(stream: &mut impl BufRead) -> io::Result<Response> {
    let mut text = Vec::new();
    while !text.ends_with(b"\r\n\r\n") && !text.ends_with(b"\n\n") {
        let read = stream
            .by_ref()
            .take((MAX_HEAD - text.len()) as u64)
            .read_until(b'\n', &mut text)?;
        if read == 0 {
            return Err(if text.is_empty() {
                io::Error::new(ErrorKind::UnexpectedEof, "closed without a response")
            } else {
                invalid("the response head does not end")
            });
        }
    }
    let mut parsed = [httparse::EMPTY_HEADER; 128];
    let mut response = httparse::Response::new(&mut parsed);
    response
        .parse(&text)
        .map_err(|error| invalid(format!("not an HTTP response: {error}")))?;
    Ok(Response {
        status: response.code.unwrap_or_default(),
        version: format!("HTTP/1.{}", response.version.unwrap_or_default()),
        headers: response
            .headers
            .iter()
            .map(|header| {
                let value = String::from_utf8_lossy(header.value).into_owned();
                (header.name.to_owned(), value)
            })
            .collect(),
        body: Vec::new(),
        bytes: 0,
    })
}

#[derive(Default)]
struct Sink {
    kept: Vec<u8>,
    bytes: u64,
}

impl Write for Sink {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let room = KEPT - self.kept.len();
        self.kept.extend_from_slice(&data[..data.len().min(room)]);
        self.bytes += data.len() as u64;
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn read_body(stream: &mut impl BufRead, response: &Response, sink: &mut Sink) -> io::Result<()> {
    let chunked = response
        .header("transfer-encoding")
        .is_some_and(|value| value.to_ascii_lowercase().contains("chunked"));
    if chunked {
        return read_chunks(stream, sink);
    }
    if let Some(length) = response.header("content-length") {
        let length: u64 = length
            .trim()
            .parse()
            .map_err(|_| invalid(format!("content-length `{length}` is not a number")))?;
        return copy_exactly(stream, length, sink);
    }
    match io::copy(stream, sink) {
        Ok(_) => Ok(()),
        // Servers that close TLS without saying goodbye end a body of unstated length this way.
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(()),
        Err(error) => Err(error),
    }
}

fn read_chunks(stream: &mut impl BufRead, sink: &mut Sink) -> io::Result<()> {
    loop {
        let line = line(stream)?;
        let size = line.split(';').next().unwrap_or_default().trim();
        let size = u64::from_str_radix(size, 16)
            .map_err(|_| invalid(format!("chunk size `{size}` is not a number")))?;
        if size == 0 {
            // Trailers, up to an empty line.
            while !self::line(stream)?.is_empty() {}
            return Ok(());
        }
        copy_exactly(stream, size, sink)?;
        if !self::line(stream)?.is_empty() {
            return Err(invalid("a chunk is longer than it says"));
        }
    }
}

fn line(stream: &mut impl BufRead) -> io::Result<String> {
    let mut line = Vec::new();
    stream.by_ref().take(8192).read_until(b'\n', &mut line)?;
    if line.last() != Some(&b'\n') {
        return Err(io::Error::new(
            ErrorKind::UnexpectedEof,
            "the body ends too early",
        ));
    }
    Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
}

fn copy_exactly(stream: &mut impl BufRead, length: u64, sink: &mut Sink) -> io::Result<()> {
    let copied = io::copy(&mut stream.by_ref().take(length), sink)?;
    if copied < length {
        return Err(io::Error::new(
            ErrorKind::UnexpectedEof,
            format!("the body ends after {copied} of {length} bytes"),
        ));
    }
    Ok(())
}

fn invalid(message: impl Into<String>) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, message.into())
}
