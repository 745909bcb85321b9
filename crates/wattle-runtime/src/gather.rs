//! Checks a batch against what the model asks for and lays its pieces one after another.
//!
//! The gather is the only copy a tensor sees on its way in; conversions a runtime needs happen in the
//! same pass. Knows no runtime.

use bytemuck::{AnyBitPattern, NoUninit, Pod};
use bytes::Bytes;

use crate::runtime::RuntimeError;
use crate::tensor::{BatchInput, Datatype, TensorSpec};

// Tensors travel little-endian and are read as they lie in memory.
const _: () = assert!(cfg!(target_endian = "little"), "Wattle runs on little-endian machines only");

/// Puts a batch into the model's order of inputs and checks names, datatypes, shapes and byte counts.
pub(crate) fn check(
    specs: &[TensorSpec],
    mut inputs: Vec<BatchInput>,
) -> Result<Vec<BatchInput>, RuntimeError> {
    let mut ordered = Vec::with_capacity(specs.len());
    for spec in specs {
        let Some(at) = inputs.iter().position(|input| input.name == spec.name) else {
            return Err(wrong(
                &spec.name,
                format!("is missing; the model needs {} {:?}", spec.datatype, spec.shape),
            ));
        };
        let input = inputs.swap_remove(at);
        check_one(spec, &input)?;
        ordered.push(input);
    }
    if let Some(extra) = inputs.first() {
        let known: Vec<_> = specs.iter().map(|spec| spec.name.as_str()).collect();
        return Err(wrong(
            &extra.name,
            format!("is not one of the model's inputs, once each: {}", known.join(", ")),
        ));
    }
    Ok(ordered)
}

fn check_one(spec: &TensorSpec, input: &BatchInput) -> Result<(), RuntimeError> {
    if input.datatype != spec.datatype {
        return Err(wrong(
            &spec.name,
            format!("is {}, but the model takes {}", input.datatype, spec.datatype),
        ));
    }
    let fits = input.shape.len() == spec.shape.len()
        && input
            .shape
            .iter()
            .zip(&spec.shape)
            .all(|(&found, &asked)| asked < 0 || i64::try_from(found) == Ok(asked));
    if !fits {
        return Err(wrong(
            &spec.name,
            format!("has shape {:?}, but the model takes {:?} (-1 is any size)", input.shape, spec.shape),
        ));
    }
    let elements = element_count(input)?;
    let Some(size) = input.datatype.element_size() else { return Ok(()) };
    let expected = elements.checked_mul(size).ok_or_else(|| too_large(input))?;
    if input.byte_len() != expected {
        return Err(wrong_bytes(input, format!("{expected} for {} {:?}", input.datatype, input.shape)));
    }
    match input.parts.iter().find(|part| part.len() % size != 0) {
        Some(part) => Err(RuntimeError::InputBytes {
            tensor: input.name.clone(),
            found: part.len(),
            expected: format!("a multiple of {size} in each request"),
        }),
        None => Ok(()),
    }
}

/// Elements the shape asks for.
fn element_count(input: &BatchInput) -> Result<usize, RuntimeError> {
    input.shape.iter().try_fold(1_usize, |all, &size| all.checked_mul(size)).ok_or_else(|| too_large(input))
}

/// All pieces as one aligned vector. `check` has passed.
pub(crate) fn gather<T: Pod>(input: &BatchInput) -> Vec<T> {
    let mut all = Vec::with_capacity(input.byte_len() / size_of::<T>());
    for part in &input.parts {
        match bytemuck::try_cast_slice(part) {
            Ok(elements) => all.extend_from_slice(elements),
            // A slice of a request body starts anywhere; such a piece is read element by element.
            Err(_) => all.extend(elements::<T>(part)),
        }
    }
    all
}

/// All pieces as one vector, each element converted on the way. `check` has passed.
pub(crate) fn gather_with<S: AnyBitPattern, T, E>(
    input: &BatchInput,
    convert: impl Fn(S) -> Result<T, E>,
) -> Result<Vec<T>, E> {
    let mut all = Vec::with_capacity(input.byte_len() / size_of::<S>());
    for part in &input.parts {
        for element in elements::<S>(part) {
            all.push(convert(element)?);
        }
    }
    Ok(all)
}

fn elements<T: AnyBitPattern>(part: &Bytes) -> impl Iterator<Item = T> + '_ {
    part.chunks_exact(size_of::<T>()).map(bytemuck::pod_read_unaligned)
}

/// The elements of a BYTES tensor, as slices of the request.
pub(crate) fn gather_bytes(input: &BatchInput) -> Result<Vec<Bytes>, RuntimeError> {
    let expected = element_count(input)?;
    let mut all = Vec::with_capacity(expected.min(input.byte_len() / 4));
    for part in &input.parts {
        let mut rest = part.clone();
        while !rest.is_empty() {
            let Some(length) = rest.first_chunk::<4>().map(|head| u32::from_le_bytes(*head) as usize) else {
                return Err(wrong_bytes(input, "four bytes of length before each element".to_owned()));
            };
            if rest.len() - 4 < length {
                return Err(wrong_bytes(input, format!("{length} bytes after a length that says so")));
            }
            let mut element = rest.split_to(4 + length);
            all.push(element.split_off(4));
        }
    }
    if all.len() != expected {
        return Err(wrong(
            &input.name,
            format!("has {} elements, but shape {:?} asks for {expected}", all.len(), input.shape),
        ));
    }
    Ok(all)
}

