//! `/_imds/INSTANCE/latest/…`: the metadata service of an instance, for `AWS_EC2_METADATA_SERVICE_ENDPOINT`.

use hyper::Method;
use hyper::http::request::Parts;

use super::reply::{self, Reply};
use super::shared::Shared;
use crate::simulator::model::metadata::NoMetadata;

/// Under which paths it is served.
pub(super) const PREFIX: &str = "/_imds/";

pub(super) fn answer(shared: &Shared, head: &Parts) -> Reply {
    let header = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok());
    let path = head.uri.path().strip_prefix(PREFIX).unwrap_or_default();
    let (instance, path) = path.split_once('/').unwrap_or((path, ""));
    let answer = match (&head.method, path.strip_prefix("latest/")) {
        // What came through a proxy is not the instance's own.
        _ if header("x-forwarded-for").is_some() => return reply::plain(403, "text/plain", b"Forbidden\n".to_vec()),
        (&Method::PUT, Some("api/token")) => {
            let seconds = header("x-aws-ec2-metadata-token-ttl-seconds").and_then(|seconds| seconds.parse().ok());
            shared.with(|world, now| world.metadata_session(now, instance, seconds))
        }
        (&Method::GET, Some(path)) => {
            let token = header("x-aws-ec2-metadata-token");
            shared.with(|world, now| world.metadata(now, instance, token, path))
        }
        _ => Err(NoMetadata::NotFound),
    };
    match answer {
        Ok(text) => reply::plain(200, "text/plain", text.into_bytes()),
        Err(NoMetadata::BadRequest) => reply::plain(400, "text/plain", b"Bad Request\n".to_vec()),
        Err(NoMetadata::Unauthorised) => reply::plain(401, "text/plain", b"Unauthorized\n".to_vec()),
        Err(NoMetadata::NotFound) => reply::plain(404, "text/plain", b"Not Found\n".to_vec()),
        Err(NoMetadata::NoInstance) => reply::plain(404, "text/plain", b"There is no such instance, or it does not run.\n".to_vec()),
    }
}
