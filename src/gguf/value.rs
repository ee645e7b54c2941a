//! Metadata values: numbers and texts as they are, long arrays as their length.

/// Numeric arrays up to this length are kept: no model has more layers.
pub(super) const KEPT_ELEMENTS: u64 = 4096;
/// Texts up to this many bytes are kept: chat templates fit, embedded files do not.
pub(super) const KEPT_TEXT_BYTES: u64 = 1 << 20;

#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Bool(bool),
    Text(String),
    /// A text too long to keep, or not UTF-8: its bytes.
    OpaqueText(u64),
    Array(Array),
}

/// An array: always its length, and its numbers where there are few.
#[derive(Debug, Clone, PartialEq)]
pub struct Array {
    pub len: u64,
    /// Numbers (booleans as 0 and 1) of a short numeric array; empty for texts and long arrays.
    pub numbers: Vec<f64>,
}

impl Value {
    pub fn as_u64(&self) -> Option<u64> {
        match *self {
            Self::Unsigned(value) => Some(value),
            Self::Signed(value) => u64::try_from(value).ok(),
            Self::Bool(value) => Some(value.into()),
            _ => None,
        }
    }

    pub fn as_u32(&self) -> Option<u32> {
        self.as_u64().and_then(|value| u32::try_from(value).ok())
    }

    pub fn as_f64(&self) -> Option<f64> {
        match *self {
            Self::Float(value) => Some(value),
            Self::Unsigned(value) => Some(value as f64),
            Self::Signed(value) => Some(value as f64),
            _ => None,
        }
    }

    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    pub fn as_array(&self) -> Option<&Array> {
        match self {
            Self::Array(array) => Some(array),
            _ => None,
        }
    }
}
