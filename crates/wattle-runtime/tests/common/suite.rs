//! What every runtime that computes must do, whichever it is.

use std::path::Path;

use bytes::Bytes;
use half::{bf16, f16};
use wattle_runtime::runtime::{LoadedModel, Runtime};
use wattle_runtime::tensor::Datatype;

use super::onnx::{self, WIDTH};
use super::{assert_close, batch, bytes_of, floats, noise, source};

/// Three elements of a datatype.
pub fn sample(datatype: Datatype) -> Bytes {
    match datatype {
        Datatype::Bool => bytes_of(&[1_u8, 0, 1]),
        Datatype::Uint8 => bytes_of(&[0_u8, 1, u8::MAX]),
        Datatype::Uint16 => bytes_of(&[0_u16, 1, u16::MAX]),
        Datatype::Uint32 => bytes_of(&[0_u32, 1, u32::MAX]),
        Datatype::Uint64 => bytes_of(&[0_u64, 1, u64::MAX]),
        Datatype::Int8 => bytes_of(&[i8::MIN, -1, i8::MAX]),
        Datatype::Int16 => bytes_of(&[i16::MIN, -1, i16::MAX]),
        Datatype::Int32 => bytes_of(&[i32::MIN, -1, i32::MAX]),
        // Within what every runtime carries.
        Datatype::Int64 => bytes_of(&[i64::from(i32::MIN), -1, i64::from(i32::MAX)]),
        Datatype::Fp16 => bytes_of(&[0.5, -2.0, 65504.0].map(f16::from_f32)),
        Datatype::Bf16 => bytes_of(&[0.5, -2.0, 1e30].map(bf16::from_f32)),
        Datatype::Fp32 => bytes_of(&[0.5_f32, -2.0, 1e30]),
        Datatype::Fp64 => bytes_of(&[0.5_f64, -2.0, 1024.25]),
        Datatype::Bytes => Bytes::from_static(b"\x02\0\0\0hi\0\0\0\0\x03\0\0\0\xe2\x98\x80"),
    }
}

/// Every supported datatype comes back as it went in, from any number of parts, also from none.
pub fn datatypes_round_trip(runtime: &dyn Runtime, dir: &Path, supported: &[Datatype]) {
    for &datatype in supported {
        let path = onnx::write(dir, &format!("identity_{datatype}.onnx"), &onnx::identity(datatype));
        let model = runtime.load(&source(&path)).unwrap();
        assert_eq!(model.inputs()[0].datatype, datatype);
        let mut instance = model.instance().unwrap();
        let one = sample(datatype);
        for rows in [1, 2, 5] {
            let given = batch("x", datatype, &[rows, 3], &vec![one.clone(); rows]);
            let answer = instance.infer(vec![given], 1).unwrap();
            assert_eq!(answer.len(), 1);
            assert_eq!((answer[0].name.as_str(), answer[0].datatype), ("y", datatype));
            assert_eq!(answer[0].shape, [rows, 3]);
            assert_eq!(answer[0].data, one.repeat(rows), "{datatype} {rows} rows");
        }
        // No rows at all: an empty answer or a clean refusal, never a panic.
        if let Ok(answer) = instance.infer(vec![batch("x", datatype, &[0, 3], &[])], 1) {
            assert_eq!(
                (answer[0].shape.as_slice(), answer[0].data.len()),
                ([0, 3].as_slice(), 0),
                "{datatype}"
            );
        }
    }
}

/// Datatypes the runtime can't carry are refused when a model is loaded, by name.
pub fn other_datatypes_are_refused(runtime: &dyn Runtime, dir: &Path, supported: &[Datatype]) {
    for datatype in Datatype::ALL.into_iter().filter(|datatype| !supported.contains(datatype)) {
        let path = onnx::write(dir, &format!("refused_{datatype}.onnx"), &onnx::identity(datatype));
        let says = runtime.load(&source(&path)).err().unwrap().to_string();
        assert!(says.contains(&format!("tensor x is {datatype}")), "{says}");
    }
}

/// Two inputs in any order give two outputs in the model's order.
pub fn inputs_and_outputs_keep_their_names(runtime: &dyn Runtime, dir: &Path) {
    let path = onnx::write(dir, "arithmetic.onnx", &onnx::arithmetic(Datatype::Fp32));
    let mut instance = runtime.load(&source(&path)).unwrap().instance().unwrap();
    let a = batch("a", Datatype::Fp32, &[1, 2], &[bytes_of(&[3.0_f32, 5.0])]);
    let b = batch("b", Datatype::Fp32, &[1, 2], &[bytes_of(&[2.0_f32, -1.0])]);
    for given in [vec![a.clone(), b.clone()], vec![b, a]] {
        let answer = instance.infer(given, 1).unwrap();
        assert_eq!((answer[0].name.as_str(), floats(&answer[0])), ("sum", vec![5.0, 4.0]));
        assert_eq!((answer[1].name.as_str(), floats(&answer[1])), ("product", vec![6.0, -5.0]));
    }
}

