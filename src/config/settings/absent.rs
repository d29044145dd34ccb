//! Options and keys of the compatible router that are understood but have no effect, so that scripts and files that
//! hold them go on working, and are told: what it can do and this version cannot, and what is decided elsewhere here.
//!
//! An entry goes away when its setting joins [the table](super::settings).

/// An option and a key without effect.
#[derive(Debug)]
pub struct Absent {
    /// The letter of the option, after a single dash.
    pub short: Option<char>,
    /// The name of the option, after two dashes, and the key below `[global]`.
    pub name: &'static str,
    /// What the value of the option is called; `None` for a flag.
    pub argument: Option<&'static str>,
    /// What is done instead, for what nobody has to ask for; `None` if this version cannot do it.
    pub instead: Option<&'static str>,
}

impl Absent {
    /// What to tell whoever has used it, after its name.
    pub fn notice(&self) -> String {
        match self.instead {
            None => "has no effect in this version".to_owned(),
            Some(instead) => format!("has no effect: {instead}"),
        }
    }
}

/// All of them, in the order of their names.
pub fn absent() -> &'static [Absent] {
    ABSENT
}

/// The one a key of `[global]` names, as [`by_key`](super::by_key) compares.
pub fn absent_by_key(key: &str) -> Option<&'static Absent> {
    let key = key.to_ascii_lowercase().replace('_', "-");
    ABSENT.iter().find(|absent| absent.name == key)
}

const fn option(short: Option<char>, name: &'static str, argument: &'static str) -> Absent {
    Absent {
        short,
        name,
        argument: Some(argument),
        instead: None,
    }
}

const fn flag(short: char, name: &'static str) -> Absent {
    Absent {
        short: Some(short),
        name,
        argument: None,
        instead: None,
    }
}

static ABSENT: &[Absent] = &[
    option(Some('P'), "fcc-listen-port-range", "start[-end]"),
    option(Some('A'), "ffmpeg-args", "text"),
    option(Some('F'), "ffmpeg-path", "file"),
    option(Some('f'), "upstream-interface-fcc", "ifname"),
    flag('S', "video-snapshot"),
    Absent {
        instead: Some(
            "bodies are passed on with splice, and channels with many clients sent with sendfile, without being \
             copied, wherever that pays",
        ),
        ..flag('Z', "zerocopy-on-send")
    },
];

#[cfg(test)]
mod tests {
    use super::super::{by_key, settings};
    use super::*;

    #[test]
    fn what_is_there_is_not_absent() {
        for absent in absent() {
            let name = absent.name;
            assert!(
                by_key(name).is_none(),
                "{name} is a setting; remove it from ABSENT"
            );
            let mut settings = settings().iter();
            assert!(
                settings.all(|setting| setting.long != name),
                "{name} is an option; remove it from ABSENT"
            );
        }
    }

    #[test]
    fn keys_are_found_in_either_case_and_spelling() {
        assert_eq!(
            absent_by_key("FFmpeg_Path").map(|absent| absent.name),
            Some("ffmpeg-path")
        );
        assert!(absent_by_key("maxclients").is_none());
    }
}
