//! How the links in what a client gets lead back here.

use std::net::SocketAddr;
use std::rc::Rc;

use super::Router;
use super::slots::ClientId;
use crate::client::Request;
use crate::config::Config;
use crate::net::tls;
use crate::proto::rewrite::Links;
use crate::proto::rewrite::base::LinkBase;

/// The links of the last request: most clients know this server by one name, and ask again and again.
#[derive(Debug)]
pub(super) struct LastLinks {
    config: Rc<Config>,
    host: Vec<u8>,
    links: Rc<Links>,
}

impl LastLinks {
    /// Whether a request would get the same links.
    fn serves(&self, request: &Request, config: &Rc<Config>) -> bool {
        Rc::ptr_eq(&self.config, config) && request.header("host") == Some(self.host.as_slice())
    }
}

impl Router {
    /// How links of a rewritten playlist lead back here; through `interface` if the request named one.
    pub(super) fn links(
        &mut self,
        id: ClientId,
        request: &Request,
        interface: Option<&str>,
    ) -> Rc<Links> {
        let config = &self.shared.config;
        // Whoever is believed about the client's side may say something else each time.
        let is_usual = interface.is_none() && !config.xff;
        if is_usual
            && let Some(last) = &self.last_links
            && last.serves(request, config)
        {
            return Rc::clone(&last.links);
        }
        let base = usable_base(request, config);
        let host = request
            .header("host")
            .filter(|_| is_usual && base.is_some());
        let base = base.unwrap_or_else(|| self.own_base(id));
        let mut links = Links::new(base, &config.app_path_prefix, tls::IS_SUPPORTED);
        if let Some(token) = &config.r2h_token {
            links = links.with_token(token.secret());
        }
        if let Some(interface) = interface {
            links = links.with_interface(interface);
        }
        let links = Rc::new(links);
        if let Some(host) = host {
            self.last_links = Some(LastLinks {
                config: Rc::clone(config),
                host: host.to_owned(),
                links: Rc::clone(&links),
            });
        }
        links
    }

    /// What links in the answer to a request begin with; `/` is at the end.
    pub(super) fn link_base(&self, id: ClientId, request: &Request) -> String {
        usable_base(request, &self.shared.config).unwrap_or_else(|| self.own_base(id))
    }

    /// The base where the client has named no host that could be one.
    fn own_base(&self, id: ClientId) -> String {
        let prefix = &self.shared.config.app_path_prefix;
        match self.own_address(id) {
            Some(address) => format!("http://{address}{prefix}/"),
            None => format!("{prefix}/"),
        }
    }

    /// The address at which the client has reached this server.
    fn own_address(&self, id: ClientId) -> Option<SocketAddr> {
        let sink = self.clients.get(id)?;
        self.shared.net.local_address(sink.client.socket()).ok()
    }
}

/// The base as the request and `config` have it.
fn usable_base(request: &Request, config: &Config) -> Option<String> {
    let text = |name| {
        request
            .header(name)
            .and_then(|value| str::from_utf8(value).ok())
    };
    let base = LinkBase {
        relative: config.use_relative_path_in_m3u,
        prefix: &config.app_path_prefix,
        scheme: config
            .hostname
            .as_ref()
            .and_then(|hostname| hostname.scheme),
        trust_forwarded: config.xff,
        host: text("host"),
        forwarded_host: text("x-forwarded-host"),
        forwarded_proto: text("x-forwarded-proto"),
    };
    base.write()
}
