//! The hash of a pathway: of a node, which is service, environment and edge tags, and of all nodes before it.
//!
//! FNV-1 with 64 bits: multiply, then xor (1a does it the other way round). Hashes travel to other
//! languages and must be equal there, so nothing here may change.

/// The start of every FNV-1 hash of 64 bits.
const OFFSET_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
/// What every step multiplies by.
const PRIME: u64 = 0x0100_0000_01b3;

/// The tags that Go hashes; Python hashes all.
const GO_KEYS: [&[u8]; 8] = [
    b"event_type",
    b"exchange",
    b"group",
    b"kafka_cluster_id",
    b"topic",
    b"type",
    b"direction",
    b"segment_name",
];

/// What Python hashes for an environment that is not set.
const PYTHON_NO_ENV: &str = "none";

/// What of a checkpoint is hashed, and in which order. Hashes of two languages are equal for the same tags
/// only where both hash the same; for plain tags without process tags, all three do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HashProfile {
    /// Service, environment as it is, all edge tags; process tags never.
    #[default]
    Plain,
    /// As ddtrace: an unset environment is the text `none`, and process tags come before the edge tags, as a
    /// hash of their own.
    Python,
    /// As dd-trace-go: only eight keys of the edge tags are hashed, and process tags come after them, as text.
    Go,
}

fn fnv1(state: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(state, |state, byte| state.wrapping_mul(PRIME) ^ u64::from(*byte))
}

/// What all nodes of a program have in common.
#[derive(Clone, Debug)]
pub(super) struct NodeHasher {
    /// After service, environment and what else comes before the edge tags.
    before: u64,
    /// What comes after the edge tags.
    after: Box<[u8]>,
    go_keys_only: bool,
}

impl NodeHasher {
    /// `process_tags` are in order; `container_hash` is what the agent calls the tags of this container, empty
    /// until it has. Without process tags it means nothing.
    pub fn new(
        profile: HashProfile,
        service: &str,
        env: &str,
        process_tags: &[String],
        container_hash: &str,
    ) -> Self {
        let go_keys_only = profile == HashProfile::Go;
        let env =
            if profile == HashProfile::Python && env.is_empty() { PYTHON_NO_ENV } else { env };
        let mut before = fnv1(fnv1(OFFSET_BASIS, service.as_bytes()), env.as_bytes());
        let mut after = String::new();
        match profile {
            _ if process_tags.is_empty() => {}
            HashProfile::Plain => {}
            HashProfile::Python => {
                let base = process_tags.join(",") + container_hash;
                before = fnv1(before, &fnv1(OFFSET_BASIS, base.as_bytes()).to_le_bytes());
            }
            HashProfile::Go => after = process_tags.concat() + container_hash,
        }
        NodeHasher { before, after: after.into_bytes().into(), go_keys_only }
    }

    /// The hash of a pathway that continues `parent` (0: begins) with a node of these tags, which are sorted.
    pub fn pathway<'a>(&self, tags: impl Iterator<Item = &'a [u8]>, parent: u64) -> u64 {
        let mut node = self.before;
        for tag in tags {
            if !self.go_keys_only || is_hashed_by_go(tag) {
                node = fnv1(node, tag);
            }
        }
        node = fnv1(node, &self.after);
        fnv1(fnv1(OFFSET_BASIS, &node.to_le_bytes()), &parent.to_le_bytes())
    }
}

fn is_hashed_by_go(tag: &[u8]) -> bool {
    let key = memchr::memchr(b':', tag).map_or(tag, |colon| &tag[..colon]);
    GO_KEYS.contains(&key)
}

/// Characters of the value of a process tag.
const PROCESS_TAG_MAX: usize = 100;

