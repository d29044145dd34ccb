//! What a receiving end does and measures: reads by schedule, counts, checks the payload (probe spec B.4, B.7).
//!
//! Pure: `now` and bytes in, permission and reports out.

use std::time::{Duration, Instant};

use super::payload::Payload;
use super::schedule::{Permission, Schedule};
use super::wire::{Plan, Report};

/// The receiving end of one connection.
#[derive(Debug, Clone)]
pub struct Receiver {
    schedule: Schedule,
    payload: Option<Payload>,
    consumed: u64,
    total_bytes: u64,
    bad_at: Option<u64>,
    first_at: Option<Instant>,
    last_at: Option<Instant>,
    /// First read after a hold.
    resumed_at: Option<Instant>,
    was_held: bool,
    gap: Duration,
    reports: u64,
    is_final: bool,
    sink: Option<Sink>,
}

/// The classic slow reader (probe spec A.6, A.7): a pause after every message, or after every read of a raw stream.
#[derive(Debug, Clone, Copy)]
struct Sink {
    delay: Duration,
    paused_until: Option<Instant>,
    /// Bytes consumed when the current message began.
    message_begin: u64,
    message_bytes: u64,
}

/// A wait that nobody lives to see the end of.
const FOR_EVER: Duration = Duration::from_secs(365 * 86_400);

impl Receiver {
    /// A receiver that knows no plan: it pauses for `delay` after every message, or with `None` never reads.
    pub fn sink(now: Instant, delay: Option<Duration>) -> Self {
        let sink = Sink {
            delay: delay.unwrap_or(FOR_EVER),
            paused_until: delay.is_none().then_some(now + FOR_EVER),
            message_begin: 0,
            message_bytes: 0,
        };
        Self {
            sink: Some(sink),
            ..Self::empty()
        }
    }

    /// The receiver of `connection` in front of its first byte.
    pub fn new(connection: u32, plan: &Plan) -> Self {
        let seed = plan.seed.wrapping_add(u64::from(connection));
        Self {
            schedule: Schedule::new(plan.schedule.clone()),
            payload: plan.verify.then(|| Payload::new(seed, plan.block_bytes)),
            total_bytes: plan.total_bytes,
            ..Self::empty()
        }
    }

    fn empty() -> Self {
        Self {
            schedule: Schedule::new(Vec::new()),
            payload: None,
            consumed: 0,
            total_bytes: 0,
            bad_at: None,
            first_at: None,
            last_at: None,
            resumed_at: None,
            was_held: false,
            gap: Duration::ZERO,
            reports: 0,
            is_final: false,
            sink: None,
        }
    }

    /// Whether it knows no plan.
    pub fn is_sink(&self) -> bool {
        self.sink.is_some()
    }

    /// A message, or one read of a raw stream, is complete: a sink pauses. Whether that is worth telling.
    pub fn end_message(&mut self, now: Instant) -> bool {
        let Some(sink) = &mut self.sink else {
            return false;
        };
        if !sink.delay.is_zero() {
            sink.paused_until = Some(now + sink.delay);
        }
        sink.message_bytes = self.consumed - sink.message_begin;
        sink.message_begin = self.consumed;
        true
    }

    /// Length of the last message.
    pub fn message_bytes(&self) -> u64 {
        self.sink.map_or(0, |sink| sink.message_bytes)
    }

    /// Payload bytes read.
    pub fn consumed(&self) -> u64 {
        self.consumed
    }

    /// Offset of the first wrong byte.
    pub fn bad_at(&self) -> Option<u64> {
        self.bad_at
    }

    /// Where it stands in its steps.
    pub fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    /// When it first read something after a hold.
    pub fn resumed_at(&self) -> Option<Instant> {
        self.resumed_at
    }

    /// Whether every byte has come that was announced.
    pub fn is_complete(&self) -> bool {
        self.is_final || (self.total_bytes > 0 && self.consumed >= self.total_bytes)
    }

    /// Takes payload.
    pub fn receive(&mut self, now: Instant, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        if let (Some(payload), None) = (&self.payload, self.bad_at) {
            self.bad_at = payload.first_wrong(self.consumed, bytes);
        }
        if let Some(last_at) = self.last_at {
            self.gap = self.gap.max(now.saturating_duration_since(last_at));
        }
        if self.was_held && self.resumed_at.is_none() {
            self.resumed_at = Some(now);
        }
        self.first_at.get_or_insert(now);
        self.last_at = Some(now);
        self.consumed += bytes.len() as u64;
        self.schedule.note_read(now, bytes.len() as u64);
    }

    /// The stream has ended.
    pub fn finish(&mut self) {
        self.is_final = true;
    }

    /// Whether the stream has ended.
    pub fn is_final(&self) -> bool {
        self.is_final
    }

    /// Moves on to the step that `now` lies in. Whether it has changed.
    pub fn advance(&mut self, now: Instant) -> bool {
        let has_changed = self.schedule.advance(now);
        self.was_held |= self.schedule.has_held();
        has_changed
    }

