"""What goes over the wire in gRPC, asked with bare stubs: typed contents, health, limits, errors."""

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tritonclient.grpc import service_pb2 as messages
from tritonclient.grpc import service_pb2_grpc
from tritonclient.utils import serialize_byte_tensor

from model_repository import CARRIED, example

CONTENTS = {
    "BOOL": "bool_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}


@pytest.fixture(scope="module")
def stub(server):
    with grpc.insecure_channel(server.grpc) as channel:
        yield service_pb2_grpc.GRPCInferenceServiceStub(channel)


def tensor(name, datatype, shape, **contents):
    made = messages.ModelInferRequest().InferInputTensor(name=name, datatype=datatype, shape=shape)
    for key, values in contents.items():
        getattr(made.contents, key).extend(values)
    return made


def refused(stub, **request):
    with pytest.raises(grpc.RpcError) as error:
        stub.ModelInfer(messages.ModelInferRequest(**request))
    assert error.value.code() == grpc.StatusCode.INVALID_ARGUMENT, error.value
    return error.value.details()


def test_typed_contents_are_read_and_answers_are_raw(stub, runtime):
    for datatype in CARRIED[runtime]:
        if datatype not in CONTENTS:
            continue
        array = example(datatype)
        given = tensor("x", datatype, array.shape, **{CONTENTS[datatype]: array.flatten().tolist()})
        answer = stub.ModelInfer(messages.ModelInferRequest(model_name=f"identity_{datatype}", inputs=[given]))
        expected = serialize_byte_tensor(array).item() if datatype == "BYTES" else array.tobytes()
        assert list(answer.raw_output_contents) == [expected], datatype
        assert not answer.outputs[0].HasField("contents")


def test_half_precision_travels_only_raw(stub):
    text = refused(stub, model_name="identity_FP16", inputs=[tensor("x", "FP16", [1, 1], fp32_contents=[1])])
    assert "FP16, which the protocol carries only in raw_input_contents" in text
    raw = np.array([[0.5, -2]], np.float16).tobytes()
    request = messages.ModelInferRequest(model_name="identity_FP16", inputs=[tensor("x", "FP16", [1, 2])], raw_input_contents=[raw])
    assert stub.ModelInfer(request).raw_output_contents[0] == raw


def test_contents_that_do_not_fit_are_told_what_was_expected(stub):
    one = tensor("x", "INT8", [1, 1], int_contents=[200])
    assert "has 200 in its contents, which is out of range for INT8" in refused(stub, model_name="identity_INT8", inputs=[one])
    few = tensor("x", "FP32", [1, 3], fp32_contents=[1, 2])
    assert "8 bytes found, expected 12" in refused(stub, model_name="identity_FP32", inputs=[few])
    wrong_field = tensor("x", "FP32", [1, 1], fp64_contents=[1])
    assert "expected 4" in refused(stub, model_name="identity_FP32", inputs=[wrong_field])
    negative = tensor("x", "FP32", [-1, 1], fp32_contents=[1])
    assert "expected no negative size" in refused(stub, model_name="identity_FP32", inputs=[negative])
    unknown = tensor("x", "FLOAT", [1, 1], fp32_contents=[1])
    assert "datatype 'FLOAT', expected one of the protocol's" in refused(stub, model_name="identity_FP32", inputs=[unknown])
    both = dict(inputs=[tensor("x", "FP32", [1, 1], fp32_contents=[1])], raw_input_contents=[bytes(4)])
    assert "both contents and raw_input_contents, expected one" in refused(stub, model_name="identity_FP32", **both)
    two_raw = dict(inputs=[tensor("x", "FP32", [1, 1])], raw_input_contents=[bytes(4), bytes(4)])
    assert "has 2 entries for 1 inputs, expected one for each" in refused(stub, model_name="identity_FP32", **two_raw)
    short = dict(inputs=[tensor("x", "FP32", [1, 1])], raw_input_contents=[bytes(3)])
    assert "expected 4" in refused(stub, model_name="identity_FP32", **short)


def test_bytes_shorter_than_they_say_are_refused(stub, runtime):
    if runtime == "rten":
        pytest.skip("rten carries no BYTES")
    given = dict(inputs=[tensor("x", "BYTES", [1, 1])], raw_input_contents=[b"\x09\x00\x00\x00abc"])
    assert "ends within element 0" in refused(stub, model_name="identity_BYTES", **given)


def test_parameters_of_the_wrong_type_are_told_what_was_expected(stub):
    one = tensor("x", "FP32", [1, 1], fp32_contents=[1])
    for key, value, text in [
        ("priority", messages.InferParameter(string_param="high"), "expected a whole number"),
        ("timeout", messages.InferParameter(int64_param=-1), "expected a whole number"),
        ("wattle_energy", messages.InferParameter(int64_param=1), "expected true or false"),
    ]:
        text_found = refused(stub, model_name="identity_FP32", inputs=[one], parameters={key: value})
        assert f"parameter '{key}'" in text_found and text in text_found


def test_the_standard_health_service_answers(server):
    with grpc.insecure_channel(server.grpc) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        for service in ("", "inference.GRPCInferenceService"):
            answer = health.Check(health_pb2.HealthCheckRequest(service=service))
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        with pytest.raises(grpc.RpcError) as error:
            health.Check(health_pb2.HealthCheckRequest(service="other"))
        assert error.value.code() == grpc.StatusCode.NOT_FOUND


def test_messages_over_the_limit_are_refused(small_server):
    with grpc.insecure_channel(small_server.grpc) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        request = lambda size: messages.ModelInferRequest(
            model_name="identity_FP32", inputs=[tensor("x", "FP32", [1, size])], raw_input_contents=[bytes(4 * size)]
        )
        with pytest.raises(grpc.RpcError) as error:
            stub.ModelInfer(request(3000))
        assert error.value.code() in (grpc.StatusCode.OUT_OF_RANGE, grpc.StatusCode.RESOURCE_EXHAUSTED)
        assert "4096" in error.value.details()
        assert len(stub.ModelInfer(request(900)).raw_output_contents[0]) == 3600


def test_answers_larger_than_four_mebibytes_arrive(server):
    options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    with grpc.insecure_channel(server.grpc, options) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        array = np.arange(3 << 20, dtype=np.float32).reshape(1, -1)
        request = messages.ModelInferRequest(
            model_name="identity_FP32", inputs=[tensor("x", "FP32", array.shape)], raw_input_contents=[array.tobytes()]
        )
        assert stub.ModelInfer(request).raw_output_contents[0] == array.tobytes()


@pytest.mark.parametrize("compression", [grpc.Compression.Gzip, grpc.Compression.Deflate])
def test_compressed_calls_are_answered(server, compression):
    with grpc.insecure_channel(server.grpc, compression=compression) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        raw = bytes(40000)
        request = messages.ModelInferRequest(
            model_name="identity_FP32", inputs=[tensor("x", "FP32", [1, 10000])], raw_input_contents=[raw]
        )
        assert stub.ModelInfer(request).raw_output_contents[0] == raw


def test_calls_that_are_not_served_say_so(stub):
    with pytest.raises(grpc.RpcError) as error:
        stub.SystemSharedMemoryStatus(messages.SystemSharedMemoryStatusRequest())
    assert error.value.code() == grpc.StatusCode.UNIMPLEMENTED
