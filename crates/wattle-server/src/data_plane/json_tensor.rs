//! Tensor data as JSON: numbers, booleans or text, flat or nested, row-major.

use std::fmt;

use bytes::Bytes;
use half::{bf16, f16};
use serde::de::{DeserializeSeed, Deserializer, SeqAccess, Visitor};
use serde_json::value::RawValue;
use wattle_runtime::tensor::Datatype;

/// The little-endian bytes of JSON `data`. Nesting is read over: the shape says how many there are.
pub fn decode(datatype: Datatype, data: &RawValue) -> Result<Bytes, String> {
    let mut bytes = Vec::with_capacity(data.get().len());
    let mut from = serde_json::Deserializer::from_str(data.get());
    Elements { datatype, bytes: &mut bytes, is_inside: false }
        .deserialize(&mut from)
        .map_err(|error| error.to_string())?;
    Ok(bytes.into())
}

/// Appends each element of a JSON array, however nested.
struct Elements<'a> {
    datatype: Datatype,
    bytes: &'a mut Vec<u8>,
    /// Whether this is within an array: the whole must be one.
    is_inside: bool,
}

impl Elements<'_> {
    fn put<E: serde::de::Error, const N: usize>(
        self,
        found: fmt::Arguments,
        little_endian: Option<[u8; N]>,
    ) -> Result<(), E> {
        match little_endian.filter(|_| self.is_inside) {
            Some(element) => {
                self.bytes.extend_from_slice(&element);
                Ok(())
            }
            None => Err(E::custom(format_args!("{found} found, expected {}", self.expected()))),
        }
    }

    fn expected(&self) -> String {
        if self.is_inside { format!("{} or an array of them", self.datatype) } else { "an array".into() }
    }

    fn float<E: serde::de::Error>(self, value: f64) -> Result<(), E> {
        match self.datatype {
            Datatype::Fp64 => self.put(format_args!("{value}"), Some(value.to_le_bytes())),
            Datatype::Fp32 => self.put(format_args!("{value}"), Some((value as f32).to_le_bytes())),
            Datatype::Fp16 => self.put(format_args!("{value}"), Some(f16::from_f64(value).to_le_bytes())),
            Datatype::Bf16 => self.put(format_args!("{value}"), Some(bf16::from_f64(value).to_le_bytes())),
            _ => self.put(format_args!("{value}"), None::<[u8; 1]>),
        }
    }

    fn integer<E: serde::de::Error>(self, value: i128) -> Result<(), E> {
        fn narrow<T: TryFrom<i128>>(value: i128) -> Option<T> {
            T::try_from(value).ok()
        }
        let found = format_args!("{value}");
        match self.datatype {
            Datatype::Bool => {
                self.put(found, narrow::<u8>(value).filter(|value| *value <= 1).map(u8::to_le_bytes))
            }
            Datatype::Uint8 => self.put(found, narrow(value).map(u8::to_le_bytes)),
            Datatype::Uint16 => self.put(found, narrow(value).map(u16::to_le_bytes)),
            Datatype::Uint32 => self.put(found, narrow(value).map(u32::to_le_bytes)),
            Datatype::Uint64 => self.put(found, narrow(value).map(u64::to_le_bytes)),
            Datatype::Int8 => self.put(found, narrow(value).map(i8::to_le_bytes)),
            Datatype::Int16 => self.put(found, narrow(value).map(i16::to_le_bytes)),
            Datatype::Int32 => self.put(found, narrow(value).map(i32::to_le_bytes)),
            Datatype::Int64 => self.put(found, narrow(value).map(i64::to_le_bytes)),
            Datatype::Bytes => self.put(found, None::<[u8; 1]>),
            Datatype::Fp16 | Datatype::Fp32 | Datatype::Fp64 | Datatype::Bf16 => self.float(value as f64),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Elements<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Elements<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.expected())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let Self { datatype, bytes, .. } = self;
        while seq.next_element_seed(Elements { datatype, bytes: &mut *bytes, is_inside: true })?.is_some() {}
        Ok(())
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<(), E> {
        let element = (self.datatype == Datatype::Bool).then_some([u8::from(value)]);
        self.put(format_args!("{value}"), element)
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<(), E> {
        self.integer(value.into())
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<(), E> {
        self.integer(value.into())
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<(), E> {
        self.float(value)
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<(), E> {
        if self.datatype != Datatype::Bytes || !self.is_inside {
            return self.put(format_args!("{value:?}"), None::<[u8; 1]>);
        }
        let length = u32::try_from(value.len()).map_err(|_| E::custom("text longer than 4 GiB"))?;
        self.bytes.extend_from_slice(&length.to_le_bytes());
        self.bytes.extend_from_slice(value.as_bytes());
        Ok(())
    }
}

/// JSON `data`, flat, of the little-endian bytes of a tensor. What JSON can't say is an error: BYTES
/// that are not text (ask for binary data), while a number that is not finite becomes `null`.
pub fn encode(datatype: Datatype, bytes: &[u8]) -> Result<Box<RawValue>, String> {
    fn all<const N: usize, T: serde::Serialize>(
        bytes: &[u8],
        of: fn([u8; N]) -> T,
    ) -> serde_json::Result<Box<RawValue>> {
        let (elements, _) = bytes.as_chunks::<N>();
        serde_json::value::to_raw_value(&elements.iter().copied().map(of).collect::<Vec<T>>())
    }
    let encoded = match datatype {
        Datatype::Bool => all(bytes, |[element]: [u8; 1]| element != 0),
        Datatype::Uint8 => all(bytes, u8::from_le_bytes),
        Datatype::Uint16 => all(bytes, u16::from_le_bytes),
        Datatype::Uint32 => all(bytes, u32::from_le_bytes),
        Datatype::Uint64 => all(bytes, u64::from_le_bytes),
        Datatype::Int8 => all(bytes, i8::from_le_bytes),
        Datatype::Int16 => all(bytes, i16::from_le_bytes),
        Datatype::Int32 => all(bytes, i32::from_le_bytes),
        Datatype::Int64 => all(bytes, i64::from_le_bytes),
        Datatype::Fp16 => all(bytes, |element| f16::from_le_bytes(element).to_f32()),
        Datatype::Bf16 => all(bytes, |element| bf16::from_le_bytes(element).to_f32()),
        Datatype::Fp32 => all(bytes, f32::from_le_bytes),
        Datatype::Fp64 => all(bytes, f64::from_le_bytes),
        Datatype::Bytes => serde_json::value::to_raw_value(&texts(bytes)?),
    };
    encoded.map_err(|error| error.to_string())
}

/// The elements of a BYTES tensor, as text.
fn texts(mut bytes: &[u8]) -> Result<Vec<&str>, String> {
    let mut texts = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk() {
        let length = u32::from_le_bytes(*length) as usize;
        let (element, rest) = rest.split_at_checked(length).ok_or("BYTES data ends within an element")?;
        texts.push(str::from_utf8(element).map_err(|_| {
            format!(
                "element {} of BYTES is not UTF-8 text, which JSON can't carry; ask for binary_data",
                texts.len()
            )
        })?);
        bytes = rest;
    }
    Ok(texts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(text: &str) -> Box<RawValue> {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn flat_and_nested_arrays_are_the_same_tensor() {
        let flat = decode(Datatype::Int32, &raw("[1,2,3,4]")).unwrap();
        assert_eq!(decode(Datatype::Int32, &raw("[[1,2],[3,4]]")).unwrap(), flat);
        assert_eq!(encode(Datatype::Int32, &flat).unwrap().get(), "[1,2,3,4]");
    }

    #[test]
    fn every_datatype_comes_back_as_it_went_in() {
        for (datatype, text) in [
            (Datatype::Bool, "[true,false]"),
            (Datatype::Uint8, "[0,255]"),
            (Datatype::Uint16, "[65535]"),
            (Datatype::Uint32, "[4294967295]"),
            (Datatype::Uint64, "[18446744073709551615]"),
            (Datatype::Int8, "[-128,127]"),
            (Datatype::Int16, "[-32768]"),
            (Datatype::Int32, "[-2147483648]"),
            (Datatype::Int64, "[-9223372036854775808]"),
            (Datatype::Fp16, "[0.5,-2.0]"),
            (Datatype::Bf16, "[0.5,-2.0]"),
            (Datatype::Fp32, "[0.1,1e+30]"),
            (Datatype::Fp64, "[0.1,1e+300]"),
            (Datatype::Bytes, r#"["","héllo"]"#),
            (Datatype::Fp32, "[]"),
        ] {
            let bytes = decode(datatype, &raw(text)).unwrap();
            assert_eq!(encode(datatype, &bytes).unwrap().get(), text, "{datatype}");
        }
    }

    #[test]
    fn what_does_not_fit_says_what_was_found_and_expected() {
        let check = |datatype, text: &str, expected: &str| {
            let error = decode(datatype, &raw(text)).unwrap_err();
            assert!(error.starts_with(expected), "{error}");
        };
        check(Datatype::Uint8, "[256]", "256 found, expected UINT8 or an array of them");
        check(Datatype::Int32, "[1.5]", "1.5 found, expected INT32 or an array of them");
        check(Datatype::Fp32, r#"["x"]"#, r#""x" found, expected FP32 or an array of them"#);
        check(Datatype::Bytes, "[7]", "7 found, expected BYTES or an array of them");
        check(Datatype::Fp32, "7", "7 found, expected an array");
        check(Datatype::Fp32, r#"[{"a":1}]"#, "invalid type: map");
    }

    #[test]
    fn bytes_that_are_not_text_are_refused_in_json() {
        let error = encode(Datatype::Bytes, &[1, 0, 0, 0, 0xff]).unwrap_err();
        assert!(error.contains("ask for binary_data"), "{error}");
    }
}
