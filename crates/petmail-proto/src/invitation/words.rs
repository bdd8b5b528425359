//! The PGP word list: a word for every byte, of which people hear and type each clearly.
//!
//! Owns the two lists (Patrick Juola and Philip Zimmermann, 1995) in lower case, and how bytes and words become each
//! other. Neighbouring words come from different lists, so that a word left out or swapped is noticed.
//! Specification: `docs/protocol/`, invitations (§2).

/// Two-syllable words, for bytes at even places of PGP's own fingerprints.
#[rustfmt::skip]
const EVEN: [&str; 256] = [
    "aardvark", "absurd", "accrue", "acme", "adrift", "adult", "afflict", "ahead", "aimless", "algol",
    "allow", "alone", "ammo", "ancient", "apple", "artist", "assume", "athens", "atlas", "aztec", "baboon",
    "backfield", "backward", "banjo", "beaming", "bedlamp", "beehive", "beeswax", "befriend", "belfast",
    "berserk", "billiard", "bison", "blackjack", "blockade", "blowtorch", "bluebird", "bombast", "bookshelf",
    "brackish", "breadline", "breakup", "brickyard", "briefcase", "burbank", "button", "buzzard", "cement",
    "chairlift", "chatter", "checkup", "chisel", "choking", "chopper", "christmas", "clamshell", "classic",
    "classroom", "cleanup", "clockwork", "cobra", "commence", "concert", "cowbell", "crackdown", "cranky",
    "crowfoot", "crucial", "crumpled", "crusade", "cubic", "dashboard", "deadbolt", "deckhand", "dogsled",
    "dragnet", "drainage", "dreadful", "drifter", "dropper", "drumbeat", "drunken", "dupont", "dwelling",
    "eating", "edict", "egghead", "eightball", "endorse", "endow", "enlist", "erase", "escape", "exceed",
    "eyeglass", "eyetooth", "facial", "fallout", "flagpole", "flatfoot", "flytrap", "fracture", "framework",
    "freedom", "frighten", "gazelle", "geiger", "glitter", "glucose", "goggles", "goldfish", "gremlin",
    "guidance", "hamlet", "highchair", "hockey", "indoors", "indulge", "inverse", "involve", "island",
    "jawbone", "keyboard", "kickoff", "kiwi", "klaxon", "locale", "lockup", "merit", "minnow", "miser",
    "mohawk", "mural", "music", "necklace", "neptune", "newborn", "nightbird", "oakland", "obtuse", "offload",
    "optic", "orca", "payday", "peachy", "pheasant", "physique", "playhouse", "pluto", "preclude", "prefer",
    "preshrunk", "printer", "prowler", "pupil", "puppy", "python", "quadrant", "quiver", "quota", "ragtime",
    "ratchet", "rebirth", "reform", "regain", "reindeer", "rematch", "repay", "retouch", "revenge", "reward",
    "rhythm", "ribcage", "ringbolt", "robust", "rocker", "ruffled", "sailboat", "sawdust", "scallion",
    "scenic", "scorecard", "scotland", "seabird", "select", "sentence", "shadow", "shamrock", "showgirl",
    "skullcap", "skydive", "slingshot", "slowdown", "snapline", "snapshot", "snowcap", "snowslide", "solo",
    "southward", "soybean", "spaniel", "spearhead", "spellbind", "spheroid", "spigot", "spindle", "spyglass",
    "stagehand", "stagnate", "stairway", "standard", "stapler", "steamship", "sterling", "stockman",
    "stopwatch", "stormy", "sugar", "surmount", "suspense", "sweatband", "swelter", "tactics", "talon",
    "tapeworm", "tempest", "tiger", "tissue", "tonic", "topmost", "tracker", "transit", "trauma", "treadmill",
    "trojan", "trouble", "tumor", "tunnel", "tycoon", "uncut", "unearth", "unwind", "uproot", "upset",
    "upshot", "vapor", "village", "virus", "vulcan", "waffle", "wallet", "watchword", "wayside", "willow",
    "woodlark", "zulu",
];

