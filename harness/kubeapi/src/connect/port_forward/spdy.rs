//! Port-forward over SPDY: the client opens two streams for each connection, one for data and one for an error, and gives
//! both the same number.

use std::collections::HashMap;

use tokio::io::{AsyncWriteExt, copy_bidirectional};
use tokio::task::JoinSet;

use super::Target;
use crate::connect::spdy::session::Session;
use crate::connect::spdy::stream::Stream;

/// The streams of a connection that have been opened.
#[derive(Default)]
struct Pair {
    data: Option<Stream>,
    error: Option<Stream>,
}

/// Which of the two a stream is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Data,
    Error,
}

/// Forwards connections until the client goes away.
pub async fn serve(target: Target, mut session: Session) {
    let mut pairs: HashMap<String, Pair> = HashMap::new();
    // Dropped with the session: the client's end is the end of its connections.
    let mut connections = JoinSet::new();
    loop {
        let stream = tokio::select! {
            stream = session.next() => stream,
            Some(_) = connections.join_next() => continue,
        };
        let Some(mut stream) = stream else {
            return;
        };
        let Some((kind, port)) = asked(&stream) else {
            let _ = stream.refuse().await;
            continue;
        };
        let number = number(&stream, kind);
        let pair = pairs.entry(number.clone()).or_default();
        let place = match kind {
            Kind::Data => &mut pair.data,
            Kind::Error => &mut pair.error,
        };
        if place.is_some() {
            let _ = stream.refuse().await;
            continue;
        }
        if stream.accept().await.is_err() {
            return;
        }
        *place = Some(stream);
        if let Pair {
            data: Some(_),
            error: Some(_),
        } = pair
            && let Some(Pair {
                data: Some(data),
                error: Some(error),
            }) = pairs.remove(&number)
        {
            connections.spawn(forward(target.clone(), port, data, error));
        }
    }
}

/// What a stream is for; None when its headers do not say.
fn asked(stream: &Stream) -> Option<(Kind, u16)> {
    let kind = match stream.header("streamtype")? {
        "data" => Kind::Data,
        "error" => Kind::Error,
        _ => return None,
    };
    let port = stream.header("port")?.parse().ok()?;
    (port > 0).then_some((kind, port))
}

/// The number both streams of a connection have. Clients that give none open the error stream first and the data stream
/// right after it.
fn number(stream: &Stream, kind: Kind) -> String {
    match (stream.header("requestid"), kind) {
        (Some(number), _) if !number.is_empty() => number.to_owned(),
        (_, Kind::Error) => stream.id().to_string(),
        (_, Kind::Data) => stream.id().wrapping_sub(2).to_string(),
    }
}

/// One connection. The client may be gone at any time, then there is nobody to tell anything.
async fn forward(target: Target, port: u16, mut data: Stream, mut error: Stream) {
    match target.connect(port).await {
        Ok(mut connection) => {
            if copy_bidirectional(&mut data, &mut connection).await.is_ok() {
                let _ = data.shutdown().await;
            } else {
                let _ = data.cancel().await;
            }
        }
        Err(message) => {
            let _ = error.write_all(message.as_bytes()).await;
            let _ = data.cancel().await;
        }
    }
    let _ = error.shutdown().await;
}