/// The value of a process tag as every tracer writes it: lower case, at most 100 characters, everything but
/// letters, digits and `/ . _ -` an underscore, of several one, none at the ends.
pub(super) fn process_tag_value(value: &str) -> String {
    let mut normal = String::new();
    let cut = value.chars().take(PROCESS_TAG_MAX).flat_map(char::to_lowercase);
    for character in cut {
        let stays = character.is_alphanumeric() || matches!(character, '/' | '.' | '_' | '-');
        let character = if stays { character } else { '_' };
        if !(character == '_' && normal.ends_with('_')) {
            normal.push(character);
        }
    }
    normal.trim_matches('_').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRODUCE: [&str; 3] = ["direction:out", "topic:orders", "type:kafka"];
    const CONSUME: [&str; 4] = ["direction:in", "group:billing", "topic:orders", "type:kafka"];
    const MANUAL_PRODUCE: [&str; 4] =
        ["direction:out", "manual_checkpoint:true", "topic:orders", "type:kafka"];
    const MANUAL_CONSUME: [&str; 4] =
        ["direction:in", "manual_checkpoint:true", "topic:orders", "type:kafka"];

    #[test]
    fn fnv_multiplies_first() {
        for (text, hash) in
            [("", OFFSET_BASIS), ("a", 0xaf63_bd4c_8601_b7be), ("foobar", 0x340d_8765_a4dd_a9c2)]
        {
            assert_eq!(fnv1(OFFSET_BASIS, text.as_bytes()), hash, "{text}");
        }
    }

    struct Hand {
        profile: HashProfile,
        service: &'static str,
        env: &'static str,
        process_tags: Vec<String>,
        container: &'static str,
    }

    impl Hand {
        fn new(profile: HashProfile, service: &'static str, env: &'static str) -> Self {
            Hand { profile, service, env, process_tags: Vec::new(), container: "" }
        }

        fn in_process(self, container: &'static str) -> Self {
            let tags = ["entrypoint.name:app", "entrypoint.type:script"];
            Hand { process_tags: tags.map(str::to_owned).into(), container, ..self }
        }

        fn hasher(&self) -> NodeHasher {
            NodeHasher::new(
                self.profile,
                self.service,
                self.env,
                &self.process_tags,
                self.container,
            )
        }

        fn pathway(&self, tags: &[&str], parent: u64) -> u64 {
            self.hasher().pathway(tags.iter().map(|tag| tag.as_bytes()), parent)
        }

        fn node(&self, tags: &[&str]) -> u64 {
            let hasher = self.hasher();
            let tags =
                tags.iter().filter(|tag| !hasher.go_keys_only || is_hashed_by_go(tag.as_bytes()));
            fnv1(tags.fold(hasher.before, |node, tag| fnv1(node, tag.as_bytes())), &hasher.after)
        }
    }

    const V1: u64 = 17_073_393_891_733_492_021;
    const V3: u64 = 6_189_836_063_794_947_354;

    #[test]
    fn plain_tags_have_one_hash_in_all_profiles() {
        for profile in [HashProfile::Plain, HashProfile::Python, HashProfile::Go] {
            let shop = Hand::new(profile, "shop", "prod");
            assert_eq!(shop.node(&PRODUCE), 17_110_376_078_177_964_857, "V1 {profile:?}");
            assert_eq!(shop.pathway(&PRODUCE, 0), V1, "V1 {profile:?}");
            let billing = Hand::new(profile, "billing", "prod");
            assert_eq!(billing.node(&CONSUME), 182_899_471_943_837_373, "V2 {profile:?}");
            assert_eq!(billing.pathway(&CONSUME, V1), 14_149_669_132_804_983_581, "V2 {profile:?}");
        }
    }

    #[test]
    fn go_does_not_hash_that_a_checkpoint_is_manual() {
        for profile in [HashProfile::Plain, HashProfile::Python] {
            let shop = Hand::new(profile, "shop", "prod");
            assert_eq!(shop.node(&MANUAL_PRODUCE), 5_406_646_847_332_685_002, "V3");
            assert_eq!(shop.pathway(&MANUAL_PRODUCE, 0), V3, "V3");
            assert_eq!(shop.pathway(&MANUAL_CONSUME, V3), 18_165_093_400_377_220_725, "V3b");
        }
        let shop = Hand::new(HashProfile::Go, "shop", "prod");
        assert_eq!(shop.pathway(&MANUAL_PRODUCE, 0), V1, "V4");
    }

    #[test]
    fn an_environment_that_is_not_set_is_none_in_python_and_nothing_in_go() {
        let python = Hand::new(HashProfile::Python, "shop", "");
        assert_eq!(python.node(&PRODUCE), 2_276_486_576_010_993_778, "V5");
        assert_eq!(python.pathway(&PRODUCE, 0), 11_222_430_815_578_021_652, "V5");
        for profile in [HashProfile::Go, HashProfile::Plain] {
            let go = Hand::new(profile, "shop", "");
            assert_eq!(go.node(&PRODUCE), 10_335_344_556_497_830_020, "V5b");
            assert_eq!(go.pathway(&PRODUCE, 0), 16_344_507_990_478_270_145, "V5b");
        }
    }

    #[test]
    fn process_tags_and_the_container_are_hashed_as_each_language_does() {
        let python = || Hand::new(HashProfile::Python, "shop", "prod");
        for (hand, node, pathway) in [
            (python().in_process(""), 9_103_377_266_985_388_235, 16_359_497_390_404_084_050),
            (python().in_process("abc"), 17_804_068_714_839_055_785, 4_233_767_073_079_043_540),
            (
                Hand::new(HashProfile::Go, "shop", "prod").in_process(""),
                12_696_473_949_810_256_210,
                3_291_673_683_509_201_546,
            ),
        ] {
            assert_eq!(hand.node(&PRODUCE), node, "V6 to V8 {}", hand.container);
            assert_eq!(hand.pathway(&PRODUCE, 0), pathway, "V6 to V8 {}", hand.container);
        }
        let base = |container: &str| {
            fnv1(
                fnv1(OFFSET_BASIS, b"entrypoint.name:app,entrypoint.type:script"),
                container.as_bytes(),
            )
        };
        assert_eq!(
            (base(""), base("abc")),
            (15_171_672_341_418_577_920, 9_100_426_090_573_007_008)
        );
        let plain = Hand::new(HashProfile::Plain, "shop", "prod").in_process("abc");
        assert_eq!(plain.pathway(&PRODUCE, 0), V1);
    }

    #[test]
    fn values_of_process_tags_are_normalised() {
        for (value, expect) in [
            ("My App!!x", "my_app_x"),
            ("__a//b.c-d__", "a//b.c-d"),
            ("Ärger 7", "ärger_7"),
            ("***", ""),
        ] {
            assert_eq!(process_tag_value(value), expect);
        }
        assert_eq!(process_tag_value(&"A".repeat(120)), "a".repeat(100));
    }
}
