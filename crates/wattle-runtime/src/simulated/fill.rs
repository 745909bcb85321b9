//! Makes up answers whose every row tells which input row it answers.

use bytes::{BufMut, Bytes, BytesMut};
use half::{bf16, f16};

use crate::gather::{gather, gather_bytes};
use crate::runtime::RuntimeError;
use crate::tensor::{BatchInput, Datatype, Tensor, TensorSpec};

/// One input of the batch, cut into elements of fixed size or, for BYTES, of any size.
enum Elements {
    Fixed(Vec<u8>),
    Strings(Vec<Bytes>),
}

struct Input {
    datatype: Datatype,
    elements: Elements,
}

/// Every output, by the rule that the simulated runtime states.
pub(super) fn outputs(
    specs: &[TensorSpec],
    inputs: &[BatchInput],
    rows: usize,
) -> Result<Vec<Tensor>, RuntimeError> {
    let read = |input: &BatchInput| -> Result<Input, RuntimeError> {
        let elements = match input.datatype {
            Datatype::Bytes => Elements::Strings(gather_bytes(input)?),
            _ => Elements::Fixed(gather(input)),
        };
        Ok(Input { datatype: input.datatype, elements })
    };
    let inputs = inputs.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    Ok(specs.iter().map(|spec| output(spec, &inputs, rows)).collect())
}

fn output(spec: &TensorSpec, inputs: &[Input], rows: usize) -> Tensor {
    let open = |at: usize| if at == 0 { rows } else { 1 };
    let shape: Vec<usize> = spec
        .shape
        .iter()
        .enumerate()
        .map(|(at, &size)| usize::try_from(size).unwrap_or_else(|_| open(at)))
        .collect();
    // An output that keeps its size whatever the batch is one answer to the whole of it.
    let rows = if spec.shape.first() == Some(&-1) { rows } else { 1 };
    let count = shape.iter().product::<usize>() / rows.max(1);

    let like = inputs.iter().find(|input| input.datatype == spec.datatype);
    let mut data = BytesMut::new();
    for row in 0..rows {
        match like.map(|input| input.elements.row(row, rows)) {
            Some(Row::Fixed(bytes)) if !bytes.is_empty() => {
                let wanted = count * spec.datatype.element_size().unwrap_or(1);
                data.extend(bytes.iter().cycle().take(wanted));
            }
            Some(Row::Strings(strings)) if !strings.is_empty() => {
                strings.iter().cycle().take(count).for_each(|string| put_string(&mut data, string));
            }
            _ => {
                let number = number_of(inputs, row, rows);
                (0..count).for_each(|_| put_number(&mut data, spec.datatype, number));
            }
        }
    }
    Tensor { name: spec.name.clone(), datatype: spec.datatype, shape, data: data.freeze() }
}

enum Row<'a> {
    Fixed(&'a [u8]),
    Strings(&'a [Bytes]),
}

impl Elements {
    fn row(&self, row: usize, rows: usize) -> Row<'_> {
        match self {
            Self::Fixed(bytes) => Row::Fixed(nth(bytes, row, rows)),
            Self::Strings(strings) => Row::Strings(nth(strings, row, rows)),
        }
    }
}

fn nth<T>(all: &[T], row: usize, rows: usize) -> &[T] {
    let size = all.len() / rows;
    &all[row * size..(row + 1) * size]
}

/// A number from 0 to 99 that the row's bytes give: FNV-1a over all inputs.
fn number_of(inputs: &[Input], row: usize, rows: usize) -> u8 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut add = |bytes: &[u8]| {
        for byte in bytes {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    };
    for input in inputs {
        match input.elements.row(row, rows) {
            Row::Fixed(bytes) => add(bytes),
            Row::Strings(strings) => strings.iter().for_each(|string| add(string)),
        }
    }
    (hash % 100) as u8
}

fn put_number(data: &mut BytesMut, datatype: Datatype, number: u8) {
    match datatype {
        Datatype::Bool => data.put_u8(number % 2),
        Datatype::Uint8 | Datatype::Int8 => data.put_u8(number),
        Datatype::Uint16 | Datatype::Int16 => data.put_u16_le(number.into()),
        Datatype::Uint32 | Datatype::Int32 => data.put_u32_le(number.into()),
        Datatype::Uint64 | Datatype::Int64 => data.put_u64_le(number.into()),
        Datatype::Fp16 => data.put_u16_le(f16::from_f32(number.into()).to_bits()),
        Datatype::Bf16 => data.put_u16_le(bf16::from_f32(number.into()).to_bits()),
        Datatype::Fp32 => data.put_f32_le(number.into()),
        Datatype::Fp64 => data.put_f64_le(number.into()),
        Datatype::Bytes => put_string(data, number.to_string().as_bytes()),
    }
}

fn put_string(data: &mut BytesMut, string: &[u8]) {
    data.put_u32_le(string.len() as u32); // it came with a length of 32 bits, or has two digits
    data.put_slice(string);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(datatype: Datatype, shape: &[usize], bytes: &'static [u8]) -> BatchInput {
        let parts = vec![Bytes::from_static(bytes)];
        BatchInput { name: "x".to_owned(), datatype, shape: shape.to_vec(), parts }
    }

    fn fill(datatype: Datatype, shape: &[i64], inputs: &[BatchInput], rows: usize) -> Tensor {
        let spec = TensorSpec { name: "y".to_owned(), datatype, shape: shape.to_vec() };
        outputs(&[spec], inputs, rows).unwrap().remove(0)
    }

    #[test]
    fn rows_repeat_their_own_input() {
        let x = input(Datatype::Uint8, &[2, 2], &[1, 2, 3, 4]);
        let y = fill(Datatype::Uint8, &[-1, 3, -1], std::slice::from_ref(&x), 2);
        assert_eq!((y.shape, &y.data[..]), (vec![2, 3, 1], &[1, 2, 1, 3, 4, 3][..]));

        let strings = input(Datatype::Bytes, &[2, 1], b"\x01\0\0\0a\x02\0\0\0bc");
        let y = fill(Datatype::Bytes, &[-1, 1], &[x, strings], 2);
        assert_eq!(&y.data[..], b"\x01\0\0\0a\x02\0\0\0bc");
    }

    #[test]
    fn other_datatypes_get_a_number_that_is_the_row_s_alone() {
        let x = input(Datatype::Uint8, &[3, 2], &[1, 2, 3, 4, 1, 2]);
        for datatype in Datatype::ALL.into_iter().filter(|datatype| *datatype != Datatype::Uint8) {
            let y = fill(datatype, &[-1, 1], std::slice::from_ref(&x), 3);
            let alone = fill(datatype, &[-1, 1], &[input(Datatype::Uint8, &[1, 2], &[1, 2])], 1);
            assert!(y.data.starts_with(&alone.data) && y.data.ends_with(&alone.data), "{datatype}");
        }
    }

    #[test]
    fn answers_without_a_batch_have_one_row() {
        let x = input(Datatype::Uint8, &[2], &[7, 8]);
        let y = fill(Datatype::Uint8, &[3], &[x], 1);
        assert_eq!((y.shape, &y.data[..]), (vec![3], &[7, 8, 7][..]));
        let none = fill(Datatype::Fp32, &[-1, 4], &[input(Datatype::Fp32, &[0, 4], &[])], 0);
        assert_eq!((none.shape, none.data.len()), (vec![0, 4], 0));
    }
}
