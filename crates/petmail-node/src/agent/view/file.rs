//! What is shown of a file that a message brings.

use imagesize::ImageType;
use petmail_proto::channel::{
    file::{FileContent, FilePacket, StoredFile, StoredKind},
    payload::FILE,
};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{reasons::issue, timestamp};
use crate::{
    agent::{
        core::Core,
        records::transfers::{Hitch, Phase},
    },
    api::types::{FileKind, FileState, FileView, IssueView, Severity},
    file_name::safe_name,
};

/// The most pixels of a picture that is shown: some take a browser's memory with a few bytes.
const MAX_PIXELS: usize = 40_000_000;

/// Reads the file that a message brings, if it brings one.
pub(crate) fn packet(packets: &Map<String, Value>) -> Option<FilePacket> {
    FilePacket::deserialize(packets.get(FILE)?).ok().filter(FilePacket::is_bounded)
}

/// Takes the content, or what opens it, out of a message's packets, and says what the file is.
pub(super) fn shown(packets: &mut Map<String, Value>) -> Option<FileView> {
    let packet = packet(packets);
    match packets.get_mut(FILE) {
        Some(Value::Object(fields)) => fields.retain(|name, _| name == "name"),
        Some(other) => *other = Value::Null,
        None => {}
    }
    let FilePacket { name, content } = packet?;
    Some(match content {
        FileContent::Inline(inline) => {
            let view = stored(&name, StoredKind::File, inline.content().len() as u64, 1, None);
            let picture = picture(inline.content()).map(str::to_owned);
            FileView { state: FileState::Here, picture, ..view }
        }
        FileContent::Stored(StoredFile { kind, size, count, until, .. }) => {
            stored(&name, kind, size, count, Some(timestamp(until)))
        }
    })
}

/// Shows a file or folder that a storage server keeps, as it is before anything is done about it.
pub(crate) fn stored(
    name: &str,
    kind: StoredKind,
    size: u64,
    count: u32,
    until: Option<jiff::Timestamp>,
) -> FileView {
    let kind = match kind {
        StoredKind::File => FileKind::File,
        StoredKind::Folder => FileKind::Folder,
    };
    FileView {
        name: safe_name(name),
        size,
        state: FileState::Offered,
        picture: None,
        kind,
        count,
        until,
        done: None,
        rate: None,
        seconds_left: None,
        reason: None,
        reason_code: None,
        reason_detail: None,
        path: None,
    }
}

/// Shows why a file does not go on.
pub(crate) fn with_hitch(view: FileView, hitch: &Hitch) -> FileView {
    let Hitch { code, detail, text } = hitch.clone();
    FileView { reason: Some(text), reason_code: Some(code), reason_detail: detail, ..view }
}

/// Says which files do not go on by themselves, and why.
pub(crate) fn stopped(core: &Core) -> Vec<IssueView> {
    let transfers = &core.transfers;
    let uploads = transfers.uploads.values().filter_map(|upload| match &upload.phase {
        Phase::Failed(hitch) => Some((upload.cid, safe_name(&upload.name), hitch)),
        Phase::Active | Phase::Paused | Phase::Asked => None,
    });
    let downloads = transfers.downloads.values().filter_map(|download| match &download.phase {
        Phase::Failed(hitch) => Some((download.cid, format!("file {}", download.id), hitch)),
        Phase::Active | Phase::Paused | Phase::Asked => None,
    });
    let stopped = uploads.chain(downloads).filter_map(|(cid, file, hitch)| {
        let petname = &core.peers.get(&cid)?.contact.petname;
        let detail = format!("{file}: {}", hitch.text);
        let text = format!("a file of the conversation with {petname} does not go on: {detail}");
        Some(issue("file-stopped", Severity::Warning, text).of_contact(cid, petname).detailed(detail))
    });
    let wanted = transfers.questions.iter().filter_map(|((cid, _), hitch)| {
        let (petname, detail) = (&core.peers.get(cid)?.contact.petname, &hitch.as_ref()?.text);
        let text = format!("{petname} waits for a file that you have sent: {detail}");
        Some(issue("file-wanted", Severity::Warning, text).of_contact(*cid, petname).detailed(detail.clone()))
    });
    stopped.chain(wanted).collect()
}

/// The media type of a picture that can be shown, by what is in it; its pixels are not decoded.
pub(crate) fn picture(content: &[u8]) -> Option<&'static str> {
    let media_type = match imagesize::image_type(content).ok()? {
        ImageType::Png => "image/png",
        ImageType::Jpeg => "image/jpeg",
        ImageType::Gif => "image/gif",
        ImageType::Webp => "image/webp",
        _ => return None,
    };
    let size = imagesize::blob_size(content).ok()?;
    let pixels = size.width.checked_mul(size.height)?;
    (1..=MAX_PIXELS).contains(&pixels).then_some(media_type)
}

#[cfg(test)]
mod tests {
    use petmail_proto::{
        channel::{file::InlineFile, payload::Payload},
        keys::MessageId,
    };
    use serde_json::json;

    use super::*;

    fn png(width: u32, height: u32) -> Vec<u8> {
        let head = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".as_slice();
        [head, &width.to_be_bytes(), &height.to_be_bytes(), &[8, 6, 0, 0, 0]].concat()
    }

    fn packets(name: &str, content: &[u8]) -> Map<String, Value> {
        let content = FileContent::Inline(InlineFile::new(content.to_vec()).unwrap());
        Payload::new(MessageId::from_bytes([0; 16]))
            .with(FILE, &FilePacket { name: name.to_owned(), content })
            .packets
    }

    #[test]
    fn a_file_is_shown_with_a_safe_name_and_without_its_content() {
        let mut packets = packets("../a\u{202e}gnp.exe", b"MZ");
        let file = shown(&mut packets).unwrap();
        assert_eq!((file.name.contains(['/', '\u{202e}']), file.size, file.picture), (false, 2, None));
        assert_eq!(packets[FILE], json!({"name": "../a\u{202e}gnp.exe"}));
    }

    #[test]
    fn only_pictures_of_a_sane_size_are_shown_as_such() {
        for (content, expected) in [
            (png(600, 400), Some("image/png")),
            (png(100_000, 100_000), None),
            (png(0, 5), None),
            (b"<svg onload='alert(1)'/>".to_vec(), None),
            (b"<html>".to_vec(), None),
            (png(9, 9)[..12].to_vec(), None),
        ] {
            let file = shown(&mut packets("a.png", &content)).unwrap();
            assert_eq!(file.picture.as_deref(), expected);
        }
    }

    #[test]
    fn nonsense_is_no_file_and_is_not_repeated() {
        for nonsense in [
            json!(7),
            json!([1]),
            json!({"name": "a"}),
            json!({"name": "", "inline": "AAAA"}),
            json!({"name": "a", "stored": {"size": 1, "reference": "AAAA"}}),
            json!({"inline": "A"}),
        ] {
            let mut packets = Map::from_iter([(FILE.to_owned(), nonsense)]);
            assert_eq!(shown(&mut packets), None);
            assert!(!packets[FILE].to_string().contains("AAAA"), "{packets:?}");
        }
    }
}
