//! What each page is put together from, and what it may ask for.

use super::document::Sources;

/// The status page.
pub(super) static STATUS: Sources = Sources {
    html: include_str!("page/status.html"),
    style: include_str!("page/status.css"),
    early: &[include_str!("page/theme.js"), include_str!("store.js")],
    scripts: &[
        include_str!("page/text.js"),
        include_str!("language.js"),
        include_str!("page/format.js"),
        include_str!("dom.js"),
        include_str!("page/icons.js"),
        include_str!("page/chart.js"),
        include_str!("page/model.js"),
        include_str!("page/table.js"),
        include_str!("page/clients.js"),
        include_str!("page/sources.js"),
        include_str!("page/inspector.js"),
        include_str!("page/log.js"),
        include_str!("page/actions.js"),
        include_str!("page/main.js"),
    ],
    script_sources: "",
    policy: "img-src 'self'; connect-src 'self'",
};

/// The player page.
pub(super) static PLAYER: Sources = Sources {
    html: include_str!("player/player.html"),
    style: include_str!("player/player.css"),
    early: &[include_str!("player/store.js"), include_str!("store.js")],
    scripts: &[
        include_str!("player/text.js"),
        include_str!("language.js"),
        include_str!("dom.js"),
        include_str!("player/icons.js"),
        include_str!("player/playlist.js"),
        include_str!("player/xmltv.js"),
        include_str!("player/guide.js"),
        include_str!("player/catchup.js"),
        include_str!("player/transport.js"),
        include_str!("player/loader.js"),
        include_str!("player/stream.js"),
        include_str!("player/problem.js"),
        include_str!("player/playback.js"),
        include_str!("player/channels.js"),
        include_str!("player/schedule.js"),
        include_str!("player/controls.js"),
        include_str!("player/keys.js"),
        include_str!("player/main.js"),
    ],
    // The library that takes MPEG-TS apart is loaded by a script of the page; browsers that do not know the first word
    // go by the second.
    script_sources: " 'strict-dynamic' 'self'",
    // Logos of channels come from wherever the channel list says; everything else from here. What is played is handed
    // to the picture as a blob.
    policy: "img-src 'self' data: http: https:; media-src 'self' blob:; connect-src 'self'",
};
