use super::*;
use crate::probe::evidence::Class;

const MS: Duration = Duration::from_millis(1);

#[allow(clippy::disallowed_methods, reason = "any instant will do")]
fn start() -> Instant {
    Instant::now()
}

fn rules() -> Rules {
    Rules {
        stall_min: 1000 * MS,
        absorb_max: 1 << 20,
        resume: 5000 * MS,
        hold: 10_000 * MS,
        sample: 100 * MS,
        offered: None,
    }
}

fn view(accepted: u64, blocked_ms: u64) -> SenderView {
    let interval = Interval {
        start: 0.0,
        length: blocked_ms as f64 / 1000.0,
        accepted_before: accepted,
        class: Class::ZeroWindow,
        rwnd_ratio: Some(1.0),
    };
    SenderView {
        at: 0.0,
        accepted,
        blocked: (blocked_ms > 0).then_some(interval),
        longest: None,
        blocked_s: 0.0,
        unsent: Some(100),
        unacked: Some(0),
        tcp: None,
    }
}

fn report(number: u64, state: &str, step: u64, consumed: u64) -> Report {
    Report {
        number,
        at: number as f64 / 10.0,
        state: state.into(),
        step,
        consumed,
        unread: Some(400),
        ..Report::default()
    }
}

/// A connection that reads, holds and stalls after 1000 bytes more.
fn stalled(start: Instant) -> Track {
    let rules = rules();
    let mut track = Track::new(true);
    track.note_sender(start, view(5000, 0), &rules);
    track.note_receiver(start, report(10, "hold", 1, 5000));
    track.note_sender(start + 100 * MS, view(6000, 0), &rules);
    track.note_receiver(start + 100 * MS, report(11, "hold", 1, 5000));
    track.note_sender(start + 1200 * MS, view(6000, 1100), &rules);
    track.note_receiver(start + 1200 * MS, report(22, "hold", 1, 5000));
    track.note_sender(start + 1300 * MS, view(6000, 1200), &rules);
    track.note_receiver(start + 1300 * MS, report(23, "hold", 1, 5000));
    track
}

fn finish(track: &mut Track, start: Instant, accepted: u64, consumed: u64) {
    track.note_receiver(start + 2000 * MS, report(30, "read", 2, 5500));
    track.note_sender(start + 2014 * MS, view(accepted, 0), &rules());
    let last = Report {
        is_final: true,
        ..report(40, "drain", 3, consumed)
    };
    track.note_receiver(start + 3000 * MS, last);
}

#[test]
fn a_stall_in_the_hold_that_ends_with_it_propagates() {
    let start = start();
    let mut track = stalled(start);
    assert!(track.is_in_hold() && track.is_settled());
    finish(&mut track, start, 9000, 9000);
    assert_eq!(
        track.verdict(&rules(), false),
        (Verdict::Yes, Reason::Propagates)
    );
    let hold = track.hold.expect("a hold");
    let (stalled_at, _) = hold.stall.expect("a stall");
    assert_eq!(stalled_at, start + 100 * MS);
    assert_eq!(hold.accepted, 1000);
    let absorbed = hold.absorbed.expect("at rest");
    assert_eq!((absorbed.total, absorbed.in_chain()), (1000, Some(500)));
    assert_eq!(track.resumed_after, Some(14 * MS));
    assert_eq!(track.lost(), Some(0));
}

#[test]
fn bytes_are_at_rest_only_when_they_stay_for_a_while() {
    let (rules, start) = (rules(), start());
    let mut track = Track::new(true);
    track.note_sender(start, view(5000, 0), &rules);
    track.note_receiver(start, report(1, "hold", 1, 4000));
    for step in 0..10 {
        track.note_sender(start + 1100 * MS, view(6000, 1100 + step), &rules);
    }
    assert!(!track.is_settled(), "it was the same report every time");
    track.note_receiver(start + 1200 * MS, report(2, "hold", 1, 5000));
    assert!(!track.is_settled(), "it still read");
    track.note_receiver(start + 1300 * MS, report(3, "hold", 1, 5000));
    assert!(!track.is_settled(), "two reports may come in one burst");
    track.note_receiver(start + 1300 * MS, report(4, "hold", 1, 5000));
    assert!(track.is_settled());
}

