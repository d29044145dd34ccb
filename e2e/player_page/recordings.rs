//! The guide, and what has been on before.

use std::time::{SystemTime, UNIX_EPOCH};

use time::OffsetDateTime;

use super::origin::Origin;
use super::{
    PICTURE_WAIT, SHOWN, assert_moves, assert_quiet_and_at_home, available, press, recording, send,
    serve, wait_for_log, wait_for_picture, wait_for_text,
};
use crate::support::browser::Browser;
use crate::support::namespace::with_links;
use crate::support::{SOON, TempDir, wait_for};

const HALF_AN_HOUR: u64 = 1800;

/// A guide of half hours, three back and two ahead, and when the one before this began, in seconds since 1970.
fn guide() -> (String, u64) {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970")
        .as_secs();
    let current = now - now % HALF_AN_HOUR;
    let mut text = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<tv><channel id=\"c1\"><display-name>One</display-name></channel>".to_owned();
    for (number, start) in (current - 3 * HALF_AN_HOUR..=current + HALF_AN_HOUR)
        .step_by(HALF_AN_HOUR as usize)
        .enumerate()
    {
        let (from, to) = (compact(start), compact(start + HALF_AN_HOUR));
        text += &format!(
            "<programme start=\"{from} +0000\" stop=\"{to} +0000\" channel=\"c1\"><title>Part {number} &lt;i&gt; &amp; more</title></programme>"
        );
    }
    (text + "</tv>", current - HALF_AN_HOUR)
}

/// `YYYYMMDDhhmmss` in UTC.
fn compact(seconds: u64) -> String {
    let time = OffsetDateTime::from_unix_timestamp(seconds as i64).expect("a time of our days");
    let (date, (hour, minute, second)) = (time.date(), time.to_hms());
    let (year, month, day) = (date.year(), u8::from(date.month()), date.day());
    format!("{year}{month:02}{day:02}{hour:02}{minute:02}{second:02}")
}

#[test]
fn recording_that_breaks_off_is_asked_for_the_rest() {
    if !available() {
        return;
    }
    with_links(|| {
        let coding = ["-c:v", "libx264", "-c:a", "aac"];
        let origin = Origin::start(recording(12, "320x180", &coding));
        let source = origin.url("/rec?from=${(b)timestamp}&to=${(e)timestamp}");
        let configured = serve(
            "",
            &format!(
                "#EXTINF:-1 catchup=\"default\" catchup-source=\"{source}\",One\nrtp://239.8.1.1:5000\n"
            ),
        );
        let _sender = send("239.8.1.1:5000", "640x360");
        let browser = Browser::start("en-US");
        browser.open(&configured.server.url("/player"));
        wait_for_picture(&browser, 640);
        // Nothing is known of what was on, so there are blocks to choose from.
        browser.click("#tab-guide");
        let first =
            "[...document.querySelectorAll('#programmes button[data-when=past], #days button')][0]";
        browser.run(&format!("{first}.click()"));
        browser.run(
            "[...document.querySelectorAll('#programmes button[data-when=past]')].at(-1).click()",
        );
        wait_for_picture(&browser, 320);
        wait_for(PICTURE_WAIT, "the rest to be asked for", || {
            (origin.asked().len() > 1).then_some(())
        });
        let asked = origin.asked();
        let from = |target: &str| {
            let (_, rest) = target.split_once("from=").expect("a begin");
            let digits = rest.split('&').next().expect("one");
            digits.parse::<u64>().expect("seconds")
        };
        // Twelve seconds less one of overlap.
        let step = from(&asked[1]) - from(&asked[0]);
        assert!((10..=12).contains(&step), "{asked:?}");
        assert_moves(&browser);
    });
}

#[test]
fn past_programme_is_watched_again_and_live_is_gone_back_to() {
    if !available() {
        return;
    }
    with_links(|| {
        let directory = TempDir::new();
        let (text, earlier) = guide();
        let file = directory.path().join("guide.xml");
        std::fs::write(&file, text).expect("written");
        let origin = Origin::start(recording(
            60,
            "320x180",
            &["-c:v", "libx264", "-c:a", "aac"],
        ));
        let source = origin.url("/rec?from=${(b)yyyyMMddHHmmss|UTC}&to=${(e)yyyyMMddHHmmss|UTC}");
        let configured = serve(
            "",
            &format!(
                "#EXTM3U x-tvg-url=\"file://{}\"\n#EXTINF:-1 tvg-id=\"c1\" catchup=\"default\" catchup-source=\"{source}\",One\n\
                 rtp://239.8.1.1:5000\n",
                file.display()
            ),
        );
        wait_for_log(&configured, "guide");
        let _sender = send("239.8.1.1:5000", "640x360");
        let browser = Browser::start("en-US");
        browser.open(&configured.server.url("/player"));
        wait_for_picture(&browser, 640);
        wait_for_text(&browser, ".channel .on", "Part 3 <i> & more");
        wait_for_text(&browser, "#now-title", "Part 3");

        browser.click("#tab-guide");
        browser.wait("return document.querySelector('#programmes [data-when=now]')?.dataset.playing === 'true'");
        browser.keep_picture("player-guide");
        let programme = format!("#programmes [data-start='{}']", earlier * 1000);
        // Shortly after midnight it was yesterday.
        browser.run(&format!(
            "document.querySelector(\"{programme}\") ?? document.querySelector('#days [aria-pressed=true]').previousElementSibling.click()"
        ));
        browser.click(&programme);
        wait_for_picture(&browser, 320);
        let asked = origin.asked();
        let expected = format!("/rec?from={}&to=", compact(earlier));
        assert!(asked[0].starts_with(&expected), "{asked:?}");
        wait_for_text(&browser, "#now-title", "Part 2");
        wait_for_text(&browser, "#live", "−");
        browser.wait(&format!(
            "return document.querySelector(\"{programme}\").dataset.playing === 'true'"
        ));
        browser.keep_picture("player-replay");

        // What has arrived is not asked for again.
        browser.wait(&format!("return {SHOWN}.buffered.end(0) > 20"));
        press(&browser, "ArrowRight");
        wait_for(SOON, "five seconds further", || {
            (browser
                .run(&format!("return {}.currentTime", SHOWN))
                .as_f64()
                > Some(5.0))
            .then_some(())
        });
        assert_eq!(origin.asked().len(), 1);
        press(&browser, " ");
        browser.wait("return document.querySelector('video.shown').paused");
        press(&browser, " ");
        wait_for_picture(&browser, 320);
        // What has not, is.
        for _ in 0..3 {
            press(&browser, "ArrowLeft");
        }
        wait_for(SOON, "an earlier part", || {
            (origin.asked().len() > 1).then_some(())
        });
        wait_for_picture(&browser, 320);
        // The controls show themselves to whoever touches anything.
        press(&browser, "Shift");
        browser.click("#live");
        wait_for_picture(&browser, 640);
        wait_for_text(&browser, "#live", "Live");
        assert_quiet_and_at_home(&browser, &configured);
    });
}
