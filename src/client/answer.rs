//! Answers of our own: refusals, pages and what else is known here. Each is the last of its connection.

use super::response::{self, Answer, Form, Status};
use super::{Client, NoMemory, State, resource, status_of};
use crate::send_queue::LocalBody;
use crate::shared::Shared;
use crate::stats::Stats;
use crate::status::api;

impl Client {
    /// Queues a local answer and ends the connection after it.
    pub fn answer(&mut self, answer: &Answer, shared: &mut Shared) {
        count_error(answer.status.code(), &mut shared.stats);
        if answer.status.code() >= 400 {
            self.note_failure(answer);
        }
        let form = match (self.is_head, self.wants_page) {
            (true, _) => Form::Head,
            (false, true) => Form::Page,
            (false, false) => Form::Short,
        };
        let bytes = answer.encode(&shared.config, form, self.sets_cookie);
        self.finish_request(&bytes);
        match shared.pool.copy_reserved(&bytes) {
            Some(packet) => self.queue.push(packet, 0),
            // Whoever asks is told, even where the pool has become smaller than what is in use.
            None => self.queue.push_local(LocalBody::Shared(bytes.into())),
        }
        self.progress_at = shared.now;
    }

    /// What was asked for has failed: `answer` says why if nothing has been sent yet, the connection's end otherwise.
    pub fn fail(&mut self, answer: &Answer, shared: &mut Shared) {
        if self.is_waiting() {
            self.answer(answer, shared);
        } else {
            self.note_failure(answer);
            self.break_off();
        }
    }

    fn note_failure(&mut self, answer: &Answer) {
        let reason = match answer.detail.as_str() {
            "" => answer.status.reason(),
            detail => detail,
        };
        self.failure = Some(reason.into());
    }

    /// As [`Client::answer`], for a head or a page already put together. Where not even the reserve of the pool has
    /// room for it, the answer is that.
    pub fn answer_with(&mut self, bytes: &[u8], shared: &mut Shared) {
        match shared.pool.copy_reserved(bytes) {
            Some(packet) => {
                self.finish_request(bytes);
                self.queue.push(packet, 0);
            }
            None => {
                let answer = Answer::new(Status::ServiceUnavailable, NoMemory.to_string());
                self.answer(&answer, shared);
            }
        }
    }

    /// As [`Client::answer_with`], for a resource of our own, whose body may have any length.
    pub fn answer_resource(&mut self, reply: resource::Reply, shared: &mut Shared) {
        self.answer_with(&reply.head, shared);
        if let (None, Some(body)) = (&self.failure, reply.body) {
            self.queue.push_local(body);
            self.progress_at = shared.now;
        }
    }

    /// Answers a call of the API.
    pub fn answer_call(&mut self, reply: &api::Reply, shared: &mut Shared) {
        count_error(reply.status, &mut shared.stats);
        let bytes = response::call(reply, &shared.config, self.is_head, self.sets_cookie);
        self.answer_with(&bytes, shared);
    }

    /// `answer` is all there will ever be. What the client has sent so far and sends from now on is of no interest.
    fn finish_request(&mut self, answer: &[u8]) {
        self.status = status_of(answer);
        self.state = State::Draining;
        self.forget_request();
    }
}

fn count_error(status: u16, stats: &mut Stats) {
    match status {
        500.. => stats.server_errors += 1,
        400..500 => stats.client_errors += 1,
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::Peer;
    use crate::sim::Bench;

    #[test]
    fn errors_are_counted_by_whose_they_are_and_by_no_other_answer() {
        let mut bench = Bench::new(256);
        let shared = &mut bench.shared;
        let mut client = Client::new(bench.socket, Peer::Unix, shared.now);
        let counts = |shared: &Shared| (shared.stats.client_errors, shared.stats.server_errors);
        for (status, counted) in [
            (Status::NoContent, (0, 0)),
            (Status::NotFound, (1, 0)),
            (Status::BadGateway, (1, 1)),
        ] {
            client.answer(&Answer::new(status, ""), shared);
            assert_eq!(counts(shared), counted);
        }
        client.answer_call(&api::Reply::unknown_client(), shared);
        assert_eq!(counts(shared), (2, 1));
        client.answer_call(&api::Reply::signal_failed("there is none"), shared);
        assert_eq!(counts(shared), (2, 2));
    }
}
