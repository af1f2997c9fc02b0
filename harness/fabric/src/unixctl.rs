//! The control sockets of OVN's and Open vSwitch's daemons: JSON-RPC, one request per connection.

use std::io;
use std::path::Path;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

/// Runs a command as `ovs-appctl` does and returns what it prints.
pub(crate) async fn call(socket: &Path, command: &str, args: &[&str]) -> io::Result<String> {
    let mut stream = UnixStream::connect(socket).await?;
    let request = json!({"id": 0, "method": command, "params": args});
    stream.write_all(request.to_string().as_bytes()).await?;
    let mut received = Vec::new();
    loop {
        if stream.read_buf(&mut received).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if let Some(reply) = parse(&received)? {
            return reply.map_err(|refusal| io::Error::other(format!("{command}: {refusal}")));
        }
    }
}

/// The answer, once it is complete.
fn parse(received: &[u8]) -> io::Result<Option<Result<String, String>>> {
    let mut values = serde_json::Deserializer::from_slice(received).into_iter::<Value>();
    let value = match values.next() {
        None => return Ok(None),
        Some(Err(error)) if error.is_eof() => return Ok(None),
        Some(value) => value?,
    };
    let text = |value: &Value| value.as_str().unwrap_or_default().trim().to_owned();
    Ok(Some(match &value["error"] {
        Value::Null => Ok(text(&value["result"])),
        error => Err(text(error)),
    }))
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn waits_for_the_whole_answer() {
        assert!(parse(b"").unwrap().is_none());
        assert!(parse(br#"{"id":0,"result":"po"#).unwrap().is_none());
        let whole = parse(br#"{"id":0,"result":"port 2\n","error":null}"#).unwrap();
        assert_eq!(whole, Some(Ok("port 2".to_owned())));
    }

    #[test]
    fn tells_refusals_from_answers() {
        let refused = parse(br#"{"id":0,"result":null,"error":"no such bridge\n"}"#).unwrap();
        assert_eq!(refused, Some(Err("no such bridge".to_owned())));
        assert!(parse(b"nonsense").is_err());
    }
}
