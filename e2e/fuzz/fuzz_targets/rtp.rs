//! Any datagram: ranges stay inside it, and the fast path agrees with the long one.
#![no_main]

use flowgate::proto::rtp::{self, Datagram, HEADER_BYTES};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|datagram: &[u8]| {
    let decoded = rtp::decode(datagram);
    if let Ok(rtp) = &decoded {
        assert!(rtp.payload.start >= HEADER_BYTES);
        assert!(datagram.get(rtp.payload.clone()).is_some());
        rtp::is_fec_parity(datagram, rtp);
    }
    let class = rtp::classify(datagram);
    if let Datagram::Rtp(rtp) = &class {
        assert_eq!(decoded.as_ref(), Ok(rtp));
    }
    if let Some((sequence, ssrc, payload_type)) = datagram.first_chunk().and_then(rtp::plain_header)
    {
        let Datagram::Rtp(rtp) = class else {
            panic!("plain, but {class:?}")
        };
        assert_eq!(
            (rtp.sequence, rtp.ssrc, rtp.payload_type),
            (sequence, ssrc, payload_type)
        );
        assert_eq!(rtp.payload, HEADER_BYTES..datagram.len());
    }
});