/// Everything has arrived, so the connection is done; a report that was on its way comes after that.
#[test]
fn a_report_behind_the_last_one_does_not_make_it_less_final() {
    let start = start();
    let mut track = stalled(start);
    finish(&mut track, start, 9000, 9000);
    track.note_receiver(start + 3100 * MS, report(99, "drain", 3, 9000));
    assert_eq!(track.lost(), Some(0));
}

#[test]
fn lost_and_altered_bytes_are_the_worst() {
    let start = start();
    let mut track = stalled(start);
    finish(&mut track, start, 9000, 8999);
    assert_eq!(
        track.verdict(&rules(), false),
        (Verdict::Corrupt, Reason::Lost)
    );
    let mut track = stalled(start);
    let wrong = Report {
        bad_at: Some(0),
        ..report(24, "hold", 1, 5000)
    };
    track.note_receiver(start, wrong);
    assert_eq!(
        track.verdict(&rules(), false),
        (Verdict::Corrupt, Reason::Altered)
    );
}

#[test]
fn what_the_chain_may_do_wrong_is_told_apart() {
    let (rules, start) = (rules(), start());
    let mut track = stalled(start);
    track.note_sender(start + 1400 * MS, view(3 << 20, 0), &rules);
    assert_eq!(
        track.verdict(&rules, false),
        (Verdict::No, Reason::MaxAbsorb)
    );

    let mut track = stalled(start);
    track.closed_in_hold = true;
    track.error = Some("reset".into());
    assert_eq!(
        track.verdict(&rules, false),
        (Verdict::No, Reason::ChainClosed)
    );
    assert_eq!(
        track.verdict(&rules, true),
        (Verdict::Inconclusive, Reason::PeerGone)
    );

    let mut track = Track::new(true);
    track.note_sender(start, view(5000, 0), &rules);
    track.note_receiver(start, report(0, "wait", 0, 0));
    track.is_complete = true;
    assert_eq!(
        track.verdict(&rules, false),
        (Verdict::No, Reason::BufferedByProxy)
    );

    let mut track = Track::new(true);
    track.note_sender(start, view(5000, 0), &rules);
    track.note_receiver(start, report(1, "hold", 1, 5000));
    track.note_sender(start + 9000 * MS, view(9000, 0), &rules);
    track.note_receiver(start + 10_000 * MS, report(100, "read", 2, 5000));
    assert_eq!(track.verdict(&rules, false), (Verdict::No, Reason::NoStall));
    let paced = Rules {
        offered: Some(4000),
        ..rules.clone()
    };
    assert_eq!(
        track.verdict(&paced, false),
        (Verdict::Inconclusive, Reason::TooLittleOffered)
    );
    let short = Rules {
        hold: 500 * MS,
        ..rules
    };
    assert_eq!(
        track.verdict(&short, false),
        (Verdict::Inconclusive, Reason::HoldTooShort)
    );
}

#[test]
fn a_stall_that_began_long_before_the_hold_is_none_of_it() {
    let (rules, start) = (rules(), start());
    let mut track = Track::new(true);
    track.note_sender(start, view(5000, 2000), &rules);
    track.note_receiver(start, report(1, "hold", 1, 5000));
    track.note_sender(start + 500 * MS, view(5000, 2500), &rules);
    assert_eq!(track.hold.expect("a hold").stall, None);
}

#[test]
fn bytes_that_no_sample_has_seen_yet_lie_before_the_hold() {
    let (rules, start) = (rules(), start());
    let mut track = Track::new(true);
    track.note_sender(start, view(5000, 0), &rules);
    // A fast sender comes far between two samples.
    track.note_accepted(90_000_000);
    track.note_receiver(start + 90 * MS, report(1, "hold", 1, 80_000_000));
    track.note_sender(start + 1200 * MS, view(90_000_700, 1100), &rules);
    let hold = track.hold.expect("a hold");
    assert_eq!((hold.accepted_before, hold.accepted), (90_000_000, 700));
    assert!(!track.is_exceeded(&rules));
}

