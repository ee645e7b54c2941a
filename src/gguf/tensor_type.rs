//! ggml's tensor types: block sizes and bytes.

/// Name, elements in a block, bytes in a block, by id; a type of no bytes was removed from ggml
/// (llama.cpp b11434 `ggml/include/ggml.h:389`, `ggml/src/ggml-common.h`).
const TYPES: [(&str, u16, u16); 43] = [
    ("f32", 1, 4),
    ("f16", 1, 2),
    ("q4_0", 32, 18),
    ("q4_1", 32, 20),
    ("q4_2", 0, 0),
    ("q4_3", 0, 0),
    ("q5_0", 32, 22),
    ("q5_1", 32, 24),
    ("q8_0", 32, 34),
    ("q8_1", 32, 36),
    ("q2_K", 256, 84),
    ("q3_K", 256, 110),
    ("q4_K", 256, 144),
    ("q5_K", 256, 176),
    ("q6_K", 256, 210),
    ("q8_K", 256, 292),
    ("iq2_xxs", 256, 66),
    ("iq2_xs", 256, 74),
    ("iq3_xxs", 256, 98),
    ("iq1_s", 256, 50),
    ("iq4_nl", 32, 18),
    ("iq3_s", 256, 110),
    ("iq2_s", 256, 82),
    ("iq4_xs", 256, 136),
    ("i8", 1, 1),
    ("i16", 1, 2),
    ("i32", 1, 4),
    ("i64", 1, 8),
    ("f64", 1, 8),
    ("iq1_m", 256, 56),
    ("bf16", 1, 2),
    ("q4_0_4_4", 0, 0),
    ("q4_0_4_8", 0, 0),
    ("q4_0_8_8", 0, 0),
    ("tq1_0", 256, 54),
    ("tq2_0", 256, 66),
    ("iq4_nl_4_4", 0, 0),
    ("iq4_nl_4_8", 0, 0),
    ("iq4_nl_8_8", 0, 0),
    ("mxfp4", 32, 17),
    ("nvfp4", 64, 36),
    ("q1_0", 128, 18),
    ("q2_0", 64, 18),
];

/// A tensor type that today's ggml has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TensorType(u8);

impl TensorType {
    pub const F32: Self = Self(0);
    pub const F16: Self = Self(1);
    pub const Q4_0: Self = Self(2);
    pub const Q4_1: Self = Self(3);
    pub const Q5_0: Self = Self(6);
    pub const Q5_1: Self = Self(7);
    pub const Q8_0: Self = Self(8);
    pub const IQ4_NL: Self = Self(20);
    pub const I32: Self = Self(26);
    pub const I64: Self = Self(27);
    pub const BF16: Self = Self(30);
    pub const TQ1_0: Self = Self(34);
    pub const TQ2_0: Self = Self(35);
    pub const MXFP4: Self = Self(39);
    pub const NVFP4: Self = Self(40);

    /// `None` for an id that ggml does not have; a removed type is `Some` with [`Self::is_removed`].
    pub fn from_id(id: u32) -> Option<Self> {
        (id < TYPES.len() as u32).then_some(Self(id as u8))
    }

    pub const fn id(self) -> u32 {
        self.0 as u32
    }

    pub const fn name(self) -> &'static str {
        TYPES[self.0 as usize].0
    }

    pub const fn is_removed(self) -> bool {
        TYPES[self.0 as usize].2 == 0
    }

    /// Elements in a block.
    pub const fn block(self) -> u64 {
        TYPES[self.0 as usize].1 as u64
    }

    /// Bytes of a block.
    pub const fn block_bytes(self) -> u64 {
        TYPES[self.0 as usize].2 as u64
    }

    /// Everything that is not a plain number is stored in blocks.
    pub const fn is_quantized(self) -> bool {
        self.block() > 1
    }

    /// Bytes of a row of `elements`, which is a whole number of blocks.
    pub const fn row_bytes(self, elements: u64) -> u64 {
        elements / self.block() * self.block_bytes()
    }
}

impl std::fmt::Display for TensorType {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_constants_are_the_types_they_name() {
        for (constant, name) in [
            (TensorType::F32, "f32"),
            (TensorType::IQ4_NL, "iq4_nl"),
            (TensorType::I32, "i32"),
            (TensorType::I64, "i64"),
            (TensorType::BF16, "bf16"),
            (TensorType::TQ2_0, "tq2_0"),
            (TensorType::MXFP4, "mxfp4"),
            (TensorType::NVFP4, "nvfp4"),
        ] {
            assert_eq!(constant.name(), name);
        }
        assert!(TensorType::from_id(4).is_some_and(TensorType::is_removed));
        assert_eq!(TensorType::from_id(43), None);
        assert_eq!(TensorType::Q8_0.row_bytes(64), 68);
    }
}
