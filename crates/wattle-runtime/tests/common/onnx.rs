//! Writes ONNX files: just enough of the format for the tests' models.

use std::path::{Path, PathBuf};

use prost::Message;
use wattle_runtime::tensor::Datatype;

#[derive(Clone, PartialEq, Message)]
pub struct Model {
    #[prost(int64, tag = "1")]
    pub ir_version: i64,
    #[prost(message, optional, tag = "7")]
    pub graph: Option<Graph>,
    #[prost(message, repeated, tag = "8")]
    pub opset: Vec<Opset>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Opset {
    #[prost(string, tag = "1")]
    pub domain: String,
    #[prost(int64, tag = "2")]
    pub version: i64,
}

#[derive(Clone, PartialEq, Message)]
pub struct Graph {
    #[prost(message, repeated, tag = "1")]
    pub node: Vec<Node>,
    #[prost(string, tag = "2")]
    pub name: String,
    #[prost(message, repeated, tag = "5")]
    pub initializer: Vec<Weight>,
    #[prost(message, repeated, tag = "11")]
    pub input: Vec<Value>,
    #[prost(message, repeated, tag = "12")]
    pub output: Vec<Value>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Node {
    #[prost(string, repeated, tag = "1")]
    pub input: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    pub output: Vec<String>,
    #[prost(string, tag = "4")]
    pub op: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct Weight {
    #[prost(int64, repeated, packed = "false", tag = "1")]
    pub dims: Vec<i64>,
    #[prost(int32, tag = "2")]
    pub data_type: i32,
    #[prost(string, tag = "8")]
    pub name: String,
    #[prost(bytes = "vec", tag = "9")]
    pub raw_data: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Value {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(message, optional, tag = "2")]
    pub r#type: Option<Type>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Type {
    #[prost(message, optional, tag = "1")]
    pub tensor: Option<TensorType>,
}

#[derive(Clone, PartialEq, Message)]
pub struct TensorType {
    #[prost(int32, tag = "1")]
    pub elem_type: i32,
    #[prost(message, optional, tag = "2")]
    pub shape: Option<Shape>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Shape {
    #[prost(message, repeated, tag = "1")]
    pub dim: Vec<Dim>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Dim {
    #[prost(int64, optional, tag = "1")]
    pub value: Option<i64>,
    #[prost(string, optional, tag = "2")]
    pub param: Option<String>,
}

/// ONNX's number for a datatype.
pub fn elem_type(datatype: Datatype) -> i32 {
    match datatype {
        Datatype::Fp32 => 1,
        Datatype::Uint8 => 2,
        Datatype::Int8 => 3,
        Datatype::Uint16 => 4,
        Datatype::Int16 => 5,
        Datatype::Int32 => 6,
        Datatype::Int64 => 7,
        Datatype::Bytes => 8,
        Datatype::Bool => 9,
        Datatype::Fp16 => 10,
        Datatype::Fp64 => 11,
        Datatype::Uint32 => 12,
        Datatype::Uint64 => 13,
        Datatype::Bf16 => 16,
    }
}

/// A value of the graph; a negative size is a symbol.
pub fn value(name: &str, elem_type: i32, shape: &[i64]) -> Value {
    let dim = |&size: &i64| match size {
        0.. => Dim { value: Some(size), param: None },
        _ => Dim { value: None, param: Some("n".to_owned()) },
    };
    let shape = Shape { dim: shape.iter().map(dim).collect() };
    Value {
        name: name.to_owned(),
        r#type: Some(Type { tensor: Some(TensorType { elem_type, shape: Some(shape) }) }),
    }
}

pub fn weight(name: &str, dims: &[i64], elements: &[f32]) -> Weight {
    let raw_data = bytemuck::cast_slice(elements).to_vec();
    Weight { dims: dims.to_vec(), data_type: 1, name: name.to_owned(), raw_data }
}

pub fn node(op: &str, input: &[&str], output: &str) -> Node {
    let input = input.iter().map(|&name| name.to_owned()).collect();
    Node { input, output: vec![output.to_owned()], op: op.to_owned() }
}

pub fn model(graph: Graph) -> Model {
    Model { ir_version: 8, graph: Some(graph), opset: vec![Opset { domain: String::new(), version: 17 }] }
}

pub fn write(dir: &Path, name: &str, model: &Model) -> PathBuf {
    let path = dir.join(name);
    std::fs::write(&path, model.encode_to_vec()).unwrap();
    path
}

/// `y = x`, of any shape `[-1, 3]`.
pub fn identity(datatype: Datatype) -> Model {
    model(Graph {
        node: vec![node("Identity", &["x"], "y")],
        name: "identity".to_owned(),
        input: vec![value("x", elem_type(datatype), &[-1, 3])],
        output: vec![value("y", elem_type(datatype), &[-1, 3])],
        ..Graph::default()
    })
}

/// `sum = a + b`, `product = a * b`, on `[-1, 2]`.
pub fn arithmetic(datatype: Datatype) -> Model {
    let of = |name| value(name, elem_type(datatype), &[-1, 2]);
    model(Graph {
        node: vec![node("Add", &["a", "b"], "sum"), node("Mul", &["a", "b"], "product")],
        name: "arithmetic".to_owned(),
        input: vec![of("a"), of("b")],
        output: vec![of("sum"), of("product")],
        ..Graph::default()
    })
}

/// Width of `network`'s layers: wide enough that threads and file-backed weights are put to use.
pub const WIDTH: usize = 256;

/// `y = softmax(tanh(x · w1) · w2)`, on `[-1, WIDTH]`.
pub fn network() -> Model {
    let size = WIDTH as i64;
    let weights: Vec<f32> = super::noise(7, WIDTH * WIDTH).iter().map(|x| x / 8.0).collect();
    model(Graph {
        node: vec![
            node("MatMul", &["x", "w1"], "h"),
            node("Tanh", &["h"], "t"),
            node("MatMul", &["t", "w2"], "z"),
            node("Softmax", &["z"], "y"),
        ],
        name: "network".to_owned(),
        initializer: vec![weight("w1", &[size, size], &weights), weight("w2", &[size, size], &weights)],
        input: vec![value("x", 1, &[-1, size])],
        output: vec![value("y", 1, &[-1, size])],
    })
}
