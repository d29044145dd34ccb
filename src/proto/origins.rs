//! Origins that were asked for lately.
//!
//! A player asks one server for segment after segment. To take that server's address apart each time costs more than
//! to compare it with the last few.

use std::rc::Rc;

use super::origin::{Origin, OriginError, Scheme};

/// How many origins are remembered. Chosen: a playlist and its segments seldom come from more servers, and each is
/// compared with.
pub const RECENT_ORIGINS_MAX: usize = 8;

/// The last [`RECENT_ORIGINS_MAX`] origins that were read.
#[derive(Debug, Default)]
pub struct RecentOrigins {
    list: Vec<Rc<Origin>>,
    /// The oldest one, which is replaced next.
    oldest: usize,
}

impl RecentOrigins {
    /// As [`Origin::parse`].
    ///
    /// # Errors
    ///
    /// As there. What is wrong is not kept.
    pub fn parse(&mut self, scheme: Scheme, authority: &str) -> Result<Rc<Origin>, OriginError> {
        // An origin's own authority reads as the same origin, so nothing needs to be kept but that.
        let is_meant =
            |origin: &&Rc<Origin>| origin.scheme() == scheme && origin.authority() == authority;
        if let Some(origin) = self.list.iter().find(is_meant) {
            return Ok(Rc::clone(origin));
        }
        let origin = Rc::new(Origin::parse(scheme, authority)?);
        match self.list.get_mut(self.oldest) {
            Some(place) => *place = Rc::clone(&origin),
            None => self.list.push(Rc::clone(&origin)),
        }
        self.oldest = (self.oldest + 1) % RECENT_ORIGINS_MAX;
        Ok(origin)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_origin_asked_for_again_is_the_same_one() {
        let mut origins = RecentOrigins::default();
        let mut read = |scheme, text| origins.parse(scheme, text).expect("an origin");
        let first = read(Scheme::Http, "media.lan:8088");
        assert!(Rc::ptr_eq(&first, &read(Scheme::Http, "media.lan:8088")));
        assert_eq!(
            read(Scheme::Https, "media.lan:8088").scheme(),
            Scheme::Https
        );
        assert_eq!(read(Scheme::Http, "media.lan").port(), 80);
    }

    #[test]
    fn the_list_is_bounded_and_the_oldest_gives_way() {
        let mut origins = RecentOrigins::default();
        let first = origins.parse(Scheme::Http, "h0").expect("an origin");
        for number in 1..=RECENT_ORIGINS_MAX {
            let text = format!("h{number}");
            origins.parse(Scheme::Http, &text).expect("an origin");
        }
        assert_eq!(origins.list.len(), RECENT_ORIGINS_MAX);
        let again = origins.parse(Scheme::Http, "h0").expect("an origin");
        assert!(!Rc::ptr_eq(&first, &again));
    }

    proptest! {
        #[test]
        fn memory_changes_no_result(texts in proptest::collection::vec("[ab:.0@\\[\\]%]{0,5}", 1..30)) {
            let mut origins = RecentOrigins::default();
            for text in texts {
                for scheme in [Scheme::Http, Scheme::Https] {
                    let read = origins.parse(scheme, &text);
                    prop_assert_eq!(
                        read.map(|origin| Origin::clone(&origin)),
                        Origin::parse(scheme, &text)
                    );
                }
            }
        }
    }
}
