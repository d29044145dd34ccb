//! Which addresses HTTP and RTSP requests may connect to.
//!
//! Whoever may use the proxy chooses its destinations, so it must not become a way to what only the router
//! itself can reach. Judged is the address that is about to be connected to, after name resolution: a name
//! that resolves to something else the next time (DNS rebinding) gains nothing. Pure: nothing is resolved here.

mod class;
mod pattern;

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use super::parse::Rejected;
pub use class::Class;
use pattern::Pattern;

/// Entries of `--upstream-allow` and `--upstream-deny` together, at most; chosen.
pub const POLICY_ENTRIES_MAX: usize = 256;

/// What the proxy may connect to.
///
/// One rule: **the last entry that matches decides**, in the order of the command line; where none
/// matches, the default of the address's [`Class`] does. Public and private addresses are permitted by default,
/// because sources stand in the Internet and in the LAN. This host, unless the client sits on it too, link-local
/// addresses (where clouds keep their metadata and credentials) and groups are denied. The router's own listening
/// sockets are always denied: such a request would come back.
///
/// An entry that is a name decides for every address the name resolves to; permitting one means to
/// trust whoever answers for it in DNS.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UpstreamPolicy {
    entries: Vec<(Verdict, Pattern)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Allow,
    Deny,
}

/// A destination that is not permitted; shows itself with the address and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denied {
    destination: SocketAddr,
    reason: Reason,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Reason {
    /// One of the router's own listeners.
    Own,
    /// The default of its class.
    Class(Class),
    /// An entry, as it shows itself.
    Entry(String),
}

impl UpstreamPolicy {
    /// Adds patterns, separated by commas, that permit; see [`UpstreamPolicy::deny`] for their forms.
    ///
    /// # Errors
    ///
    /// As [`UpstreamPolicy::deny`].
    pub fn allow(&mut self, text: &str) -> Result<(), Rejected> {
        self.add(Verdict::Allow, text)
    }

    /// Adds patterns, separated by commas, that refuse.
    ///
    /// A pattern is an address (`192.0.2.1`, `2001:db8::1`, also in brackets), a network (`192.0.2.0/24`; bits
    /// behind the prefix do not matter), a host name in either case, a name and all below it (`*.example.org`, which
    /// does not match `example.org`), a [`Class`] by its keyword, or `all`, also written `*`.
    ///
    /// # Errors
    ///
    /// [`Rejected`] for any other pattern, which names it, and beyond [`POLICY_ENTRIES_MAX`]. Nothing is
    /// added then.
    pub fn deny(&mut self, text: &str) -> Result<(), Rejected> {
        self.add(Verdict::Deny, text)
    }

    fn add(&mut self, verdict: Verdict, text: &str) -> Result<(), Rejected> {
        let mut added = Vec::new();
        for item in text.split(',') {
            if self.entries.len() + added.len() == POLICY_ENTRIES_MAX {
                let accepted = format!("at most {POLICY_ENTRIES_MAX} patterns");
                return Err(Rejected::new(item, accepted));
            }
            let pattern = Pattern::parse(item).ok_or_else(|| {
                Rejected::new(
                    item,
                    "an address, a network such as 10.0.0.0/8, a host name, *.name, all, or one of private, \
                     public, loopback, link-local, multicast",
                )
            })?;
            added.push((verdict, pattern));
        }
        self.entries.append(&mut added);
        Ok(())
    }

    /// The patterns in their order, each with the key that adds it.
    pub fn entries(&self) -> impl Iterator<Item = (&'static str, String)> {
        self.entries.iter().map(|(verdict, pattern)| {
            let key = match verdict {
                Verdict::Allow => "upstream-allow",
                Verdict::Deny => "upstream-deny",
            };
            (key, pattern.to_string())
        })
    }

