//! The whole router under a seed.
use crate::client::Request;
use crate::router::Router;
use crate::router::slots::ClientId;
pub(crate) fn serve(_: &mut Router, _: ClientId, _: &Request) -> bool {
    false
}
