//! The `profile` packet: what a person tells contacts of themselves after they have met. Specification: `docs/protocol/channel.md`,
//! "Packets".

use std::fmt;

use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use imagesize::ImageType;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use sha2::{Digest, Sha256};

use crate::invitation::introduction::is_name;

/// The largest picture, in bytes.
pub const MAX_PICTURE_BYTES: usize = 16 * 1024;

/// The longest side of a picture, in pixels.
pub const MAX_PICTURE_SIDE: usize = 512;

/// Bytes of the digest that names a picture.
const ID_BYTES: usize = 16;

/// What a person tells of themselves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProfilePacket {
    /// Rises with every change; a packet whose serial is not above the last one's is passed over.
    pub serial: u64,
    /// The display name.
    pub name: String,
    /// The picture; none takes one back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub picture: Option<Picture>,
}

impl ProfilePacket {
    /// Tells whether the name is acceptable; a picture always is.
    #[must_use]
    pub fn is_bounded(&self) -> bool {
        is_name(&self.name)
    }
}

/// A picture of a person: PNG, JPEG or WebP, at most [`MAX_PICTURE_BYTES`] and [`MAX_PICTURE_SIDE`]. Its head was looked at; its
/// pixels were not decoded.
#[derive(Clone, PartialEq, Eq)]
pub struct Picture {
    bytes: Vec<u8>,
    media_type: &'static str,
}

/// Why bytes are no picture that can be sent or shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadPicture {
    /// More than [`MAX_PICTURE_BYTES`].
    #[error("the picture has more than {MAX_PICTURE_BYTES} bytes")]
    TooLarge,
    /// More than [`MAX_PICTURE_SIDE`] high or wide, or nothing.
    #[error("the picture is not 1 to {MAX_PICTURE_SIDE} pixels high and wide")]
    BadSides,
    /// Neither PNG, JPEG nor WebP, or its head is damaged.
    #[error("this is no PNG, JPEG or WebP picture")]
    Unknown,
}

impl Picture {
    /// Checks a picture.
    ///
    /// # Errors
    /// The first [`BadPicture`] found.
    pub fn parse(bytes: Vec<u8>) -> Result<Self, BadPicture> {
        if bytes.len() > MAX_PICTURE_BYTES {
            return Err(BadPicture::TooLarge);
        }
        let media_type = match imagesize::image_type(&bytes) {
            Ok(ImageType::Png) => "image/png",
            Ok(ImageType::Jpeg) => "image/jpeg",
            Ok(ImageType::Webp) => "image/webp",
            _ => return Err(BadPicture::Unknown),
        };
        let size = imagesize::blob_size(&bytes).map_err(|_| BadPicture::Unknown)?;
        let sides = 1..=MAX_PICTURE_SIDE;
        if !sides.contains(&size.width) || !sides.contains(&size.height) {
            return Err(BadPicture::BadSides);
        }
        Ok(Self { bytes, media_type })
    }

    /// The file.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Its media type.
    #[must_use]
    pub const fn media_type(&self) -> &'static str {
        self.media_type
    }

    /// Names the picture: the first 16 bytes of its SHA-256, in hexadecimal.
    #[must_use]
    pub fn id(&self) -> String {
        let digest = Sha256::digest(&self.bytes);
        HEXLOWER.encode(digest.get(..ID_BYTES).unwrap_or_default())
    }
}

impl fmt::Debug for Picture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Picture({}, {} bytes)", self.media_type, self.bytes.len())
    }
}

impl Serialize for Picture {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64URL_NOPAD.encode(&self.bytes))
    }
}

impl<'de> Deserialize<'de> for Picture {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).map_err(D::Error::custom)?;
        Self::parse(bytes).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        channel::payload::{PROFILE, Payload},
        keys::MessageId,
    };

    /// The head of a PNG file, which is all that is looked at.
    fn png(width: u32, height: u32) -> Vec<u8> {
        let head = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".as_slice();
        [head, &width.to_be_bytes(), &height.to_be_bytes(), &[8, 6, 0, 0, 0]].concat()
    }

    #[test]
    fn pictures_are_bounded_and_of_three_kinds() {
        assert_eq!(Picture::parse(png(1, 512)).unwrap().media_type(), "image/png");
        for (bytes, bad) in [
            (png(0, 5), BadPicture::BadSides),
            (png(513, 5), BadPicture::BadSides),
            (png(1, u32::MAX), BadPicture::BadSides),
            ([png(9, 9), vec![0; MAX_PICTURE_BYTES]].concat(), BadPicture::TooLarge),
            (b"GIF89a\x01\0\x01\0".to_vec(), BadPicture::Unknown),
            (b"<svg onload='alert(1)'/>".to_vec(), BadPicture::Unknown),
            (png(9, 9)[..18].to_vec(), BadPicture::Unknown),
            (Vec::new(), BadPicture::Unknown),
        ] {
            assert_eq!(Picture::parse(bytes.clone()), Err(bad), "{bytes:?}");
        }
    }

    #[test]
    fn a_packet_with_a_bad_picture_is_no_packet() {
        let picture = Picture::parse(png(64, 64)).unwrap();
        let packet = ProfilePacket { serial: 3, name: "Bob".to_owned(), picture: Some(picture.clone()) };
        let payload = Payload::new(MessageId::from_bytes([0; 16])).with(PROFILE, &packet);
        assert_eq!(payload.packet::<ProfilePacket>(PROFILE), Some(packet.clone()));
        assert_eq!(picture.id().len(), 2 * ID_BYTES);
        let without = ProfilePacket { picture: None, ..packet };
        assert_eq!(serde_json::to_string(&without).unwrap(), r#"{"serial":3,"name":"Bob"}"#);
        for bad in [r#"{"serial":1,"name":"x","picture":"AAAA"}"#, r#"{"serial":-1,"name":"x"}"#, "[]"] {
            assert!(serde_json::from_str::<ProfilePacket>(bad).is_err(), "{bad}");
        }
        assert!(!ProfilePacket { serial: 1, name: "a\nb".to_owned(), picture: None }.is_bounded());
    }
}
