//! SHA-256 of two files at a time on one core.
//!
//! SHA-256 is a chain: each instruction waits for the one before. A processor that could begin the next instruction
//! spends half of its time waiting. A second chain fills the gaps; see docs/decisions/0023.
//!
//! This module only determines the order in which the blocks of two chains are hashed. The `sha2` crate does the rest.
//! It also does everything on processors without SHA instructions, and it is the oracle of the tests.

use super::Digest;

/// Block size of SHA-256 in bytes (FIPS 180-4, section 5.2.1).
const BLOCK: usize = 64;

pub(super) type Block = [u8; BLOCK];

type State = [u32; 8];

/// FIPS 180-4, section 5.3.3.
const START: State =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

/// SHA-256 of a message of which only whole blocks were hashed so far.
pub(super) struct Chain {
    state: State,
    blocks: u64,
}

impl Chain {
    pub(super) fn new() -> Self {
        Self { state: START, blocks: 0 }
    }

    pub(super) fn update(&mut self, blocks: &[Block]) {
        sha2::block_api::compress256(&mut self.state, blocks);
        self.blocks += blocks.len() as u64;
    }

    /// Hashes as many blocks of each message as the shorter list has, and returns that number.
    pub(super) fn update_both(chains: [&mut Self; 2], blocks: [&[Block]; 2]) -> usize {
        let count = blocks[0].len().min(blocks[1].len());
        let blocks = blocks.map(|blocks| &blocks[..count]);
        let mut states = [chains[0].state, chains[1].state];
        compress_both(&mut states, blocks);
        for (chain, state) in chains.into_iter().zip(states) {
            chain.state = state;
            chain.blocks += count as u64;
        }
        count
    }

    /// The digest. `rest` is the message after the last hashed block (FIPS 180-4, section 5.1.1).
    pub(super) fn finish(mut self, rest: &[u8]) -> Digest {
        let (whole, rest) = rest.as_chunks();
        self.update(whole);
        let bits = 8 * (BLOCK as u64 * self.blocks + rest.len() as u64);
        let mut last = [[0; BLOCK]; 2];
        last.as_flattened_mut()[..rest.len()].copy_from_slice(rest);
        last.as_flattened_mut()[rest.len()] = 0x80;
        // The length is stored at the end of a block. If there is no space for it, it gets an extra block.
        let count = if rest.len() < BLOCK - size_of::<u64>() { 1 } else { 2 };
        last[count - 1][BLOCK - size_of::<u64>()..].copy_from_slice(&bits.to_be_bytes());
        self.update(&last[..count]);
        let mut digest = [0; 32];
        for (bytes, word) in digest.as_chunks_mut().0.iter_mut().zip(self.state) {
            *bytes = word.to_be_bytes();
        }
        Digest(digest)
    }
}

/// SHA-256 of two messages in memory, in less time than one after the other.
pub fn sha256_of_both(messages: [&[u8]; 2]) -> [Digest; 2] {
    let blocks = messages.map(|message| message.as_chunks().0);
    let [mut first, mut second] = [Chain::new(), Chain::new()];
    let taken = BLOCK * Chain::update_both([&mut first, &mut second], blocks);
    [first.finish(&messages[0][taken..]), second.finish(&messages[1][taken..])]
}

/// Advances each state by its list of blocks. Both lists have the same length.
fn compress_both(states: &mut [State; 2], blocks: [&[Block]; 2]) {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("sha") && is_x86_feature_detected!("sse4.1") {
        // SAFETY: `compress` is safe on a processor that has these instructions, and this one has them. It takes only
        // references, and accesses memory only through them.
        #[allow(unsafe_code)]
        unsafe {
            x86_64::compress(states, blocks)
        };
        return;
    }
    for (state, blocks) in states.iter_mut().zip(blocks) {
        sha2::block_api::compress256(state, blocks);
    }
}

#[cfg(target_arch = "x86_64")]
mod x86_64 {
    use std::arch::x86_64::{
        __m128i, _mm_add_epi32, _mm_alignr_epi8, _mm_extract_epi32, _mm_set_epi32, _mm_set_epi64x,
        _mm_sha256msg1_epu32, _mm_sha256msg2_epu32, _mm_sha256rnds2_epu32, _mm_shuffle_epi8,
        _mm_shuffle_epi32,
    };

