//! HTTP probes: one request, of whose answer only the status counts.

use std::fmt::Write;
use std::time::Duration;

use k8s_openapi::api::core::v1::HTTPGetAction;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::time::timeout;

use super::Target;
use super::check::dial_error;

/// Ok for a status from 200 to 399.
pub(crate) async fn get(
    target: &Target,
    action: &HTTPGetAction,
    limit: Duration,
) -> Result<(), String> {
    if action.scheme.as_deref() == Some("HTTPS") {
        return Err(
            "HTTPS probes are not supported by this kubelet; use HTTP, exec or tcpSocket"
                .to_owned(),
        );
    }
    let address = target.address(action.host.as_deref(), &action.port)?;
    let path = action.path.as_deref().unwrap_or_default();
    let path = format!("/{}", path.trim_start_matches('/'));
    let url = format!("http://{address}{path}");
    let status = timeout(limit, async {
        let stream = target
            .connect(address)
            .await
            .map_err(|e| dial_error(address, &e))?;
        request(stream, &address.to_string(), &path, action)
            .await
            .map_err(|e| e.to_string())
    })
    .await
    .unwrap_or_else(|_| {
        Err("context deadline exceeded (Client.Timeout exceeded while awaiting headers)".to_owned())
    })
    .map_err(|reason| format!("Get {url:?}: {reason}"))?;
    if (200..400).contains(&status) {
        Ok(())
    } else {
        Err(format!("HTTP probe failed with statuscode: {status}"))
    }
}

async fn request(
    mut stream: tokio::net::TcpStream,
    host: &str,
    path: &str,
    action: &HTTPGetAction,
) -> std::io::Result<u16> {
    let headers = action.http_headers.clone().unwrap_or_default();
    let own = |name: &str| {
        headers
            .iter()
            .find(|h| h.name.eq_ignore_ascii_case(name))
            .map(|h| h.value.clone())
    };
    let host = own("host").unwrap_or_else(|| host.to_owned());
    let agent = own("user-agent").unwrap_or_else(|| "kube-probe/1.34".to_owned());
    let accept = own("accept").unwrap_or_else(|| "*/*".to_owned());
    let mut text = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: {agent}\r\nAccept: {accept}\r\nConnection: close\r\n"
    );
    for header in &headers {
        if !["host", "user-agent", "accept"].contains(&header.name.to_ascii_lowercase().as_str()) {
            // writing to a String cannot fail
            let _ = write!(text, "{}: {}\r\n", header.name, header.value);
        }
    }
    text.push_str("\r\n");
    stream.write_all(text.as_bytes()).await?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).await?;
    line.strip_prefix("HTTP/1.")
        .and_then(|rest| rest.split(' ').nth(1))
        .and_then(|code| code.trim().parse().ok())
        .ok_or_else(|| {
            std::io::Error::other(format!("malformed HTTP response {:?}", line.trim_end()))
        })
}
