//! `general.file_type`: which mix of tensor types a file was quantized to.

use super::{Model, Value};

/// By number; gaps were removed (llama.cpp b11434 `include/llama.h:116`).
#[rustfmt::skip]
const NAMES: &[(u64, &str)] = &[
    (0, "F32"), (1, "F16"), (2, "Q4_0"), (3, "Q4_1"), (7, "Q8_0"), (8, "Q5_0"), (9, "Q5_1"), (10, "Q2_K"),
    (11, "Q3_K_S"), (12, "Q3_K_M"), (13, "Q3_K_L"), (14, "Q4_K_S"), (15, "Q4_K_M"), (16, "Q5_K_S"), (17, "Q5_K_M"),
    (18, "Q6_K"), (19, "IQ2_XXS"), (20, "IQ2_XS"), (21, "Q2_K_S"), (22, "IQ3_XS"), (23, "IQ3_XXS"), (24, "IQ1_S"),
    (25, "IQ4_NL"), (26, "IQ3_S"), (27, "IQ3_M"), (28, "IQ2_S"), (29, "IQ2_M"), (30, "IQ4_XS"), (31, "IQ1_M"),
    (32, "BF16"), (36, "TQ1_0"), (37, "TQ2_0"), (38, "MXFP4"), (39, "NVFP4"), (40, "Q1_0"), (41, "Q2_0"),
];

impl Model {
    /// The quantization as files are named after it, `Q4_K_M`; none where the header does not say or is newer.
    pub fn file_type(&self) -> Option<&'static str> {
        let number = self.metadata.get("general.file_type").and_then(Value::as_u64)?;
        NAMES.iter().find(|(known, _)| *known == number).map(|(_, name)| *name)
    }
}
