//! The file `server.json`: its versions, and how they are read.

use std::io;

use petmail_proto::{
    base_url::BaseUrl,
    keys::{DeliverySecretKey, RetrievalSecretKey, ServerSigningKey, stored_secret},
    server::descriptor::MovedTo,
    time::UnixMillis,
    token::{TokenKeyId, TokenSecretKey},
};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{Identity, IdentityError, NumberedTokenKey};

const VERSION: u32 = 2;

/// What every version begins with.
#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

#[derive(Clone, Deserialize)]
#[serde(transparent)]
struct StoredDeliveryKey(#[serde(with = "stored_secret")] DeliverySecretKey);

#[derive(Clone, Deserialize)]
#[serde(transparent)]
struct StoredRetrievalKey(#[serde(with = "stored_secret")] RetrievalSecretKey);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredTokenKey {
    kid: TokenKeyId,
    #[serde(with = "stored_secret")]
    key: TokenSecretKey,
}

/// Version 1: one key of each kind.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct IdentityV1 {
    #[serde(rename = "version")]
    _version: u32,
    url: BaseUrl,
    roles: Vec<String>,
    #[serde(with = "stored_secret")]
    identity_key: ServerSigningKey,
    delivery_keys: Vec<StoredDeliveryKey>,
    retrieval_keys: Vec<StoredRetrievalKey>,
    token_keys: Vec<StoredTokenKey>,
}

/// Version 2.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct IdentityV2 {
    version: u32,
    url: BaseUrl,
    roles: Vec<String>,
    #[serde(with = "stored_secret")]
    identity_key: ServerSigningKey,
    /// Where the server went, if it has moved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    moved_to: Option<MovedTo>,
    /// Newest first.
    keys: Vec<KeySet>,
}

/// Keys that were made together.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeySet {
    kid: TokenKeyId,
    #[serde(with = "stored_secret")]
    token_key: TokenSecretKey,
    #[serde(with = "stored_secret")]
    delivery_key: DeliverySecretKey,
    #[serde(with = "stored_secret")]
    retrieval_key: RetrievalSecretKey,
    /// When they end; the newest do not.
    #[serde(skip_serializing_if = "Option::is_none")]
    ends: Option<UnixMillis>,
}

pub(super) fn parse(json: &[u8]) -> Result<Identity, IdentityError> {
    let damaged = |error: serde_json::Error| IdentityError::Damaged(error.to_string());
    let Versioned { version } = serde_json::from_slice(json).map_err(damaged)?;
    match version {
        1 => serde_json::from_slice(json).map_err(damaged).and_then(from_v1),
        VERSION => serde_json::from_slice(json).map_err(damaged).and_then(from_v2),
        newer => Err(IdentityError::NewerVersion(newer)),
    }
}

pub(super) fn to_json(identity: &Identity) -> io::Result<Zeroizing<Vec<u8>>> {
    let ends = std::iter::once(None).chain(identity.ends.iter().copied().map(Some));
    let tokens = identity.token_keys.iter().cloned();
    let (deliveries, retrievals) = (identity.delivery_keys.iter(), identity.retrieval_keys.iter());
    let keys = tokens.zip(deliveries).zip(retrievals).zip(ends);
    let keys = keys.map(|(((token, delivery), retrieval), ends)| KeySet {
        kid: token.kid,
        token_key: token.key,
        delivery_key: delivery.clone(),
        retrieval_key: retrieval.clone(),
        ends,
    });
    let stored = IdentityV2 {
        version: VERSION,
        url: identity.url.clone(),
        roles: identity.roles.clone(),
        identity_key: identity.signing.clone(),
        moved_to: identity.moved_to.clone(),
        keys: keys.collect(),
    };
    serde_json::to_vec_pretty(&stored).map(Zeroizing::new).map_err(io::Error::other)
}

fn from_v1(stored: IdentityV1) -> Result<Identity, IdentityError> {
    let [delivery, retrieval, token] =
        [stored.delivery_keys.len(), stored.retrieval_keys.len(), stored.token_keys.len()];
    if (delivery, retrieval, token) != (1, 1, 1) {
        return Err(IdentityError::Damaged("there is not one key of each kind".to_owned()));
    }
    let token_key = |StoredTokenKey { kid, key }| NumberedTokenKey { kid, key };
    Ok(Identity {
        url: stored.url,
        roles: stored.roles,
        signing: stored.identity_key,
        delivery_keys: stored.delivery_keys.into_iter().map(|key| key.0).collect(),
        retrieval_keys: stored.retrieval_keys.into_iter().map(|key| key.0).collect(),
        token_keys: stored.token_keys.into_iter().map(token_key).collect(),
        ends: Vec::new(),
        moved_to: None,
    })
}