    /// Holds until told otherwise.
    pub fn halt(&mut self) {
        self.schedule.halt();
    }

    /// Ends a hold before its time. Whether there was one.
    pub fn end_hold(&mut self, now: Instant) -> bool {
        let ended = self.schedule.end_hold(now);
        self.was_held |= ended;
        ended
    }

    /// Leaves out whatever is left of the schedule but the last step.
    pub fn drain(&mut self, now: Instant) {
        self.schedule.drain(now);
    }

    /// Whether it may read at `now`.
    pub fn permission(&self, now: Instant) -> Permission {
        let paused_until = self.sink.and_then(|sink| sink.paused_until);
        match paused_until.filter(|until| now < *until) {
            Some(until) => Permission::NotBefore(until),
            None => self.schedule.permission(now),
        }
    }

    /// When something changes by itself.
    pub fn deadline(&self, now: Instant) -> Option<Instant> {
        let allowed_at = match self.permission(now) {
            Permission::NotBefore(at) => Some(at),
            _ => None,
        };
        allowed_at.into_iter().chain(self.schedule.ends_at()).min()
    }

    /// The next report; `unread` and `window` are what the kernel says.
    pub fn report(&mut self, now: Instant, unread: Option<u64>, window: Option<u64>) -> Report {
        let ongoing = self
            .last_at
            .filter(|_| !self.is_final)
            .map(|at| now.saturating_duration_since(at));
        let gap = self.gap.max(ongoing.unwrap_or_default());
        self.gap = Duration::ZERO;
        let number = self.reports;
        self.reports += 1;
        let since = self
            .first_at
            .map(|first_at| now.saturating_duration_since(first_at));
        let state = match since {
            None => "wait",
            Some(_) => self.schedule.step().name(),
        };
        Report {
            number,
            at: since.unwrap_or_default().as_secs_f64(),
            state: state.to_owned(),
            step: self.schedule.index() as u64,
            since: self.schedule.since(now).unwrap_or_default().as_secs_f64(),
            consumed: self.consumed,
            unread,
            window,
            bad_at: self.bad_at,
            gap: gap.as_secs_f64(),
            is_final: self.is_final,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::schedule::Step;
    use crate::probe::wire::{Hello, RunId};

    const SECOND: Duration = Duration::from_secs(1);

    #[allow(clippy::disallowed_methods, reason = "any instant will do")]
    fn start() -> Instant {
        Instant::now()
    }

    fn receiver(schedule: Vec<Step>) -> (Receiver, Payload) {
        let text = br#"{"v":1,"run":"0000000000000001","dir":"up","seed":5}"#;
        let Ok(Hello::Data(RunId(1), 0, mut plan)) = Hello::parse(text) else {
            panic!("sound")
        };
        plan.schedule = schedule;
        (Receiver::new(2, &plan), Payload::new(7, 0))
    }

    #[test]
    fn the_seed_is_that_of_the_run_and_the_connection() {
        let (mut receiver, payload) = receiver(vec![Step::Drain]);
        let mut bytes = [0; 100];
        payload.fill(0, &mut bytes);
        let start = start();
        receiver.receive(start, &bytes);
        assert_eq!((receiver.consumed(), receiver.bad_at()), (100, None));
        receiver.receive(start, &bytes);
        assert_eq!(receiver.bad_at(), Some(100), "the same again is wrong");
    }

    #[test]
    fn reports_name_the_longest_gap_since_the_last() {
        let (mut receiver, _) = receiver(vec![Step::Drain]);
        let start = start();
        receiver.receive(start, &[0]);
        receiver.receive(start + 2 * SECOND, &[0]);
        let first = receiver.report(start + 3 * SECOND, None, None);
        assert_eq!((first.number, first.gap, first.at), (0, 2.0, 3.0));
        let second = receiver.report(start + 6 * SECOND, None, None);
        assert_eq!((second.number, second.gap), (1, 4.0), "it goes on");
    }

    #[test]
    fn the_first_read_after_a_hold_is_remembered() {
        let steps = vec![
            Step::Read(SECOND),
            Step::Hold(10 * SECOND),
            Step::Read(SECOND),
        ];
        let (mut receiver, _) = receiver(steps);
        let start = start();
        receiver.receive(start, &[0]);
        assert!(receiver.advance(start + 2 * SECOND));
        assert!(matches!(
            receiver.permission(start + 2 * SECOND),
            Permission::NotBefore(_)
        ));
        assert!(receiver.end_hold(start + 3 * SECOND));
        assert_eq!(receiver.resumed_at(), None);
        receiver.receive(start + 4 * SECOND, &[0]);
        receiver.receive(start + 5 * SECOND, &[0]);
        assert_eq!(receiver.resumed_at(), Some(start + 4 * SECOND));
    }
}
