//! What people type and paste: invitation codes, offers, server addresses.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use petmail_fuzz::{edited, rng};
use petmail_proto::{
    base_url::BaseUrl,
    invitation::code::Code,
    keys::{CertificatePin, RedeemToken, ServerSigningKey},
    server::offer::Offer,
};

static OFFER: LazyLock<String> = LazyLock::new(offer);

fuzz_target!(|data: &[u8]| {
    for template in
        ["", "7-adroitness-aardvark-adviser", "https://mail.example.org:8443/mail", OFFER.as_str()]
    {
        let bytes = edited(template.as_bytes(), data);
        let text = String::from_utf8_lossy(if template.is_empty() { data } else { &bytes });
        code(&text);
        address(&text);
        if let Ok(offer) = text.parse::<Offer>() {
            let again: Offer = offer.expose_text().parse().expect("what is written can be read");
            assert_eq!((again.url, again.identity, again.pin), (offer.url, offer.identity, offer.pin));
        }
    }
    assert!(OFFER.parse::<Offer>().is_ok());
});

fn offer() -> String {
    let mut rng = rng();
    let offer = Offer {
        url: "https://mail.example.org".parse().expect("a good address"),
        identity: ServerSigningKey::generate(&mut rng).verifying_key(),
        pin: Some(CertificatePin::generate(&mut rng)),
        token: RedeemToken::generate(&mut rng),
    };
    offer.expose_text()
}

/// A code is canonical once it was read: both sides must get the same key from it.
fn code(text: &str) {
    if let Ok(code) = text.parse::<Code>() {
        assert_eq!(code.expose_text().parse::<Code>().as_ref(), Ok(&code));
        assert!(code.expose_text().starts_with(code.nameplate().as_str()));
    }
}

fn address(text: &str) {
    if let Ok(url) = text.parse::<BaseUrl>() {
        assert_eq!(url.as_str().parse::<BaseUrl>(), Ok(url));
    }
}