    /// Whether `address` and `port` may be connected to, on behalf of a request that named `host`.
    ///
    /// `host` is the name or address as the request wrote it, without brackets. `own` are the
    /// addresses the router listens on; wildcards are understood, and an address of this host may be added with
    /// port 0 so that it counts as [`Class::Loopback`]. `is_local` says that whoever asks sits on this host, and so
    /// reaches its services anyway.
    ///
    /// IPv6 addresses that only carry an IPv4 address are judged as that address: mapped, compatible and translated
    /// ones (RFC 4291 §2.5.5, RFC 2765 §2.1), 6to4 (RFC 3056 §2) and NAT64 (RFC 6052, RFC 8215). A pattern
    /// matches them in both forms.
    ///
    /// # Errors
    ///
    /// [`Denied`] with the reason.
    pub fn check(
        &self,
        host: &str,
        address: IpAddr,
        port: u16,
        own: &[SocketAddr],
        is_local: bool,
    ) -> Result<(), Denied> {
        let canonical = class::canonical(address);
        let is_own = |socket: &SocketAddr| class::canonical(socket.ip()) == canonical;
        let class = match own.iter().any(is_own) {
            true => Class::Loopback,
            false => Class::of(canonical),
        };
        let denied = |reason| {
            Err(Denied {
                destination: SocketAddr::new(address, port),
                reason,
            })
        };
        // An unspecified address, as a listener's or as a destination, is any address of this host.
        let reaches = |listener: &SocketAddr| {
            let is_any = listener.ip().is_unspecified() || canonical.is_unspecified();
            listener.port() == port && (is_own(listener) || is_any && class == Class::Loopback)
        };
        if own.iter().any(reaches) {
            return denied(Reason::Own);
        }
        let matching = self.entries.iter().rev().find(|(_, pattern)| {
            pattern.matches(host, canonical, class) || pattern.contains(address)
        });
        match matching {
            Some((Verdict::Allow, _)) => Ok(()),
            Some((Verdict::Deny, pattern)) => denied(Reason::Entry(pattern.to_string())),
            None if class.is_permitted() || is_local && class == Class::Loopback => Ok(()),
            None => denied(Reason::Class(class)),
        }
    }
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (address, port) = (self.destination.ip(), self.destination.port());
        match &self.reason {
            Reason::Own => write!(
                f,
                "{address} port {port} is where this router listens itself; no option permits that"
            ),
            Reason::Class(class) => {
                let what = match class {
                    Class::Loopback => "this host itself",
                    Class::LinkLocal => "a link-local address",
                    Class::Multicast => "a multicast or broadcast address",
                    Class::Private => "a private address",
                    Class::Public => "a public address",
                };
                let keyword = class.keyword();
                write!(
                    f,
                    "{address} is {what}; --upstream-allow {address} or --upstream-allow {keyword} permits it"
                )
            }
            Reason::Entry(pattern) => {
                write!(f, "{address} is denied by --upstream-deny {pattern}")
            }
        }
    }
}

