//! exec, attach, logs, port-forward.

use kubeapi::{ExecOptions, LogOptions, PodConnector, TerminalSize};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::context::{check, equal, fail};
use super::{Context, Outcome};

pub async fn exec_with_input(c: Context) -> Outcome {
    c.pod(
        "p",
        json!({"env": [{"name": "COLOUR", "value": "blue"}]}),
        json!({}),
    )
    .await?;
    c.ready("p").await?;
    let script = "tr a-z A-Z; echo $COLOUR >&2; exit 7";
    let (code, out, err) = c.exec("p", &["sh", "-c", script], Some("hello")).await?;
    equal((code, out.as_str(), err.as_str()), (7, "HELLO", "blue\n"))?;

    // much more than a pipe holds
    let (code, out, _) = c
        .exec(
            "p",
            &["sh", "-c", "head -c 1000000 /dev/zero | tr '\\0' x"],
            None,
        )
        .await?;
    equal((code, out.len()), (0, 1_000_000))?;

    // a client that goes away takes its command with it
    let session = c.session("p", &["sleep", "4321"], false);
    let sleeps = "grep -aqs '43[2]1' /proc/[0-9]*/cmdline";
    c.exec(
        "p",
        &["sh", "-c", &format!("until {sleeps}; do :; done")],
        None,
    )
    .await?;
    session.exit.abort();
    let (code, _, _) = c
        .exec(
            "p",
            &["sh", "-c", &format!("while {sleeps}; do :; done")],
            None,
        )
        .await?;
    equal(code, 0)
}

pub async fn exec_on_a_terminal(c: Context) -> Outcome {
    c.pod("p", json!({}), json!({})).await?;
    c.ready("p").await?;
    let mut session = c.session("p", &["sh"], true);
    session
        .resize
        .send(TerminalSize {
            columns: 91,
            rows: 31,
        })
        .await?;
    session
        .stdin
        .write_all(b"test -t 0 && echo ter''minal\n")
        .await?;
    session.expect("terminal\r\n").await?;
    session.stdin.write_all(b"stty size\n").await?;
    session.expect("31 91").await?;
    session.stdin.write_all(b"exit 5\n").await?;
    let (code, _, _) = session.finish().await?;
    equal(code, 5)
}

pub async fn exec_of_nothing(c: Context) -> Outcome {
    c.pod("p", json!({}), json!({})).await?;
    c.ready("p").await?;
    let session = c.session("p", &["/no/such/program"], false);
    let error = session.exit.await?.err().ok_or_else(|| fail("it ran"))?;
    check(
        error.contains("OCI runtime exec failed: exec failed: unable to start container process: exec: \"/no/such/program\": stat /no/such/program: no such file or directory: unknown"),
        error.clone(),
    )?;
    let session = c.session("absent", &["true"], false);
    check(
        session.exit.await?.is_err(),
        "a pod that is not there ran a command",
    )
}

pub async fn logs_follow(c: Context) -> Outcome {
    let script = "echo one; echo two >&2; read line < /tmp/go; echo $line; printf end";
    let script = format!("mkfifo /tmp/go; {script}");
    c.pod("p", json!({"command": ["sh", "-c", script]}), json!({}))
        .await?;
    c.ready("p").await?;
    let options = LogOptions {
        container: "c".to_owned(),
        follow: true,
        ..LogOptions::default()
    };
    let follow = {
        let (connector, namespace, options) = (
            c.cluster.connector.clone(),
            c.namespace.clone(),
            options.clone(),
        );
        connector
            .logs(&namespace, "p", options)
            .await
            .map_err(|s| fail(s.message))?
    };
    let follow = tokio::spawn(async move {
        use futures::StreamExt;
        let chunks: Vec<_> = follow.collect().await;
        chunks
            .into_iter()
            .filter_map(Result::ok)
            .map(|b| String::from_utf8_lossy(&b).into_owned())
            .collect::<String>()
    });
    c.exec(
        "p",
        &[
            "sh",
            "-c",
            "until [ -p /tmp/go ]; do :; done; echo three > /tmp/go",
        ],
        None,
    )
    .await?;
    let mut text = follow.await?;
    // the two streams are read side by side
    if text.starts_with("two\none\n") {
        text = text.replacen("two\none\n", "one\ntwo\n", 1);
    }
    equal(text.as_str(), "one\ntwo\nthree\nend")?;
    let tail = LogOptions {
        tail_lines: Some(2),
        follow: false,
        ..options
    };
    equal(c.log_options("p", tail).await?.as_str(), "three\nend")?;
    equal(c.logs("p").await?.len(), "one\ntwo\nthree\nend".len())
}

pub async fn attach_types_into_a_container(c: Context) -> Outcome {
    let container = json!({
        "command": ["sh", "-c", "while read line; do echo got $line; done; echo over"],
        "stdin": true, "stdinOnce": true,
    });
    c.pod("p", container, json!({})).await?;
    c.ready("p").await?;
    let options = ExecOptions {
        container: "c".to_owned(),
        stdin: true,
        stdout: true,
        stderr: true,
        ..ExecOptions::default()
    };
    let mut session = c.open("p", options, true);
    session.stdin.write_all(b"a\n").await?;
    session.expect("got a\n").await?;
    let (code, out, _) = session.finish().await?;
    equal((code, out.as_str()), (0, "over\n"))?;
    c.phase("p", "Succeeded").await.map(|_| ())
}

pub async fn port_forward(c: Context) -> Outcome {
    c.pod(
        "p",
        json!({
            "command": ["/http-server", "netexec", "--http-port", "8080"],
            "volumeMounts": [{"name": "server", "mountPath": "/http-server"}],
            "readinessProbe": {"httpGet": {"path": "/healthz", "port": 8080}},
        }),
        json!({"volumes": [{"name": "server", "hostPath": {"path": "/http-server", "type": "File"}}]}),
    )
    .await?;
    c.ready("p").await?;
    let mut stream = c
        .cluster
        .connector
        .port_forward(&c.namespace, "p", 8080)
        .await
        .map_err(|s| fail(s.message))?;
    stream
        .write_all(b"GET /hostname HTTP/1.1\r\nHost: p\r\nConnection: close\r\n\r\n")
        .await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    check(answer.ends_with("\r\n\r\np"), answer.clone())?;
    let refused = c.cluster.connector.port_forward(&c.namespace, "p", 9).await;
    check(refused.is_err(), "nobody listens there")
}
