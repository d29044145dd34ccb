//! Interfaces that a configuration names and this host does not have.
//!
//! They may come later, as one of a dial-up line does, so a start goes on. But until then what needs them fails, and
//! a name may be misspelt.

use crate::config::{Config, Problem, Severity};
use crate::sys::udp::interface_index;

/// A doubt for every setting that names an interface which does not exist now.
pub fn unknown_interfaces(config: &Config) -> Vec<Problem> {
    let settings = [
        ("upstream-interface", &config.upstream_interface),
        (
            "upstream-interface-multicast",
            &config.upstream_interface_multicast,
        ),
        ("upstream-interface-http", &config.upstream_interface_http),
        ("upstream-interface-rtsp", &config.upstream_interface_rtsp),
    ];
    let named = settings
        .into_iter()
        .filter_map(|(key, name)| Some((key, name.as_ref()?)));
    named
        .filter(|(_, name)| interface_index(name).is_none())
        .map(|(key, name)| {
            let text = format!("{key}: there is no interface {name:?} now; nothing is received through it until there is");
            Problem::of_all(Severity::Doubtful, text)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_does_not_exist_is_doubtful() {
        let config = Config {
            upstream_interface: Some("lo".into()),
            upstream_interface_http: Some("none such".into()),
            ..Config::default()
        };
        let problems = unknown_interfaces(&config);
        let texts: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            [
                "upstream-interface-http: there is no interface \"none such\" now; nothing is received through it until there is"
            ]
        );
        assert_eq!(
            problems[0].level(),
            log::Level::Error,
            "it shows by default"
        );
    }
}
