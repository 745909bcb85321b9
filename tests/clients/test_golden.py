"""The JSON of answers, compared with files. WRITE_GOLDEN=1 writes them anew: read the difference."""

import json
import os
import re
from pathlib import Path

import pytest

GOLDEN = Path(__file__).parent / "golden"

ASKED = {
    "server_metadata": ("GET", "/v2", None),
    "model_metadata": ("GET", "/v2/models/times", None),
    "model_config_from_pbtxt": ("GET", "/v2/models/sum_difference/config", None),
    "model_config_from_nothing": ("GET", "/v2/models/plain/config", None),
    "infer": ("POST", "/v2/models/times/infer", {"id": "1", "inputs": [{"name": "x", "shape": [2, 3], "datatype": "FP32", "data": [1, 2, 3, 4, 5, 6]}]}),
    "error_unknown_version": ("GET", "/v2/models/times/versions/2", None),
    "error_shape": ("POST", "/v2/models/times/infer", {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}]}),
    "error_datatype": ("POST", "/v2/models/times/infer", {"inputs": [{"name": "x", "shape": [1, 3], "datatype": "INT32", "data": [1, 2, 3]}]}),
    "error_missing_input": ("POST", "/v2/models/plain/infer", {"inputs": []}),
    "error_not_found": ("GET", "/nothing", None),
    "error_method": ("GET", "/v2/models/times/infer", None),
}


@pytest.mark.parametrize("name", ASKED)
def test_the_answer_is_the_one_on_file(server, runtime, name):
    if runtime != "rten":
        pytest.skip("one runtime will do: the configuration names it")
    status, _, text = server.ask(*ASKED[name])
    answer = {"status": status, "body": json.loads(text)}
    if name == "server_metadata":
        assert re.fullmatch(r"\d+\.\d+\.\d+\S*", answer["body"]["version"])
        answer["body"]["version"] = "X.Y.Z"
    path = GOLDEN / f"{name}.json"
    if os.environ.get("WRITE_GOLDEN"):
        path.write_text(json.dumps(answer, indent=2, sort_keys=True) + "\n")
    assert answer == json.loads(path.read_text())
