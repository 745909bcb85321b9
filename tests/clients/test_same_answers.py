"""One request, said in every way there is, has one answer."""

import json

import grpc
import numpy as np
from tritonclient.grpc import service_pb2 as messages
from tritonclient.grpc import service_pb2_grpc


def inputs_of(server, model):
    _, _, text = server.ask("GET", f"/v2/models/{model}")
    shape = lambda tensor: [2 if size == -1 else size for size in tensor["shape"]]
    random = np.random.default_rng(5)
    types = {"FP32": np.float32, "INT32": np.int32}
    tensors = json.loads(text)["inputs"]
    return {one["name"]: (random.integers(0, 9, shape(one)).astype(types[one["datatype"]]), one["datatype"]) for one in tensors}


def over_http(server, model, given, binary):
    tensors, tail = [], b""
    for name, (array, datatype) in given.items():
        tensors.append({"name": name, "shape": list(array.shape), "datatype": datatype})
        if binary:
            tensors[-1]["parameters"] = {"binary_data_size": array.nbytes}
            tail += array.tobytes()
        else:
            tensors[-1]["data"] = array.tolist()
    header = json.dumps({"inputs": tensors, "parameters": {"binary_data_output": binary}}).encode()
    headers = {"Inference-Header-Content-Length": str(len(header))}
    status, head, body = server.ask("POST", f"/v2/models/{model}/infer", header + tail, headers)
    assert status == 200, body
    length = int(head.get("Inference-Header-Content-Length", len(body)))
    at, answers = length, {}
    for output in json.loads(body[:length])["outputs"]:
        numpy_type = {"FP32": np.float32, "INT32": np.int32, "INT64": np.int64}[output["datatype"]]
        if binary:
            size = output["parameters"]["binary_data_size"]
            array = np.frombuffer(body[at : at + size], numpy_type)
            at += size
        else:
            array = np.array(output["data"], numpy_type)
        answers[output["name"]] = (output["datatype"], tuple(output["shape"]), array.tobytes())
    return answers


def over_grpc(server, model, given, typed):
    request = messages.ModelInferRequest(model_name=model)
    for name, (array, datatype) in given.items():
        tensor = request.inputs.add(name=name, datatype=datatype, shape=array.shape)
        if typed:
            field = {"FP32": "fp32_contents", "INT32": "int_contents"}[datatype]
            getattr(tensor.contents, field).extend(array.flatten().tolist())
        else:
            request.raw_input_contents.append(array.tobytes())
    with grpc.insecure_channel(server.grpc) as channel:
        answer = service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer(request)
    pairs = zip(answer.outputs, answer.raw_output_contents)
    return {output.name: (output.datatype, tuple(output.shape), raw) for output, raw in pairs}


def test_json_binary_raw_and_typed_give_the_same_bytes(server):
    for model in ("sum_difference", "transpose", "times", "digits-xs", "digits-m"):
        given = inputs_of(server, model)
        expected = over_http(server, model, given, binary=True)
        assert over_http(server, model, given, binary=False) == expected, model
        assert over_grpc(server, model, given, typed=False) == expected, model
        assert over_grpc(server, model, given, typed=True) == expected, model
