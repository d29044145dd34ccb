//! Web app manifests, which let a phone keep a page like a program (server spec §8.3).

use super::Settings;
use super::text::json_string;

/// What tells the manifests apart. Names are those of the compatible router: installed pages go by them.
struct Names {
    name: &'static str,
    short_name: &'static str,
    english: &'static str,
    short_english: &'static str,
    colour: &'static str,
}

/// The manifest of the status page. It holds the token, so only who has it may see this.
pub(super) fn status(settings: &Settings<'_>) -> String {
    let names = Names {
        name: "rtp2httpd 面板",
        short_name: "R2H 面板",
        english: "rtp2httpd Status",
        short_english: "R2H Status",
        colour: "#090b1a",
    };
    manifest(settings, settings.status_path, &names)
}

/// The manifest of the player page, which holds the token too.
pub(super) fn player(settings: &Settings<'_>) -> String {
    let names = Names {
        name: "rtp2httpd 播放器",
        short_name: "R2H 播放器",
        english: "rtp2httpd Player",
        short_english: "R2H Player",
        colour: "#050b18",
    };
    manifest(settings, settings.player_path, &names)
}

fn manifest(settings: &Settings<'_>, path: &str, names: &Names) -> String {
    let Settings { prefix, token, .. } = settings;
    let Names {
        name,
        short_name,
        english,
        short_english,
        colour,
    } = names;
    let scope = json_string(&format!("{prefix}{path}"));
    let start = match token {
        Some(token) => json_string(&format!("{prefix}{path}?r2h-token={token}")),
        None => scope.clone(),
    };
    let icon = |size: u32| {
        let source = json_string(&format!("{prefix}/assets/icon-{size}.png"));
        format!("{{\"src\":{source},\"sizes\":\"{size}x{size}\",\"type\":\"image/png\"}}")
    };
    let localized = |chinese: &str, english: &str| {
        format!("{{\"zh-Hans\":\"{chinese}\",\"zh-Hant\":\"{chinese}\",\"en\":\"{english}\"}}")
    };
    format!(
        "{{\"lang\":\"zh-Hans\",\"dir\":\"ltr\",\"display\":\"standalone\",\
         \"name\":\"{name}\",\"short_name\":\"{short_name}\",\
         \"name_localized\":{},\"short_name_localized\":{},\
         \"id\":{scope},\"scope\":{scope},\"start_url\":{start},\
         \"theme_color\":\"{colour}\",\"background_color\":\"{colour}\",\
         \"icons\":[{},{}]}}",
        localized(name, english),
        localized(short_name, short_english),
        icon(192),
        icon(512),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: Settings<'static> = Settings {
        prefix: "/tv",
        status_path: "/status",
        player_path: "/watch",
        log_level: 1,
        token: Some("a%20b"),
    };

    #[test]
    fn manifests_are_those_of_the_specification() {
        assert_eq!(
            status(&SETTINGS),
            r##"{"lang":"zh-Hans","dir":"ltr","display":"standalone","name":"rtp2httpd 面板","short_name":"R2H 面板","name_localized":{"zh-Hans":"rtp2httpd 面板","zh-Hant":"rtp2httpd 面板","en":"rtp2httpd Status"},"short_name_localized":{"zh-Hans":"R2H 面板","zh-Hant":"R2H 面板","en":"R2H Status"},"id":"/tv/status","scope":"/tv/status","start_url":"/tv/status?r2h-token=a%20b","theme_color":"#090b1a","background_color":"#090b1a","icons":[{"src":"/tv/assets/icon-192.png","sizes":"192x192","type":"image/png"},{"src":"/tv/assets/icon-512.png","sizes":"512x512","type":"image/png"}]}"##
        );
        assert_eq!(
            player(&SETTINGS),
            r##"{"lang":"zh-Hans","dir":"ltr","display":"standalone","name":"rtp2httpd 播放器","short_name":"R2H 播放器","name_localized":{"zh-Hans":"rtp2httpd 播放器","zh-Hant":"rtp2httpd 播放器","en":"rtp2httpd Player"},"short_name_localized":{"zh-Hans":"R2H 播放器","zh-Hant":"R2H 播放器","en":"R2H Player"},"id":"/tv/watch","scope":"/tv/watch","start_url":"/tv/watch?r2h-token=a%20b","theme_color":"#050b18","background_color":"#050b18","icons":[{"src":"/tv/assets/icon-192.png","sizes":"192x192","type":"image/png"},{"src":"/tv/assets/icon-512.png","sizes":"512x512","type":"image/png"}]}"##
        );
    }

    #[test]
    fn page_at_the_root_starts_there() {
        let at_root = |prefix| {
            status(&Settings {
                prefix,
                status_path: "/",
                token: None,
                ..SETTINGS
            })
        };
        assert!(at_root("").contains(r#""scope":"/","start_url":"/","#));
        assert!(at_root("/app").contains(r#""scope":"/app/","start_url":"/app/","#));
    }
}
