//! Writing the agent into a container through exec.

use std::time::Duration;

use bytes::Bytes;
use k8s_openapi::api::core::v1::Pod;
use kube::api::Api;
use tokio::{io::AsyncReadExt as _, time::timeout};

use super::{exec, exit_text};
use crate::text::seconds;

/// For the first word of a shell; a busy node takes a while to start one.
const PATIENCE: Duration = Duration::from_secs(30);

/// Writes the program to the first directory it can run from and prints where. What it reads is counted, because the
/// end of standard input does not reach the container through older servers. A directory that can be written to may
/// still be mounted without the right to run anything from it. The empty line says that there is a shell: what is sent to
/// nobody breaks the connection, and with it the API's word about why.
const SCRIPT: &str = r#"echo
first=
for d in /tmp /var/tmp /run /home "$HOME" /dev/shm .; do
  [ -d "$d" ] && [ -w "$d" ] || continue
  f="$d/.trunkline-agent"
  if [ -z "$first" ]; then
    head -c "$1" > "$f" || { echo "writing to $d failed" >&2; exit 1; }
    first="$f"
  elif [ "$f" != "$first" ]; then
    cp "$first" "$f" || continue
  fi
  chmod 755 "$f" && why=$("$f" --version 2>&1 >/dev/null) && { echo "$f"; exit 0; }
done
[ -n "$first" ] || { echo 'no directory in the container can be written to' >&2; exit 1; }
echo "it does not run in any directory that can be written to: $why" >&2; exit 1"#;

/// Where the agent lies now. The error says what the container lacks.
pub(super) async fn write(
    pods: &Api<Pod>,
    pod: &str,
    container: Option<&str>,
    program: &Bytes,
) -> Result<String, String> {
    let needs = |why: &str| {
        format!(
            "the agent cannot be written into the container, which needs `sh`, `head` and `chmod`: {}",
            why.trim()
        )
    };
    let command = ["sh", "-c", SCRIPT, "sh", &program.len().to_string()]
        .map(str::to_owned)
        .to_vec();
    let mut process = exec(pods, pod, container, command)
        .await
        .map_err(|why| needs(&why))?;
    let mut line = [0];
    let shell = match timeout(PATIENCE, process.stdout.read(&mut line)).await {
        Ok(read) => matches!(read, Ok(1)),
        Err(_) => return Err(needs(&format!("nothing within {}", seconds(PATIENCE)))),
    };
    let finished = process.finish(if shell { program } else { &[] }).await;
    let path = String::from_utf8_lossy(&finished.stdout);
    if !path.trim().is_empty() {
        return Ok(path.trim().to_owned());
    }
    let status = finished
        .status
        .and_then(|status| exit_text(&status))
        .unwrap_or_else(|| "no exit status".into());
    let complaint = String::from_utf8_lossy(&finished.stderr);
    Err(needs(&format!("{status} {}", complaint.trim())))
}
