//! What the values of options look like; those that other programs use too are in [`units`](crate::probe::units).

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use crate::probe::schedule::Step;
use crate::probe::target::{Target, Transport};
use crate::probe::units::{duration, rate, size};
use crate::probe::wire::STEPS_MAX;
use crate::proto::url::Host;

pub(super) fn listen_address(text: &str) -> Result<SocketAddr, String> {
    let wrong = || format!("{text:?} is not an address and port such as 0.0.0.0:8080 or [::]:8080");
    if let Some(port) = text.strip_prefix(':') {
        let port = port.parse().map_err(|_| wrong())?;
        return Ok(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port));
    }
    text.parse().map_err(|_| wrong())
}

pub(super) fn milliseconds(text: &str) -> Result<Duration, String> {
    match text.parse::<u32>() {
        Ok(number) => Ok(Duration::from_millis(number.into())),
        Err(_) => duration(text),
    }
}

/// What fits the kernel's `int`.
pub(super) fn buffer_size(text: &str) -> Result<u64, String> {
    let bytes = size(text)?;
    match i32::try_from(bytes) {
        Ok(_) => Ok(bytes),
        Err(_) => Err(format!("at most {} bytes", i32::MAX)),
    }
}

pub(super) fn count(text: &str, low: u64, high: u64) -> Result<u64, String> {
    let number = text.parse().ok();
    number
        .filter(|number| (low..=high).contains(number))
        .ok_or_else(|| format!("{text:?} is not a number from {low} to {high}"))
}

pub(super) fn proxy(text: &str) -> Result<(Host, u16), String> {
    let target = Target::parse(text)?;
    match (target.transport, target.is_secure, target.path.as_str()) {
        (Transport::Http, false, "") => Ok((target.host, target.port)),
        _ => Err("a proxy is http://HOST:PORT".into()),
    }
}

/// `read:1s,hold:10s,rate:1MiB/s:5s,drain`; a drain at the end goes without saying.
pub(super) fn steps(text: &str) -> Result<Vec<Step>, String> {
    let mut steps = Vec::new();
    for step in text.split(',') {
        let parts: Vec<&str> = step.split(':').collect();
        steps.push(match parts.as_slice() {
            ["read", time] => Step::Read(duration(time)?),
            ["hold", time] => Step::Hold(duration(time)?),
            ["rate", bytes, time] => Step::Rate {
                time: duration(time)?,
                bytes_per_second: rate(bytes)?.max(1),
            },
            ["drain"] => Step::Drain,
            _ => {
                return Err(format!(
                    "{step:?} is not read:TIME, hold:TIME, rate:RATE:TIME or drain"
                ));
            }
        });
    }
    if steps.last() != Some(&Step::Drain) {
        steps.push(Step::Drain);
    }
    let drains = steps.iter().filter(|step| **step == Step::Drain).count();
    if drains > 1 || steps.len() > STEPS_MAX {
        return Err(format!(
            "at most {STEPS_MAX} steps, of which the last drains"
        ));
    }
    Ok(steps)
}
