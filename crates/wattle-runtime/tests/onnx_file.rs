//! What an ONNX file says of itself, read without a runtime.

mod common;

use common::onnx::{self, Graph, value, weight};
use tempfile::tempdir;
use wattle_runtime::onnx_file::read;
use wattle_runtime::tensor::Datatype;

#[test]
fn weights_listed_as_inputs_are_not_inputs() {
    let dir = tempdir().unwrap();
    let mut model = onnx::network();
    let graph = model.graph.as_mut().unwrap();
    graph.input.insert(0, value("w1", 1, &[256, 256]));
    // Far more than the reader's window, so that it must seek.
    graph.initializer.insert(0, weight("big", &[1 << 20], &vec![0.5; 1 << 20]));
    let file = read(&onnx::write(dir.path(), "old.onnx", &model)).unwrap();
    assert_eq!(file.inputs.iter().map(|input| input.name.as_str()).collect::<Vec<_>>(), ["x"]);
    assert_eq!(file.inputs[0].shape, [-1, 256]);
    assert_eq!((file.ir_version, file.opset), (8, Some(17)));
    assert_eq!(file.outputs[0].name, "y");
}

#[test]
fn every_datatype_is_known() {
    let dir = tempdir().unwrap();
    for datatype in Datatype::ALL {
        let file = read(&onnx::write(dir.path(), "a.onnx", &onnx::identity(datatype))).unwrap();
        assert_eq!((file.inputs[0].datatype, file.outputs[0].datatype), (datatype, datatype));
    }
}

#[test]
fn what_cannot_be_served_is_named() {
    let dir = tempdir().unwrap();
    let check = |graph: Graph, says: &str| {
        let error = read(&onnx::write(dir.path(), "bad.onnx", &onnx::model(graph))).unwrap_err().to_string();
        assert!(error.contains("bad.onnx") && error.contains(says), "{error}");
    };
    let plain = || onnx::identity(Datatype::Fp32).graph.unwrap();
    check(Graph { input: vec![value("c", 14, &[1])], ..plain() }, "tensor c is COMPLEX64");
    check(Graph { input: vec![value("q", 22, &[1])], ..plain() }, "tensor q is INT4");
    check(
        Graph { output: vec![onnx::Value { name: "s".to_owned(), r#type: None }], ..plain() },
        "s is not a tensor",
    );
    check(Graph::default(), "holds no graph");
    let mut shapeless = plain();
    shapeless.input[0].r#type.as_mut().unwrap().tensor.as_mut().unwrap().shape = None;
    check(shapeless, "input x has no shape");

    let mut open = plain();
    open.output[0].r#type.as_mut().unwrap().tensor.as_mut().unwrap().shape = None;
    let file = read(&onnx::write(dir.path(), "open.onnx", &onnx::model(open))).unwrap();
    assert_eq!(file.outputs[0].shape, [-1]);
}

#[test]
fn cut_file_is_refused() {
    let dir = tempdir().unwrap();
    let path = onnx::write(dir.path(), "cut.onnx", &onnx::network());
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    let error = read(&path).unwrap_err().to_string();
    assert!(error.contains("it is not an ONNX model"), "{error}");
    assert!(read(dir.path()).unwrap_err().to_string().contains("failed to read ONNX file"));
}
