//! Web app manifests, which let a phone keep a page like a program (server spec §8.3).

use super::Settings;
use super::text::json_string;

/// Names are those of the compatible router: installed pages go by them.
const NAME: &str = "rtp2httpd 面板";
const SHORT_NAME: &str = "R2H 面板";

/// The manifest of the status page. It holds the token, so only who has it may see this.
pub(super) fn status(settings: &Settings<'_>) -> String {
    let Settings {
        prefix,
        status_path,
        token,
        ..
    } = settings;
    let scope = json_string(&format!("{prefix}{status_path}"));
    let start = match token {
        Some(token) => json_string(&format!("{prefix}{status_path}?r2h-token={token}")),
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
         \"name\":\"{NAME}\",\"short_name\":\"{SHORT_NAME}\",\
         \"name_localized\":{},\"short_name_localized\":{},\
         \"id\":{scope},\"scope\":{scope},\"start_url\":{start},\
         \"theme_color\":\"#090b1a\",\"background_color\":\"#090b1a\",\
         \"icons\":[{},{}]}}",
        localized(NAME, "rtp2httpd Status"),
        localized(SHORT_NAME, "R2H Status"),
        icon(192),
        icon(512),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manifest_is_that_of_the_specification() {
        let manifest = status(&Settings {
            prefix: "/tv",
            status_path: "/status",
            log_level: 1,
            token: Some("a%20b"),
        });
        assert_eq!(
            manifest,
            r##"{"lang":"zh-Hans","dir":"ltr","display":"standalone","name":"rtp2httpd 面板","short_name":"R2H 面板","name_localized":{"zh-Hans":"rtp2httpd 面板","zh-Hant":"rtp2httpd 面板","en":"rtp2httpd Status"},"short_name_localized":{"zh-Hans":"R2H 面板","zh-Hant":"R2H 面板","en":"R2H Status"},"id":"/tv/status","scope":"/tv/status","start_url":"/tv/status?r2h-token=a%20b","theme_color":"#090b1a","background_color":"#090b1a","icons":[{"src":"/tv/assets/icon-192.png","sizes":"192x192","type":"image/png"},{"src":"/tv/assets/icon-512.png","sizes":"512x512","type":"image/png"}]}"##
        );
    }

    #[test]
    fn page_at_the_root_starts_there() {
        let at_root = |prefix| {
            status(&Settings {
                prefix,
                status_path: "/",
                log_level: 1,
                token: None,
            })
        };
        assert!(at_root("").contains(r#""scope":"/","start_url":"/","#));
        assert!(at_root("/app").contains(r#""scope":"/app/","start_url":"/app/","#));
    }
}
