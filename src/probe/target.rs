//! Where a probe connects: the URL of a server, and the proxy in front of it.

use std::fmt;

use crate::proto::url::{Host, parse_endpoint};

/// Bytes of a URL at most.
const URL_BYTES_MAX: usize = 2047;

/// What is spoken with the server, TLS aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// The probe's own protocol.
    Tcp,
    /// WebSocket.
    WebSocket,
    /// Plain HTTP requests.
    Http,
}

/// A server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The URL as given.
    pub url: String,
    /// What is spoken.
    pub transport: Transport,
    /// Whether inside TLS.
    pub is_secure: bool,
    /// Name or address.
    pub host: Host,
    /// The port.
    pub port: u16,
    /// For WebSocket the path, for HTTP what the probe's own paths are put behind.
    pub path: String,
}

impl Target {
    /// Reads `tcp://`, `tls://`, `ws://`, `wss://`, `http://` or `https://` URLs.
    ///
    /// # Errors
    ///
    /// What is wrong with it, in words.
    pub fn parse(url: &str) -> Result<Self, String> {
        if url.len() > URL_BYTES_MAX {
            return Err(format!("a URL has at most {URL_BYTES_MAX} bytes"));
        }
        let (scheme, rest) = url
            .split_once("://")
            .ok_or("a URL begins with tcp://, tls://, ws://, wss://, http:// or https://")?;
        let (transport, is_secure, default_port) = match scheme {
            "tcp" => (Transport::Tcp, false, None),
            "tls" => (Transport::Tcp, true, None),
            "ws" => (Transport::WebSocket, false, Some(80)),
            "wss" => (Transport::WebSocket, true, Some(443)),
            "http" => (Transport::Http, false, Some(80)),
            "https" => (Transport::Http, true, Some(443)),
            other => return Err(format!("{other}:// is not spoken by the probe")),
        };
        let (endpoint, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        let (host, port) = parse_endpoint(endpoint).map_err(|error| error.to_string())?;
        let port = port
            .or(default_port)
            .ok_or_else(|| format!("{scheme}:// needs a port"))?;
        let is_visible = |byte: u8| byte.is_ascii_graphic();
        if !path.bytes().all(is_visible) || path.contains('#') {
            return Err("a path has visible ASCII without a fragment".into());
        }
        let path = match (transport, path.trim_end_matches('/')) {
            (Transport::Tcp, "") => "",
            (Transport::Tcp, _) => return Err(format!("{scheme}:// has no path")),
            (Transport::WebSocket, "") => "/ws",
            (_, path) => path,
        };
        Ok(Self {
            url: url.to_owned(),
            transport,
            is_secure,
            host,
            port,
            path: path.to_owned(),
        })
    }

    /// Host and port, as in a `Host` header or a `CONNECT`.
    pub fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// The name or address without brackets, for look-ups and certificates.
    pub fn bare_host(&self) -> String {
        match &self.host {
            Host::Name(name) => name.clone(),
            Host::Ip { address, .. } => address.to_string(),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)
    }
}

impl Transport {
    /// As in results.
    pub fn name(self, is_secure: bool) -> &'static str {
        match (self, is_secure) {
            (Transport::Tcp, false) => "tcp",
            (Transport::Tcp, true) => "tls",
            (Transport::WebSocket, false) => "ws",
            (Transport::WebSocket, true) => "wss",
            (Transport::Http, false) => "http",
            (Transport::Http, true) => "https",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scheme_has_its_parts() {
        let part = |url: &str| {
            let target = Target::parse(url).expect(url);
            let name = target.transport.name(target.is_secure);
            (name, target.authority(), target.path)
        };
        assert_eq!(
            part("tcp://a.test:9000"),
            ("tcp", "a.test:9000".into(), "".into())
        );
        assert_eq!(
            part("tls://[::1]:9000/"),
            ("tls", "[::1]:9000".into(), "".into())
        );
        assert_eq!(
            part("ws://10.0.0.1"),
            ("ws", "10.0.0.1:80".into(), "/ws".into())
        );
        assert_eq!(
            part("wss://a/push"),
            ("wss", "a:443".into(), "/push".into())
        );
        assert_eq!(
            part("http://a:1/http/b:2/"),
            ("http", "a:1".into(), "/http/b:2".into())
        );
        assert_eq!(part("https://a"), ("https", "a:443".into(), "".into()));
    }

    #[test]
    fn other_urls_are_refused() {
        for url in [
            "a:1",
            "ftp://a:1",
            "tcp://a",
            "tcp://a:1/x",
            "ws://",
            "ws://a/\r\nX: y",
            "http://a:99999",
        ] {
            assert!(Target::parse(url).is_err(), "{url}");
        }
    }
}