impl std::error::Error for Denied {}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use proptest::prelude::*;

    use super::*;

    /// A policy from words such as `+private` and `-10.0.0.0/8`, in order.
    fn policy(entries: &str) -> UpstreamPolicy {
        let mut policy = UpstreamPolicy::default();
        for entry in entries.split_whitespace() {
            let (verdict, pattern) = entry.split_at(1);
            match verdict {
                "+" => policy.allow(pattern),
                _ => policy.deny(pattern),
            }
            .expect(entry);
        }
        policy
    }

    fn check(
        policy: &UpstreamPolicy,
        host: &str,
        address: &str,
        own: &[&str],
    ) -> Result<(), Denied> {
        let own: Vec<SocketAddr> = own.iter().map(|text| text.parse().expect(text)).collect();
        policy.check(host, address.parse().expect(address), 80, &own, false)
    }

    fn is_permitted(entries: &str, host: &str, address: &str) -> bool {
        check(&policy(entries), host, address, &[]).is_ok()
    }

    #[test]
    fn defaults_permit_other_hosts_and_nothing_else() {
        for address in [
            "192.0.2.1",
            "10.0.0.1",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "100.64.0.1",
            "240.0.0.1",
            "2001:db8::1",
            "fd00::1",
            "fec0::1",
            "64:ff9b::c000:201",
            "2002:c000:201::1",
            "::ffff:10.0.0.1",
        ] {
            assert!(is_permitted("", "h", address), "{address}");
        }
        for address in [
            "127.0.0.1",
            "127.255.255.255",
            "0.0.0.0",
            "0.1.2.3",
            "::",
            "::1",
            "169.254.169.254",
            "fe80::1",
            "febf::1",
            "224.0.0.1",
            "239.255.255.255",
            "255.255.255.255",
            "ff02::1",
        ] {
            assert!(!is_permitted("", "h", address), "{address}");
        }
    }

    #[test]
    fn carried_ipv4_address_is_what_is_judged() {
        for address in [
            "::ffff:127.0.0.1",
            "::ffff:0.0.0.0",
            "::127.0.0.1",
            "::ffff:0:127.0.0.1",
            "2002:7f00:1::",
            "2002:7f00:1:5::9",
            "64:ff9b::7f00:1",
            "64:ff9b:1::7f00:1",
            "64:ff9b:1:2:3:4:a9fe:a9fe",
            "::ffff:169.254.169.254",
            "2002:a9fe:a9fe::",
            "64:ff9b::a9fe:a9fe",
            "::ffff:224.0.0.1",
        ] {
            assert!(!is_permitted("", "h", address), "{address}");
        }
        for address in ["::ffff:10.1.2.3", "64:ff9b::a01:203", "2002:a01:203::1"] {
            assert!(!is_permitted("-10.0.0.0/8", "h", address), "{address}");
            assert!(!is_permitted("-private", "h", address), "{address}");
            assert!(is_permitted("-all +10.1.2.3", "h", address), "{address}");
        }
        // They match in their own form too.
        assert!(!is_permitted("-2002::/16", "h", "2002:c000:201::1"));
        assert!(!is_permitted("-::ffff:10.0.0.0/104", "h", "10.1.2.3"));
    }

    #[test]
    fn last_entry_that_matches_decides() {
        for (entries, address, permitted) in [
            ("+loopback", "127.0.0.1", true),
            ("+loopback", "169.254.1.1", false),
            ("+127.0.0.1", "127.0.0.1", true),
            ("+127.0.0.1", "127.0.0.2", false),
            ("+all", "127.0.0.1", true),
            ("+all", "ff02::1", true),
            ("-private", "10.0.0.1", false),
            ("-private", "192.0.2.1", true),
            ("-public", "192.0.2.1", false),
            ("-*", "10.0.0.1", false),
            ("-all +10.0.0.0/8", "10.0.0.1", true),
            ("-all +10.0.0.0/8", "11.0.0.1", false),
            ("+10.0.0.0/8 -all", "10.0.0.1", false),
            ("+10.0.0.0/8 -10.0.0.1", "10.0.0.1", false),
            ("+10.0.0.0/8,-x.test", "10.0.0.1", true),
        ] {
            let entries = entries.replace(",-", " -");
            assert_eq!(
                is_permitted(&entries, "h", address),
                permitted,
                "{entries} {address}"
            );
        }
    }

    #[test]
    fn names_are_matched_as_the_request_wrote_them() {
        for (pattern, host, matches) in [
            ("tv.test", "tv.test", true),
            ("TV.Test.", "tv.TEST", true),
            ("tv.test", "tv.test.", true),
            ("tv.test", "a.tv.test", false),
            ("*.tv.test", "a.tv.test", true),
            ("*.tv.test", "b.A.TV.test.", true),
            ("*.tv.test", "tv.test", false),
            ("*.tv.test", ".tv.test", false),
            ("*.tv.test", "atv.test", false),
            ("*.tv.test", "st", false),
        ] {
            assert_eq!(
                is_permitted(&format!("-{pattern}"), host, "192.0.2.1"),
                !matches,
                "{pattern} {host}"
            );
            assert_eq!(
                is_permitted(&format!("+{pattern}"), host, "127.0.0.1"),
                matches,
                "{pattern} {host}"
            );
        }
    }

    #[test]
    fn name_that_resolves_to_this_host_is_denied() {
        assert!(!is_permitted("", "innocent.test", "127.0.0.1"));
        assert!(!is_permitted("+public +private", "innocent.test", "::1"));
    }

    #[test]
    fn own_listener_is_never_a_destination() {
        let all = policy("+all");
        for (own, address, permitted) in [
            (&["127.0.0.1:80"][..], "127.0.0.1", false),
            (&["127.0.0.1:80"], "::ffff:127.0.0.1", false),
            (&["127.0.0.1:80"], "0.0.0.0", false),
            (&["127.0.0.1:80"], "127.0.0.2", true),
            (&["127.0.0.1:81"], "127.0.0.1", true),
            (&["0.0.0.0:80"], "127.0.0.1", false),
            (&["[::]:80"], "::1", false),
            (&["192.168.1.1:80"], "192.168.1.1", false),
            (&["0.0.0.0:80"], "192.168.1.1", true),
            (&["0.0.0.0:80", "192.168.1.1:0"], "192.168.1.1", false),
            (&["0.0.0.0:80"], "192.168.1.2", true),
        ] {
            assert_eq!(
                check(&all, "h", address, own).is_ok(),
                permitted,
                "{own:?} {address}"
            );
        }
    }

    #[test]
    fn own_address_counts_as_loopback() {
        let own = &["192.168.1.1:5140"];
        assert!(check(&policy(""), "h", "192.168.1.1", own).is_err());
        assert!(check(&policy("+private"), "h", "192.168.1.1", own).is_err());
        assert!(check(&policy("+loopback"), "h", "192.168.1.1", own).is_ok());
        assert!(check(&policy("+192.168.1.1"), "h", "192.168.1.1", own).is_ok());
        assert!(check(&policy(""), "h", "192.168.1.2", own).is_ok());
    }

    #[test]
    fn denial_names_the_address_and_the_option() {
        let shown = |entries, address| {
            check(&policy(entries), "h", address, &["127.0.0.2:80"])
                .unwrap_err()
                .to_string()
        };
        assert_eq!(
            shown("", "127.0.0.1"),
            "127.0.0.1 is this host itself; --upstream-allow 127.0.0.1 or --upstream-allow loopback permits it"
        );
        assert_eq!(
            shown("-10.0.0.1/8", "10.1.1.1"),
            "10.1.1.1 is denied by --upstream-deny 10.0.0.0/8"
        );
        assert_eq!(
            shown("+all", "127.0.0.2"),
            "127.0.0.2 port 80 is where this router listens itself; no option permits that"
        );
    }

    #[test]
    fn permission_that_a_denial_suggests_helps() {
        for address in [
            "127.0.0.1",
            "::1",
            "fe80::1",
            "169.254.169.254",
            "ff02::1",
            "2002:7f00:1::",
            "::ffff:127.0.0.1",
        ] {
            let denied = check(&policy(""), "h", address, &[])
                .unwrap_err()
                .to_string();
            let suggested: Vec<&str> = denied.split("--upstream-allow ").skip(1).collect();
            assert_eq!(suggested.len(), 2, "{denied}");
            for pattern in suggested {
                let pattern = pattern.split(' ').next().unwrap_or_default();
                assert!(
                    is_permitted(&format!("+{pattern}"), "h", address),
                    "{denied}"
                );
            }
        }
    }

    #[test]
    fn wrong_patterns_are_refused_by_name() {
        for pattern in [
            "",
            " ",
            "10.0.0.0/33",
            "::/129",
            "10.0.0.0/",
            "10.0.0.0/+8",
            "10.0.0/8",
            "10.0.0.300",
            "10.0.0",
            "1",
            "*.10.0.0.1",
            "[10.0.0.1]",
            "[::1",
            "fe80::1%eth0",
            "a b",
            "*a.test",
            "a.*.test",
            "*.",
            "host:80",
            "http://host",
            "-x",
            "a\r\nb",
        ] {
            let mut policy = UpstreamPolicy::default();
            let error = policy
                .deny(&format!("private,{pattern}"))
                .expect_err(pattern)
                .to_string();
            assert!(
                error.starts_with(&format!("{pattern:?} is not accepted")),
                "{error}"
            );
            assert_eq!(policy, UpstreamPolicy::default(), "nothing is added");
        }
    }

    #[test]
    fn patterns_have_a_limit() {
        let mut policy = UpstreamPolicy::default();
        let most = vec!["all"; POLICY_ENTRIES_MAX].join(",");
        assert_eq!(policy.deny(&most), Ok(()));
        let error = policy.allow("all").unwrap_err().to_string();
        assert!(error.ends_with("give at most 256 patterns"), "{error}");
    }

    fn any_address() -> impl Strategy<Value = IpAddr> {
        prop_oneof![
            any::<[u8; 4]>().prop_map(IpAddr::from),
            any::<[u8; 16]>().prop_map(IpAddr::from),
            any::<u32>()
                .prop_map(|bits| Ipv6Addr::from_bits(0xffff << 32 | u128::from(bits)).into()),
            any::<u32>()
                .prop_map(|bits| Ipv6Addr::from_bits(0x64_ff9b << 96 | u128::from(bits)).into()),
        ]
    }

    proptest! {
        #[test]
        fn any_text_is_handled_without_panic(text in any::<String>(), more in "[*a-f0-9.:/,\\[\\]-]{0,20}") {
            for text in [text, more] {
                let mut policy = UpstreamPolicy::default();
                if let Err(rejected) = policy.deny(&text) {
                    prop_assert!(!rejected.to_string().contains(char::is_control));
                }
                let _ = policy.check(&text, Ipv4Addr::LOCALHOST.into(), 80, &[], false);
            }
        }

        #[test]
        fn shown_patterns_read_back(text in "[*a-f0-9.:/\\[\\]]{1,16}|[a-z.-]{1,9}") {
            if let Some(pattern) = Pattern::parse(&text) {
                prop_assert_eq!(Pattern::parse(&pattern.to_string()), Some(pattern));
            }
        }

        #[test]
        fn network_is_compared_bit_by_bit(address: u32, other: u32, prefix in 0_u8..=32) {
            let pattern = format!("{}/{prefix}", Ipv4Addr::from_bits(address));
            let same = (0..u32::from(prefix)).all(|bit| (address ^ other) >> (31 - bit) & 1 == 0);
            let is_denied = !is_permitted(&format!("+all -{pattern}"), "h", &Ipv4Addr::from_bits(other).to_string());
            prop_assert_eq!(is_denied, same);
        }

        #[test]
        fn ipv6_network_is_compared_bit_by_bit(address: u128, flipped in 0_u32..128, prefix in 0_u8..=128) {
            // In 2001:db8::/32 nothing is carried.
            let within = |bits: u128| Ipv6Addr::from_bits(0x2001_0db8 << 96 | bits >> 32);
            let (address, other) = (within(address), within(address ^ 1 << flipped));
            let first = (address.to_bits() ^ other.to_bits()).leading_zeros();
            let is_denied = !is_permitted(&format!("+all -{address}/{prefix}"), "h", &other.to_string());
            prop_assert_eq!(is_denied, u32::from(prefix) <= first);
        }

        #[test]
        fn every_address_has_exactly_one_class(address in any_address()) {
            let permitting = Class::ALL.into_iter().filter(|class| {
                is_permitted(&format!("-all +{}", class.keyword()), "h", &address.to_string())
            });
            prop_assert_eq!(permitting.count(), 1);
        }

        #[test]
        fn mapped_address_is_judged_as_ipv4(bits: u32, keyword in "loopback|private|public|link-local|multicast") {
            let v4 = Ipv4Addr::from_bits(bits);
            for entries in [format!("-{keyword}"), format!("+{keyword}"), format!("-{v4}/9")] {
                let mapped = v4.to_ipv6_mapped().to_string();
                prop_assert_eq!(
                    is_permitted(&entries, "h", &v4.to_string()),
                    is_permitted(&entries, "h", &mapped)
                );
            }
        }
    }
}