/// A batch of parts answers as each part does alone.
pub fn batch_answers_as_its_parts(model: &dyn LoadedModel) {
    let mut instance = model.instance().unwrap();
    let input = &model.inputs()[0];
    let row_shape: Vec<usize> = input.shape[1..].iter().map(|&size| size.try_into().unwrap()).collect();
    let row: usize = row_shape.iter().product();
    let shape = |rows: usize| [vec![rows], row_shape.clone()].concat();

    let rows = [1, 3, 2, 1];
    let parts: Vec<Bytes> =
        rows.iter().enumerate().map(|(seed, rows)| bytes_of(&noise(seed as u32, rows * row))).collect();
    let total = rows.iter().sum();
    let together =
        instance.infer(vec![batch(&input.name, Datatype::Fp32, &shape(total), &parts)], 1).unwrap();
    let mut alone = Vec::new();
    for (part, rows) in parts.iter().zip(rows) {
        let given = batch(&input.name, Datatype::Fp32, &shape(rows), std::slice::from_ref(part));
        alone.extend(floats(&instance.infer(vec![given], 1).unwrap()[0]));
    }
    assert_close(&floats(&together[0]), &alone, "batch and parts");
}

/// Another count of cores, at any time, changes no answer. `each` runs after every batch.
pub fn cores_change_no_answer(runtime: &dyn Runtime, dir: &Path, each: impl Fn()) {
    let path = onnx::write(dir, "network.onnx", &onnx::network());
    let mut instance = runtime.load(&source(&path)).unwrap().instance().unwrap();
    let rows = 8;
    let given = batch("x", Datatype::Fp32, &[rows, WIDTH], &[bytes_of(&noise(3, rows * WIDTH))]);
    let expected = floats(&instance.infer(vec![given.clone()], 1).unwrap()[0]);
    let sum: f32 = expected[..WIDTH].iter().sum();
    assert!((sum - 1.0).abs() < 1e-4, "a softmax row sums to {sum}");
    for cores in [2, 2, 2, 3, 2, 2, 1, 1, 2, 0, 4, 4, 4, 4, 5, 6, 7, 2] {
        let answer = instance.infer(vec![given.clone()], cores).unwrap();
        assert_close(&floats(&answer[0]), &expected, &format!("{cores} cores"));
        each();
    }
}

/// Bad batches are refused with the input's name, and the next good one is answered.
pub fn bad_batches_are_refused(runtime: &dyn Runtime, dir: &Path) {
    let path = onnx::write(dir, "refusing.onnx", &onnx::identity(Datatype::Fp32));
    let mut instance = runtime.load(&source(&path)).unwrap().instance().unwrap();
    let twelve = Bytes::from_static(&[0; 12]);
    for (given, says) in [
        (
            batch("x", Datatype::Fp32, &[2, 3], std::slice::from_ref(&twelve)),
            "input x has 12 bytes, expected 24",
        ),
        (batch("x", Datatype::Fp32, &[1, 4], std::slice::from_ref(&twelve)), "input x: has shape [1, 4]"),
        (batch("x", Datatype::Int32, &[1, 3], std::slice::from_ref(&twelve)), "input x: is INT32"),
        (batch("z", Datatype::Fp32, &[1, 3], std::slice::from_ref(&twelve)), "input x: is missing"),
    ] {
        let error = instance.infer(vec![given], 1).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
    instance.infer(vec![batch("x", Datatype::Fp32, &[1, 3], &[twelve])], 1).unwrap();
}

/// Files that are no models are refused with the file's name.
pub fn bad_files_are_refused(runtime: &dyn Runtime, dir: &Path) {
    let mut unknown = onnx::identity(Datatype::Fp32);
    unknown.graph.as_mut().unwrap().node[0].op = "NoSuchOperator".to_owned();
    let pointer = dir.join("pointer.onnx");
    std::fs::write(&pointer, "version 1\noid sha256:0\nsize 7\n").unwrap();
    for path in [dir.join("absent.onnx"), pointer, onnx::write(dir, "unknown.onnx", &unknown)] {
        let says = runtime.load(&source(&path)).err().unwrap().to_string();
        assert!(says.contains(path.to_str().unwrap()), "{says}");
    }
}