    use super::{Block, State};

    /// One for each of the 64 rounds (FIPS 180-4, section 4.2.2), in groups of four.
    #[rustfmt::skip]
    const ROUND_CONSTANTS: [[u32; 4]; 16] = [
        [0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5], [0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5],
        [0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3], [0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174],
        [0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc], [0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da],
        [0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7], [0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967],
        [0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13], [0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85],
        [0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3], [0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070],
        [0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5], [0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3],
        [0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208], [0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2],
    ];

    /// A state in the layout that the instructions require: a, b, e, f in one register and c, d, g, h in the other. The
    /// first of them is in the highest bits (Intel's manual, `SHA256RNDS2`).
    #[derive(Clone, Copy)]
    struct Registers {
        abef: __m128i,
        cdgh: __m128i,
    }

    // Closures and iterator adapters are compiled separately, without these instructions. Calling one here costs more
    // than a round, so the code that runs for every block uses none.

    impl Registers {
        #[target_feature(enable = "sha,sse4.1")]
        fn load([a, b, c, d, e, f, g, h]: State) -> Self {
            Self { abef: words([f, e, b, a]), cdgh: words([h, g, d, c]) }
        }

        #[target_feature(enable = "sha,sse4.1")]
        fn store(self) -> State {
            let Self { abef, cdgh } = self;
            let words = [
                _mm_extract_epi32(abef, 3),
                _mm_extract_epi32(abef, 2),
                _mm_extract_epi32(cdgh, 3),
                _mm_extract_epi32(cdgh, 2),
                _mm_extract_epi32(abef, 1),
                _mm_extract_epi32(abef, 0),
                _mm_extract_epi32(cdgh, 1),
                _mm_extract_epi32(cdgh, 0),
            ];
            words.map(i32::cast_unsigned)
        }

        /// Computes four rounds. `sums` are the sums of their words and constants.
        #[inline]
        #[target_feature(enable = "sha,sse4.1")]
        fn after_rounds(self, sums: __m128i) -> Self {
            let after_two = _mm_sha256rnds2_epu32(self.cdgh, self.abef, sums);
            let after_four = _mm_sha256rnds2_epu32(self.abef, after_two, _mm_shuffle_epi32(sums, 0x0e));
            Self { abef: after_four, cdgh: after_two }
        }

        #[inline]
        #[target_feature(enable = "sha,sse4.1")]
        fn plus(self, other: Self) -> Self {
            Self { abef: _mm_add_epi32(self.abef, other.abef), cdgh: _mm_add_epi32(self.cdgh, other.cdgh) }
        }
    }

    /// Four words, the last one in the highest bits.
    #[inline]
    #[target_feature(enable = "sha,sse4.1")]
    fn words([first, second, third, fourth]: [u32; 4]) -> __m128i {
        _mm_set_epi32(fourth.cast_signed(), third.cast_signed(), second.cast_signed(), first.cast_signed())
    }

    /// Four words of a block, which stores them with their highest byte first.
    #[inline]
    #[target_feature(enable = "sha,sse4.1")]
    fn message_words(block: &Block, index: usize) -> __m128i {
        let highest_byte_first = _mm_set_epi64x(0x0c0d_0e0f_0809_0a0b, 0x0405_0607_0001_0203);
        let bytes = i128::from_le_bytes(block.as_chunks().0[index]);
        _mm_shuffle_epi8(_mm_set_epi64x((bytes >> 64) as i64, bytes as i64), highest_byte_first)
    }

    #[inline]
    #[target_feature(enable = "sha,sse4.1")]
    fn message(block: &Block) -> [__m128i; 4] {
        [message_words(block, 0), message_words(block, 1), message_words(block, 2), message_words(block, 3)]
    }

