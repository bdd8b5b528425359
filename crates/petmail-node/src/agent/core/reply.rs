//! The `reply` packet: which message of the conversation a text answers. Source: `docs/protocol/delivery.md`, "Packets".
//!
//! It names the message by its number, and repeats nothing of it: what a reader sees is what the reader has.

use petmail_proto::channel::{MessageNumber, payload::REPLY};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::{
    agent::records::{MessageKey, Way},
    api::types::{Direction, ReplyView},
};

/// Whose message is answered, as the one who answers sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Whose {
    Mine,
    Yours,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Reply {
    whose: Whose,
    number: MessageNumber,
}

/// Makes the packet that names a message of this side's conversation.
pub(super) fn packet(answered: MessageKey) -> Value {
    let whose = match answered.way {
        Way::In => Whose::Yours,
        Way::Out => Whose::Mine,
    };
    json!(Reply { whose, number: answered.number })
}

/// Reads which message another one answers, that went this `way`. What is no such packet says nothing.
pub(crate) fn shown(way: Way, packets: &Map<String, Value>) -> Option<ReplyView> {
    let reply = Reply::deserialize(packets.get(REPLY)?).ok()?;
    let direction = match (way, reply.whose) {
        (Way::Out, Whose::Mine) | (Way::In, Whose::Yours) => Direction::Out,
        (Way::Out, Whose::Yours) | (Way::In, Whose::Mine) => Direction::In,
    };
    let MessageNumber { epoch, seqnum } = reply.number;
    Some(ReplyView { direction, epoch, seqnum })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_see_the_same_message_from_their_side() {
        let number = MessageNumber { epoch: 1_700_000_000_000, seqnum: 7 };
        for (way, here, there) in
            [(Way::In, Direction::In, Direction::Out), (Way::Out, Direction::Out, Direction::In)]
        {
            let packets = Map::from_iter([(REPLY.to_owned(), packet(MessageKey { cid: 1, way, number }))]);
            let sees = |direction| Some(ReplyView { direction, epoch: number.epoch, seqnum: number.seqnum });
            assert_eq!(shown(Way::Out, &packets), sees(here));
            assert_eq!(shown(Way::In, &packets), sees(there));
        }
    }

    #[test]
    fn nonsense_answers_nothing() {
        for nonsense in
            [json!(null), json!("mine"), json!({"whose": "theirs"}), json!([1, 2]), json!({"whose": "mine"})]
        {
            assert_eq!(shown(Way::In, &Map::from_iter([(REPLY.to_owned(), nonsense)])), None);
        }
        assert_eq!(shown(Way::In, &Map::new()), None);
    }
}