/// The bytes of a vector of numbers, without a copy.
pub(crate) fn into_bytes<T: NoUninit + Send + 'static>(elements: Vec<T>) -> Bytes {
    struct Elements<T>(Vec<T>);
    impl<T: NoUninit> AsRef<[u8]> for Elements<T> {
        fn as_ref(&self) -> &[u8] {
            bytemuck::cast_slice(&self.0)
        }
    }
    if elements.is_empty() { Bytes::new() } else { Bytes::from_owner(Elements(elements)) }
}

/// An error if one of these tensors is of a datatype the runtime can't carry.
pub(crate) fn require_datatypes(
    runtime: &'static str,
    tensors: &[TensorSpec],
    supported: &[Datatype],
) -> Result<(), RuntimeError> {
    match tensors.iter().find(|tensor| !supported.contains(&tensor.datatype)) {
        Some(tensor) => Err(RuntimeError::UnsupportedDatatype {
            runtime,
            tensor: tensor.name.clone(),
            datatype: tensor.datatype.to_string(),
            supported: supported.iter().map(|datatype| datatype.name()).collect::<Vec<_>>().join(", "),
        }),
        None => Ok(()),
    }
}

pub(crate) fn wrong(tensor: &str, detail: String) -> RuntimeError {
    RuntimeError::Input { tensor: tensor.to_owned(), detail }
}

fn wrong_bytes(input: &BatchInput, expected: String) -> RuntimeError {
    RuntimeError::InputBytes { tensor: input.name.clone(), found: input.byte_len(), expected }
}

fn too_large(input: &BatchInput) -> RuntimeError {
    wrong(&input.name, format!("has shape {:?}, more elements than this machine can address", input.shape))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(datatype: Datatype, shape: &[usize], parts: &[&[u8]]) -> BatchInput {
        let parts = parts.iter().map(|part| Bytes::copy_from_slice(part)).collect();
        BatchInput { name: "x".to_owned(), datatype, shape: shape.to_vec(), parts }
    }

    fn spec(datatype: Datatype, shape: &[i64]) -> TensorSpec {
        TensorSpec { name: "x".to_owned(), datatype, shape: shape.to_vec() }
    }

    #[test]
    fn unaligned_pieces_gather_like_aligned_ones() {
        let bytes = Bytes::from(vec![9, 1, 0, 0, 0, 2, 0, 0, 0]);
        let mut odd = input(Datatype::Int32, &[3], &[&[7, 0, 0, 0]]);
        odd.parts.push(bytes.slice(1..));
        assert_eq!(gather::<i32>(&odd), [7, 1, 2]);
    }

    #[test]
    fn wrong_inputs_are_named() {
        let float = spec(Datatype::Fp32, &[-1, 2]);
        let check = |given: Vec<BatchInput>| match check(std::slice::from_ref(&float), given) {
            Ok(_) => "fine".to_owned(),
            Err(error) => error.to_string(),
        };
        let zeros = [0; 16];
        assert_eq!(check(vec![input(Datatype::Fp32, &[2, 2], &[&zeros])]), "fine");
        assert_eq!(check(vec![input(Datatype::Fp32, &[0, 2], &[])]), "fine");
        assert_eq!(
            check(vec![input(Datatype::Fp32, &[2, 2], &[&zeros[..12]])]),
            "input x has 12 bytes, expected 16 for FP32 [2, 2]"
        );
        assert_eq!(
            check(vec![input(Datatype::Fp32, &[2, 2], &[&zeros[..7], &zeros[..9]])]),
            "input x has 7 bytes, expected a multiple of 4 in each request"
        );
        assert_eq!(
            check(vec![input(Datatype::Int64, &[1, 2], &[&zeros])]),
            "input x: is INT64, but the model takes FP32"
        );
        assert_eq!(
            check(vec![input(Datatype::Fp32, &[4], &[&zeros])]),
            "input x: has shape [4], but the model takes [-1, 2] (-1 is any size)"
        );
        assert_eq!(check(vec![]), "input x: is missing; the model needs FP32 [-1, 2]");
        let twice = input(Datatype::Fp32, &[2, 2], &[&zeros]);
        assert_eq!(
            check(vec![twice.clone(), twice]),
            "input x: is not one of the model's inputs, once each: x"
        );
        let huge = input(Datatype::Fp32, &[usize::MAX, 2], &[]);
        assert!(check(vec![huge]).contains("more elements than"));
    }

    #[test]
    fn bytes_elements_are_cut_at_their_lengths() {
        let good = input(Datatype::Bytes, &[3], &[b"\x02\0\0\0hi\0\0\0\0", b"\x01\0\0\0!"]);
        assert_eq!(gather_bytes(&good).unwrap(), ["hi", "", "!"].map(Bytes::from));
        for (bad, says) in [
            (input(Datatype::Bytes, &[1], &[b"\x02\0"]), "four bytes of length"),
            (input(Datatype::Bytes, &[1], &[b"\x09\0\0\0hi"]), "9 bytes after"),
            (input(Datatype::Bytes, &[2], &[b"\x02\0\0\0hi"]), "has 1 elements"),
        ] {
            assert!(gather_bytes(&bad).unwrap_err().to_string().contains(says));
        }
    }
}
