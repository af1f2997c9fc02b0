//! Logs of a container.

use futures::StreamExt;
use http::Response;

use crate::body::Body;
use crate::object;
use crate::pods::{LogOptions, PodConnector};
use crate::request::Query;
use crate::server::respond;
use crate::status::Status;
use crate::validation::field;

/// The options of the query; the container is checked by the caller.
pub fn options(query: &Query, container: String, pod: &str) -> Result<LogOptions, Status> {
    let number = |key: &str| -> Result<Option<u64>, Status> {
        let Some(text) = query.get(key) else {
            return Ok(None);
        };
        let number: i64 = text.parse().map_err(|_| {
            Status::bad_request(format!(
                "strconv.ParseInt: parsing {text:?}: invalid syntax"
            ))
        })?;
        // A log can be asked for without any line, but not for less than a second or a byte.
        let (least, why) = if key == "tailLines" {
            (0, "must be greater than or equal to 0")
        } else {
            (1, "must be greater than 0")
        };
        u64::try_from(number)
            .ok()
            .filter(|number| *number >= least)
            .map(Some)
            .ok_or_else(|| {
                let error = field::invalid(key, number, why);
                Status::invalid("", "PodLogOptions", pod, &[error])
            })
    };
    let since_time = query.get("sinceTime").and_then(object::parse_time);
    let since_seconds = number("sinceSeconds")?;
    if since_time.is_some() && since_seconds.is_some() {
        let error = field::forbidden(
            "[]",
            "at most one of `sinceTime` or `sinceSeconds` may be specified",
        );
        return Err(Status::invalid("", "PodLogOptions", pod, &[error]));
    }
    Ok(LogOptions {
        container,
        follow: query.flag("follow"),
        previous: query.flag("previous"),
        tail_lines: number("tailLines")?,
        since_seconds,
        since_time,
        timestamps: query.flag("timestamps"),
        limit_bytes: number("limitBytes")?,
    })
}

/// Streams the log.
pub async fn serve(
    connector: &dyn PodConnector,
    namespace: &str,
    pod: &str,
    options: LogOptions,
) -> Result<Response<Body>, Status> {
    let log = connector.logs(namespace, pod, options).await?;
    Ok(respond::stream("text/plain", Body::stream(log.boxed())))
}
