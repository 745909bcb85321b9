"""Makes the model repository that the tests serve: small ONNX models, each with one purpose."""

import shutil
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
from onnx import TensorProto, helper

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "models"

# The protocol's datatypes, each with its type in ONNX and in numpy.
DATATYPES = {
    "BOOL": (TensorProto.BOOL, np.bool_),
    "UINT8": (TensorProto.UINT8, np.uint8),
    "UINT16": (TensorProto.UINT16, np.uint16),
    "UINT32": (TensorProto.UINT32, np.uint32),
    "UINT64": (TensorProto.UINT64, np.uint64),
    "INT8": (TensorProto.INT8, np.int8),
    "INT16": (TensorProto.INT16, np.int16),
    "INT32": (TensorProto.INT32, np.int32),
    "INT64": (TensorProto.INT64, np.int64),
    "FP16": (TensorProto.FLOAT16, np.float16),
    "FP32": (TensorProto.FLOAT, np.float32),
    "FP64": (TensorProto.DOUBLE, np.float64),
    "BYTES": (TensorProto.STRING, np.object_),
    "BF16": (TensorProto.BFLOAT16, ml_dtypes.bfloat16),
}

# What each runtime carries.
CARRIED = {
    "rten": ["BOOL", "UINT8", "INT8", "INT32", "INT64", "FP16", "FP32", "FP64"],
    "onnxruntime": list(DATATYPES),
}

# Side of the square matrix of the model `slow`.
SLOW = 512


def example(datatype, rows=2):
    """Values of `datatype` in `rows` rows of 3, the ends of its range among them."""
    numpy_type = DATATYPES[datatype][1]
    if datatype == "BOOL":
        one = [True, False, True]
    elif datatype == "BYTES":
        one = [b"", "h\u00e9llo".encode(), b"x" * 300]
    elif datatype in ("FP16", "BF16"):
        one = [0.5, -2.0, 0.0]
    elif datatype == "FP32":
        one = [0.5, -1e30, 3.14159]
    elif datatype == "FP64":
        one = [0.5, -2.0, 1e30]
    elif datatype == "INT64":
        one = [-(2**31), 2**31 - 1, 0]  # rten computes these as INT32
    else:
        info = np.iinfo(numpy_type)
        one = [info.min, info.max, 1]
    if datatype == "FP64":
        one = np.array(one, np.float32).astype(np.float64)  # rten computes these as FP32
    return np.array([one] * rows, dtype=numpy_type)


def make(folder, runtime):
    """Writes the repository of `runtime` into `folder`, the examples included."""
    shutil.copytree(EXAMPLES, folder)
    for datatype in CARRIED[runtime]:
        element = DATATYPES[datatype][0]
        identity = helper.make_node("Identity", ["x"], ["y"])
        save(folder, f"identity_{datatype}", [identity], {"x": (element, ["n", "m"])}, {"y": (element, ["n", "m"])})
    int32 = TensorProto.INT32
    two = {"INPUT0": (int32, ["n", 16]), "INPUT1": (int32, ["n", 16])}
    sums = [helper.make_node("Add", ["INPUT0", "INPUT1"], ["OUTPUT0"]), helper.make_node("Sub", ["INPUT0", "INPUT1"], ["OUTPUT1"])]
    answers = {"OUTPUT0": (int32, ["n", 16]), "OUTPUT1": (int32, ["n", 16])}
    save(folder, "sum_difference", sums, two, answers, pbtxt=SUM_DIFFERENCE)
    # The same, without a word of configuration.
    save(folder, "plain", sums, two, answers)
    save(folder, "comes_and_goes", sums, two, answers)

    fp32 = TensorProto.FLOAT
    turn = helper.make_node("Transpose", ["x"], ["y"], perm=[1, 0])
    save(folder, "transpose", [turn], {"x": (fp32, [2, 3])}, {"y": (fp32, [3, 2])})

    for version in (1, 2, 3):
        factor = helper.make_tensor("factor", fp32, [], [float(version)])
        times = helper.make_node("Mul", ["x", "factor"], ["y"])
        shape = (fp32, ["n", 3])
        save(folder, "times", [times], {"x": shape}, {"y": shape}, version=version, constants=[factor])
    write(folder / "times" / "model.toml", "[versions]\nspecific = [1, 3]\n")

    same = helper.make_node("Identity", ["x"], ["y"])
    shape = (fp32, ["n", 3])
    save(folder, "queued", [same], {"x": shape}, {"y": shape}, toml=QUEUED)

    products = [helper.make_node("MatMul", [f"x{i}" if i else "x", "x"], [f"x{i + 1}"]) for i in range(20)]
    products[-1].output[0] = "y"
    square = (fp32, [SLOW, SLOW])
    save(folder, "slow", products, {"x": square}, {"y": square}, toml=SLOW_TOML)

    broken = folder / "broken" / "1" / "model.onnx"
    broken.parent.mkdir(parents=True)
    broken.write_bytes(b"this is no ONNX file")


SUM_DIFFERENCE = """
platform: "onnxruntime_onnx"
max_batch_size: 8
input [
  { name: "INPUT0" data_type: TYPE_INT32 dims: [ 16 ] },
  { name: "INPUT1" data_type: TYPE_INT32 dims: [ 16 ] }
]
output [
  { name: "OUTPUT0" data_type: TYPE_INT32 dims: [ 16 ] },
  { name: "OUTPUT1" data_type: TYPE_INT32 dims: [ 16 ] }
]
dynamic_batching { }
"""

QUEUED = """
[batching]
max_batch_size = 4
max_queue_size = 2
priority_levels = 3
"""

SLOW_TOML = """
[batching]
max_batch_size = 0
max_queue_size = 1
[instances]
count = 1
"""


def save(folder, name, nodes, inputs, outputs, version=1, constants=(), toml=None, pbtxt=None):
    """One model: `inputs` and `outputs` map a name to its element type and its shape."""
    infos = lambda tensors: [helper.make_tensor_value_info(key, *spec) for key, spec in tensors.items()]
    graph = helper.make_graph(nodes, name, infos(inputs), infos(outputs), list(constants))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    path = folder / name / str(version) / "model.onnx"
    path.parent.mkdir(parents=True)
    onnx.save(model, path)
    if toml:
        write(folder / name / "model.toml", toml)
    if pbtxt:
        write(folder / name / "config.pbtxt", pbtxt)


def write(path, text):
    path.write_text(text)