    /// The four words that follow these 16 in the message schedule (FIPS 180-4, section 6.2.2, step 1).
    #[inline]
    #[target_feature(enable = "sha,sse4.1")]
    fn schedule(first: __m128i, second: __m128i, third: __m128i, fourth: __m128i) -> __m128i {
        let sum = _mm_add_epi32(_mm_sha256msg1_epu32(first, second), _mm_alignr_epi8(fourth, third, 4));
        _mm_sha256msg2_epu32(sum, fourth)
    }

    /// A chain in the middle of a block, with the last 16 words of its message schedule. The words of group `n` are at
    /// index `n % 4`.
    #[derive(Clone, Copy)]
    struct Lane {
        registers: Registers,
        words: [__m128i; 4],
    }

    impl Lane {
        #[inline]
        #[target_feature(enable = "sha,sse4.1")]
        fn new(registers: Registers, block: &Block) -> Self {
            Self { registers, words: message(block) }
        }

        /// Computes the four rounds of a group, and the words of the group four from here.
        #[inline]
        #[target_feature(enable = "sha,sse4.1")]
        fn after<const GROUP: usize>(mut self) -> Self {
            let sums = _mm_add_epi32(self.words[GROUP % 4], words(ROUND_CONSTANTS[GROUP]));
            self.registers = self.registers.after_rounds(sums);
            if GROUP + 4 < ROUND_CONSTANTS.len() {
                let [first, second, third, fourth] =
                    [GROUP % 4, (GROUP + 1) % 4, (GROUP + 2) % 4, (GROUP + 3) % 4];
                self.words[first] =
                    schedule(self.words[first], self.words[second], self.words[third], self.words[fourth]);
            }
            self
        }
    }

    /// Like [`super::compress_both`].
    #[target_feature(enable = "sha,sse4.1")]
    pub(super) fn compress(states: &mut [State; 2], blocks: [&[Block]; 2]) {
        let mut one = Registers::load(states[0]);
        let mut other = Registers::load(states[1]);
        for (block, other_block) in blocks[0].iter().zip(blocks[1]) {
            let mut lane = Lane::new(one, block);
            let mut other_lane = Lane::new(other, other_block);
            // The compiler does not unroll this by itself, and a loop takes an eighth more time.
            macro_rules! groups {
                ($($group:literal)*) => {$(
                    lane = lane.after::<$group>();
                    other_lane = other_lane.after::<$group>();
                )*};
            }
            groups!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
            one = one.plus(lane.registers);
            other = other.plus(other_lane.registers);
        }
        *states = [one.store(), other.store()];
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bytes(length: usize, seed: u8) -> Vec<u8> {
        (0..length).map(|index| (index % 251) as u8 ^ seed).collect()
    }

    #[test]
    fn sha256_of_two_messages_matches_each_alone_at_every_block_border() {
        let lengths = [0, 1, 55, 56, 63, 64, 65, 119, 120, 127, 128, 129, 1000, 4096];
        for first in lengths {
            for second in lengths {
                let messages = [bytes(first, 0), bytes(second, 0xa5)];
                let expected = [Digest::sha256(&messages[0]), Digest::sha256(&messages[1])];
                assert_eq!(
                    sha256_of_both([&messages[0], &messages[1]]),
                    expected,
                    "{first} and {second} bytes"
                );
            }
        }
    }

    proptest! {
        /// Two messages. The second one joins, and the first one leaves, in the middle of the other.
        #[test]
        fn sha256_of_one_message_is_independent_of_the_message_beside_it(
            first in proptest::collection::vec(any::<u8>(), 0..2000),
            second in proptest::collection::vec(any::<u8>(), 0..2000),
            alone in 0usize..40,
        ) {
            let (blocks, _) = first.as_chunks();
            let (before, beside) = blocks.split_at(alone.min(blocks.len()));
            let [mut one, mut other] = [Chain::new(), Chain::new()];
            one.update(before);
            let common = Chain::update_both([&mut one, &mut other], [beside, second.as_chunks().0]);
            let taken = BLOCK * (before.len() + common);
            prop_assert_eq!(one.finish(&first[taken..]), Digest::sha256(&first));
            prop_assert_eq!(other.finish(&second[BLOCK * common..]), Digest::sha256(&second));
        }
    }
}