#[test]
fn late_word_of_a_hold_does_not_make_the_stall_older_than_it() {
    let (rules, start) = (rules(), start());
    let mut track = Track::new(true);
    track.note_receiver(start, report(10, "read", 0, 5000));
    track.note_sender(start + 2900 * MS, view(5000, 1900), &rules);
    // It began after 2 s of the receiver's clock, which is 1 s after the first report.
    let late = Report {
        at: 2.0,
        since: 0.0,
        ..report(11, "hold", 1, 5000)
    };
    track.note_receiver(start + 3000 * MS, late);
    assert_eq!(track.hold.expect("a hold").began_at, start + 1000 * MS);
    track.note_sender(start + 3100 * MS, view(5000, 2100), &rules);
    assert!(track.hold.expect("a hold").stall.is_some());
}

#[test]
fn a_sender_that_was_held_back_all_the_time_says_nothing() {
    let (rules, start) = (rules(), start());
    let mut track = Track::new(true);
    let blocked = |length| SenderView {
        longest: view(5000, length).blocked,
        ..view(5000, length)
    };
    track.note_sender(start, blocked(2000), &rules);
    track.note_receiver(start, report(1, "hold", 1, 5000));
    track.note_sender(start + 9000 * MS, blocked(11_000), &rules);
    track.note_receiver(start + 9900 * MS, report(100, "read", 2, 5000));
    assert_eq!(
        track.verdict(&rules, false),
        (Verdict::Inconclusive, Reason::BlockedBefore)
    );
}

#[test]
fn a_stall_without_end_is_inconclusive() {
    let start = start();
    let mut track = stalled(start);
    track.note_receiver(start + 2000 * MS, report(30, "read", 2, 5500));
    assert_eq!(
        track.verdict(&rules(), false),
        (Verdict::Inconclusive, Reason::NotResumed)
    );
    track.note_sender(start + 7001 * MS, view(7000, 0), &rules());
    assert_eq!(
        track.verdict(&rules(), false),
        (Verdict::Inconclusive, Reason::NotResumed),
        "too late"
    );
}

#[test]
fn what_was_all_sent_before_the_first_byte_arrived_was_buffered() {
    let (rules, start) = (rules(), start());
    let mut track = Track::new(true);
    track.note_sender(start, view(2 << 20, 0), &rules);
    track.complete(start + 500 * MS);
    let last = Report {
        at: 0.2,
        ..report(0, "drain", 3, 2 << 20)
    };
    let mut early = track.clone();
    track.note_receiver(start + 800 * MS, last.clone());
    assert_eq!(
        track.verdict(&rules, false),
        (Verdict::No, Reason::BufferedByProxy)
    );
    early.note_receiver(start + 650 * MS, last);
    assert_eq!(
        early.verdict(&rules, false),
        (Verdict::Inconclusive, Reason::NoHold)
    );
}

#[test]
fn a_connection_that_ends_early_may_have_lost_bytes() {
    let start = start();
    let mut track = stalled(start);
    finish(&mut track, start, 9000, 9000);
    track.error = Some("reset".into());
    assert_eq!(
        track.verdict(&rules(), false),
        (Verdict::Inconclusive, Reason::EndedEarly)
    );
}

#[test]
fn a_free_connection_is_measured_by_its_own_clock() {
    let start = start();
    let mut track = Track::new(false);
    track.note_receiver(start, report(10, "read", 0, 1000));
    track.mark_free();
    let slower = Report {
        gap: 0.25,
        ..report(20, "read", 0, 1400)
    };
    track.note_receiver(start, slower);
    track.mark_free();
    assert_eq!(track.warmup_rate(), Some(1000.0));
    assert_eq!(track.isolation(), Some((40.0, 0.25)));
}