fn from_v2(stored: IdentityV2) -> Result<Identity, IdentityError> {
    let damaged = |what: &str| IdentityError::Damaged(what.to_owned());
    let newest = stored.keys.first().ok_or_else(|| damaged("keys are missing"))?;
    let ends: Vec<_> = stored.keys.iter().skip(1).filter_map(|keys| keys.ends).collect();
    if newest.ends.is_some() || ends.len().saturating_add(1) != stored.keys.len() {
        return Err(damaged("it is not clear which keys end when"));
    }
    if !ends.is_sorted_by(|newer, older| newer >= older)
        || !stored.keys.is_sorted_by(|newer, older| newer.kid > older.kid)
    {
        return Err(damaged("the keys are not in order"));
    }
    let mut identity = Identity {
        url: stored.url,
        roles: stored.roles,
        signing: stored.identity_key,
        delivery_keys: Vec::new(),
        retrieval_keys: Vec::new(),
        token_keys: Vec::new(),
        ends,
        moved_to: stored.moved_to,
    };
    for KeySet { kid, token_key, delivery_key, retrieval_key, .. } in stored.keys {
        identity.token_keys.push(NumberedTokenKey { kid, key: token_key });
        identity.delivery_keys.push(delivery_key);
        identity.retrieval_keys.push(retrieval_key);
    }
    Ok(identity)
}

#[cfg(test)]
mod tests {
    use rand_core::OsRng;

    use super::*;

    /// As `init` wrote it before keys could be replaced.
    const V1: &str = r#"{
  "version": 1,
  "url": "https://mail.example.org",
  "roles": ["mailbox"],
  "identity_key": "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE",
  "delivery_keys": ["AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI"],
  "retrieval_keys": ["AwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwM"],
  "token_keys": [{"kid": 1, "key": "BAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQ"}]
}"#;

    /// The same, now.
    const V2: &str = r#"{
  "version": 2,
  "url": "https://mail.example.org",
  "roles": [
    "mailbox"
  ],
  "identity_key": "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE",
  "keys": [
    {
      "kid": 1,
      "token_key": "BAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQ",
      "delivery_key": "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI",
      "retrieval_key": "AwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwM"
    }
  ]
}"#;

    #[test]
    fn the_bytes_of_all_versions_are_read() {
        for text in [V1, V2] {
            let identity = parse(text.as_bytes()).unwrap();
            assert_eq!(std::str::from_utf8(&to_json(&identity).unwrap()).unwrap(), V2);
        }
    }

    #[test]
    fn a_move_is_remembered_until_it_is_made() {
        let identity = parse(V2.as_bytes()).unwrap();
        let url: BaseUrl = "https://new.example.org".parse().unwrap();
        let moved = MovedTo { url: url.clone(), identity: identity.public(), pin: None };
        let leaving = identity.moving(Some(moved.clone()));
        let back = parse(&to_json(&leaving).unwrap()).unwrap();
        assert_eq!((back.moved_to(), back.url()), (Some(&moved), identity.url()));
        let arrived = back.arrived().unwrap();
        assert_eq!((arrived.moved_to(), arrived.url()), (None, &url));
        assert!(arrived.arrived().is_none());
        assert_eq!(std::str::from_utf8(&to_json(&leaving.moving(None)).unwrap()).unwrap(), V2);
    }

    #[test]
    fn what_does_not_say_which_keys_end_when_is_refused() {
        let identity = parse(V2.as_bytes()).unwrap();
        let identity = identity.rotated(UnixMillis(0), UnixMillis(7), &mut OsRng).unwrap();
        let text = to_json(&identity).unwrap();
        let text = std::str::from_utf8(&text).unwrap();
        assert_eq!(parse(text.as_bytes()).unwrap().ends, [UnixMillis(7)]);
        let damages = [
            (text.replace(",\n      \"ends\": 7", ""), "not clear"),
            (text.replace("\"kid\": 2", "\"kid\": 2, \"ends\": 9"), "not clear"),
            (text.replace("\"kid\": 2", "\"kid\": 1"), "not in order"),
            (V1.replace("\"token_keys\": [", "\"token_keys\": [{\"kid\": 2, \"key\": \"BAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQ\"},"), "one key"),
        ];
        for (damaged, reason) in damages {
            let error = parse(damaged.as_bytes()).unwrap_err();
            assert!(error.to_string().contains(reason), "{error}");
        }
    }
}