/// Three-syllable words, for bytes at odd places of PGP's own fingerprints.
#[rustfmt::skip]
const ODD: [&str; 256] = [
    "adroitness", "adviser", "aftermath", "aggregate", "alkali", "almighty", "amulet", "amusement", "antenna",
    "applicant", "apollo", "armistice", "article", "asteroid", "atlantic", "atmosphere", "autopsy", "babylon",
    "backwater", "barbecue", "belowground", "bifocals", "bodyguard", "bookseller", "borderline", "bottomless",
    "bradbury", "bravado", "brazilian", "breakaway", "burlington", "businessman", "butterfat", "camelot",
    "candidate", "cannonball", "capricorn", "caravan", "caretaker", "celebrate", "cellulose", "certify",
    "chambermaid", "cherokee", "chicago", "clergyman", "coherence", "combustion", "commando", "company",
    "component", "concurrent", "confidence", "conformist", "congregate", "consensus", "consulting",
    "corporate", "corrosion", "councilman", "crossover", "crucifix", "cumbersome", "customer", "dakota",
    "decadence", "december", "decimal", "designing", "detector", "detergent", "determine", "dictator",
    "dinosaur", "direction", "disable", "disbelief", "disruptive", "distortion", "document", "embezzle",
    "enchanting", "enrollment", "enterprise", "equation", "equipment", "escapade", "eskimo", "everyday",
    "examine", "existence", "exodus", "fascinate", "filament", "finicky", "forever", "fortitude", "frequency",
    "gadgetry", "galveston", "getaway", "glossary", "gossamer", "graduate", "gravity", "guitarist",
    "hamburger", "hamilton", "handiwork", "hazardous", "headwaters", "hemisphere", "hesitate", "hideaway",
    "holiness", "hurricane", "hydraulic", "impartial", "impetus", "inception", "indigo", "inertia", "infancy",
    "inferno", "informant", "insincere", "insurgent", "integrate", "intention", "inventive", "istanbul",
    "jamaica", "jupiter", "leprosy", "letterhead", "liberty", "maritime", "matchmaker", "maverick", "medusa",
    "megaton", "microscope", "microwave", "midsummer", "millionaire", "miracle", "misnomer", "molasses",
    "molecule", "montana", "monument", "mosquito", "narrative", "nebula", "newsletter", "norwegian",
    "october", "ohio", "onlooker", "opulent", "orlando", "outfielder", "pacific", "pandemic", "pandora",
    "paperweight", "paragon", "paragraph", "paramount", "passenger", "pedigree", "pegasus", "penetrate",
    "perceptive", "performance", "pharmacy", "phonetic", "photograph", "pioneer", "pocketful", "politeness",
    "positive", "potato", "processor", "provincial", "proximate", "puberty", "publisher", "pyramid",
    "quantity", "racketeer", "rebellion", "recipe", "recover", "repellent", "replica", "reproduce",
    "resistor", "responsive", "retraction", "retrieval", "retrospect", "revenue", "revival", "revolver",
    "sandalwood", "sardonic", "saturday", "savagery", "scavenger", "sensation", "sociable", "souvenir",
    "specialist", "speculate", "stethoscope", "stupendous", "supportive", "surrender", "suspicious",
    "sympathy", "tambourine", "telephone", "therapist", "tobacco", "tolerance", "tomorrow", "torpedo",
    "tradition", "travesty", "trombonist", "truncated", "typewriter", "ultimate", "undaunted", "underfoot",
    "unicorn", "unify", "universe", "unravel", "upcoming", "vacancy", "vagabond", "vertigo", "virginia",
    "visitor", "vocalist", "voyager", "warranty", "waterloo", "whimsical", "wichita", "wilmington", "wyoming",
    "yesteryear", "yucatan",
];

/// Spells bytes, beginning with the odd (three-syllable) list as magic-wormhole does.
#[must_use]
pub fn spell(bytes: &[u8]) -> Vec<&'static str> {
    bytes.iter().zip(lists()).filter_map(|(byte, list)| list.get(usize::from(*byte)).copied()).collect()
}

/// Whether every text is a word of the list whose turn it is.
#[must_use]
pub fn are_words<'a>(texts: impl IntoIterator<Item = &'a str>) -> bool {
    texts.into_iter().zip(lists()).all(|(text, list)| list.contains(&text))
}

/// The list of the word at this place of a code, counted from 0.
#[must_use]
pub fn list_at(place: usize) -> &'static [&'static str; 256] {
    if place.is_multiple_of(2) { &ODD } else { &EVEN }
}

/// Every word of both lists.
#[must_use]
pub fn all() -> Vec<&'static str> {
    [EVEN, ODD].concat()
}

fn lists() -> impl Iterator<Item = &'static [&'static str; 256]> {
    [&ODD, &EVEN].into_iter().cycle()
}

#[cfg(test)]
mod tests {
    use super::*;
    use sha2::{Digest, Sha256};

    /// The hash of magic-wormhole's copy, which its Python and Rust programs share: both lists in lower case, even
    /// first, one word a line.
    const PUBLISHED: &str = "41db18a831d9c40dc35b374ef36f0bf616d4f563768fcc1a5aa11c7b6530cf5e";

    #[test]
    fn the_lists_are_the_published_ones() {
        let text = all().join("\n");
        assert_eq!(data_encoding::HEXLOWER.encode(&Sha256::digest(text)), PUBLISHED);
    }

    #[test]
    fn spelling_alternates_and_begins_odd() {
        assert_eq!(spell(&[0, 0, 255]), ["adroitness", "aardvark", "yucatan"]);
        assert!(are_words(spell(&[1, 2, 3, 4])));
        assert!(!are_words(["aardvark", "adroitness"]));
    }
}
