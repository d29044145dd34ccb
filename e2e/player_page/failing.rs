//! What cannot be played: other sources, reasons in words, and going on when it can be again.

use super::origin::Origin;
use super::{SHOWN, available, recording, row, send, serve, wait_for_picture, wait_for_text};
use crate::support::browser::Browser;
use crate::support::namespace::with_links;
use crate::support::server::Server;

#[test]
fn dead_source_makes_way_for_the_next_one_or_is_named() {
    if !available() {
        return;
    }
    with_links(|| {
        // Nobody listens on port 9.
        let configured = serve(
            "",
            "#EXTINF:-1,Both\nhttp://127.0.0.1:9/a$Dead\n#EXTINF:-1,Both\nrtp://239.8.1.1:5000$Good\n\
             #EXTINF:-1,Dead\nhttp://127.0.0.1:9/b\n",
        );
        let _sender = send("239.8.1.1:5000", "640x360");
        let browser = Browser::start("en-US");
        browser.open(&configured.server.url("/player"));
        wait_for_text(&browser, "#notice", "Now playing: Good");
        wait_for_picture(&browser, 640);
        assert_eq!(
            browser.run("return document.querySelector('#source').value"),
            "1"
        );
        browser.click(&row(2));
        wait_for_text(&browser, "#busy-text", "Trying again");
        browser.wait_within(
            super::PICTURE_WAIT,
            "return !document.querySelector('#problem').hidden",
        );
        wait_for_text(&browser, "#problem-text", "The source does not answer");
        browser.keep_picture("player-problem");
        // The next time the source that plays is the first to be tried.
        browser.open(&configured.server.url("/player#Both"));
        browser.run("location.reload()");
        wait_for_picture(&browser, 640);
        assert_eq!(
            browser.run("return document.querySelector('#source').value"),
            "1"
        );
    });
}

#[test]
fn picture_that_the_browser_cannot_play_is_named_and_sound_is_left_out() {
    if !available() {
        return;
    }
    with_links(|| {
        let hevc = Origin::start(recording(
            4,
            "320x180",
            &["-c:v", "libx265", "-x265-params", "log-level=none", "-an"],
        ));
        // A rate that is not allowed with one channel, which decoders refuse.
        let mp2 = Origin::start(recording(
            30,
            "320x180",
            &["-c:v", "libx264", "-c:a", "mp2", "-ac", "1", "-b:a", "384k"],
        ));
        let text = Origin::start(vec![b'a'; 100_000]);
        let configured = serve(
            "",
            &format!(
                "#EXTINF:-1,HEVC\n{}\n#EXTINF:-1,MP2\n{}\n#EXTINF:-1,Text\n{}\n",
                hevc.url("/"),
                mp2.url("/"),
                text.url("/")
            ),
        );
        let browser = Browser::start("en-US");
        browser.open(&configured.server.url("/player"));
        wait_for_text(&browser, "#problem-text", "H.265");
        // Trying that again would not help.
        assert_eq!(hevc.asked().len(), 1);
        browser.click(&row(2));
        wait_for_picture(&browser, 320);
        wait_for_text(&browser, "#notice", "cannot play MP2 audio");
        browser.click(&row(3));
        wait_for_text(
            &browser,
            "#problem-text",
            "in a form that this browser cannot play",
        );
    });
}

#[test]
fn sound_in_mp2_is_heard() {
    if !available() {
        return;
    }
    with_links(|| {
        let coding = ["-c:v", "libx264", "-c:a", "mp2", "-ac", "2", "-b:a", "192k"];
        let origin = Origin::start(recording(30, "320x180", &coding));
        let configured = serve("", &format!("#EXTINF:-1,MP2\n{}\n", origin.url("/")));
        let browser = Browser::start("en-US");
        browser.open(&configured.server.url("/player"));
        wait_for_picture(&browser, 320);
        wait_for_text(&browser, "#badges", "MP2");
        browser.wait(&format!("return {SHOWN}.webkitAudioDecodedByteCount > 0"));
        assert_eq!(origin.asked().len(), 1);
    });
}

#[test]
fn player_goes_on_when_the_server_comes_back() {
    if !available() {
        return;
    }
    with_links(|| {
        let text = |port: u16| {
            format!(
                "[global]\nverbosity = 4\n[bind]\n127.0.0.1 {port}\n[services]\n#EXTM3U\n#EXTINF:-1,One\nrtp://239.8.1.1:5000\n"
            )
        };
        let directory = crate::support::TempDir::new();
        let file = directory.path().join("flowgate.conf");
        let start = |port: u16| {
            std::fs::write(&file, text(port)).expect("written");
            let mut command = std::process::Command::new(crate::support::server::PROGRAM);
            command.arg("-c").arg(&file);
            Server::start_bare(command)
        };
        let _sender = send("239.8.1.1:5000", "640x360");
        let server = start(0);
        let port = server.port;
        let browser = Browser::start("en-US");
        browser.open(&server.url("/player"));
        wait_for_picture(&browser, 640);
        server.stop();
        wait_for_text(&browser, "#busy-text", "Trying again");
        let _again = start(port);
        wait_for_picture(&browser, 640);
    });
}

#[test]
fn list_that_is_missing_is_explained_and_asked_for_again() {
    if !available() {
        return;
    }
    with_links(|| {
        let configured = serve("", "");
        let browser = Browser::start("en-US");
        browser.open(&configured.server.url("/player"));
        wait_for_text(&browser, "#failure-text", "has no channels yet");
        browser.keep_picture("player-empty");
        let _sender = send("239.8.1.1:5000", "640x360");
        configured.reload(
            "[services]\n#EXTM3U\n#EXTINF:-1,One\nrtp://239.8.1.1:5000\n",
            "the new configuration holds",
        );
        browser.click("#failure-retry");
        wait_for_picture(&browser, 640);
    });
}
