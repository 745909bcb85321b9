"""Train the bundled family of handwritten-digit classifiers.

Four residual CNNs of rising cost share one recipe, which gives a server a real trade
between energy and accuracy to make. The script writes, beside itself:

    models/digits-{xs,s,m,l}/1/model.onnx   the networks
    models/digits-{xs,s,m,l}/model.toml     their serving configuration
    digits-test.csv                         the held-out images
    digits-accuracy.csv                     size, cost and accuracy of each network

With --check it retrains into a temporary folder and compares.
"""

import argparse
import csv
import sys
import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import onnx
import onnxruntime
import optax
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

# (width, depth): channels of every map, and residual 3x3 convolutions after the stem.
# Nothing pools before the end, so depth is what widens the receptive field.
SIZES = {"xs": (26, 2), "s": (50, 2), "m": (68, 3), "l": (88, 6)}

MODEL_FILE = "models/{}/1/model.onnx"
TEST_FILE = "digits-test.csv"
ACCURACY_FILE = "digits-accuracy.csv"
SIDE = 8
CLASSES = 10
PIXEL_MAX = 16
TEST_IMAGES = 899
VALIDATION_IMAGES = 90
SEED = 1797
EPOCHS = 60
BATCH = 32
LEARNING_RATE = 3e-3
WEIGHT_DECAY = 0.3
CLIP_NORM = 1.0
WARMUP_STEPS = 150
# The same network through two engines, both in 32-bit floats.
EXPORT_TOLERANCE = 1e-3
# Another processor sums in another order, and training amplifies the difference.
WEIGHT_TOLERANCE = 1e-3
LOGIT_TOLERANCE = 1e-2
ACCURACY_TOLERANCE = 0.005


def load_split():
    """Return (train, validation, test), each a pair (images, labels).

    The validation slice comes out of the training half and is only reported; nothing
    in training reads the test half.
    """
    digits = load_digits()
    images, labels = digits.images.astype(np.int64), digits.target

    def split(part, size):
        return train_test_split(part, test_size=size, stratify=labels[part], random_state=SEED)

    rest, test = split(np.arange(len(labels)), TEST_IMAGES)
    train, validation = split(rest, VALIDATION_IMAGES)
    return [(images[part], labels[part]) for part in (train, validation, test)]


def initialise(rng, width, depth):
    """Draw the parameters of one network: a list of (weight, bias), stem to head.

    Residual branches start smaller the deeper the network is, which keeps the sum
    of the branches at the scale of the stem without normalisation layers.
    """

    def layer(shape, scale):
        return rng.normal(0, scale, shape), np.zeros(shape[-1])

    stem = layer((3, 3, 1, width), np.sqrt(2 / 9))
    body = [layer((3, 3, width, width), np.sqrt(2 / (9 * width * depth))) for _ in range(depth)]
    return [stem, *body, layer((width, CLASSES), width**-0.5)]


def convolve(maps, weight, bias):
    """A 3x3 convolution that keeps the map size, as one product over shifted copies.

    On a CPU XLA runs that many times faster than the gradient of its own convolution.
    """
    padded = jnp.pad(maps, ((0, 0), (1, 1), (1, 1), (0, 0)))
    shifted = [padded[:, r : r + SIDE, c : c + SIDE] for r in range(3) for c in range(3)]
    return jnp.concatenate(shifted, -1) @ weight.reshape(-1, weight.shape[-1]) + bias


@jax.jit
def apply(network, images):
    """Logits of raw images [batch, 8, 8]."""
    stem, *body, (weight, bias) = network
    maps = convolve(images[..., None] / PIXEL_MAX, *stem)
    for layer in body:
        maps = maps + convolve(jax.nn.relu(maps), *layer)
    return jax.nn.relu(maps).mean((1, 2)) @ weight + bias


def train(width, depth, images, labels):
    """Train one network for the fixed number of epochs.

    Randomness is numpy's, so that it depends on the seed alone. Arithmetic is 64-bit,
    since training amplifies rounding; the largest size still depends on instruction set
    and core count. Warm-up and clipping let all sizes share one learning rate.
    """
    rng = np.random.default_rng(SEED)
    network = initialise(rng, width, depth)
    batches = len(labels) // BATCH
    # Linear warm-up, then half a cosine to zero. optax's own schedules are 32-bit.
    steps = np.arange(EPOCHS * batches)
    decay = (1 + np.cos(np.pi * (steps - WARMUP_STEPS) / (len(steps) - WARMUP_STEPS))) / 2
    rates = LEARNING_RATE * np.where(steps < WARMUP_STEPS, steps / WARMUP_STEPS, decay)
    adam = optax.adamw(lambda count: jnp.asarray(rates)[count], weight_decay=WEIGHT_DECAY)
    optimiser = optax.chain(optax.clip_by_global_norm(CLIP_NORM), adam)

    def loss(network, images, labels):
        logits = apply(network, images)
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

    def step(state, batch):
        network, moments = state
        updates, moments = optimiser.update(jax.grad(loss)(network, *batch), moments, network)
        return (optax.apply_updates(network, updates), moments), None

    epoch = jax.jit(lambda state, data: jax.lax.scan(step, state, data)[0])
    # windows[i, r, c] is image i moved by r-1 rows and c-1 columns.
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (SIDE, SIDE), axis=(1, 2))
    state = network, optimiser.init(network)
    for _ in range(EPOCHS):
        order = rng.permutation(len(labels))[: batches * BATCH]
        rows, columns = rng.integers(0, 3, (2, len(order)))
        moved = windows[order, rows, columns].astype(np.float64)
        data = moved.reshape(batches, BATCH, SIDE, SIDE), labels[order].reshape(batches, BATCH)
        state = epoch(state, data)
    return jax.tree.map(np.float32, state[0])


def cost(network):
    """Trained values, and multiply-accumulates per image (zero padding counts, as usual)."""
    *convolutions, (head, _) = network
    macs = SIDE * SIDE * sum(weight.size for weight, _ in convolutions) + head.size
    return sum(array.size for layer in network for array in layer), macs


def to_onnx(name, network):
    """Build the ONNX model that computes `apply`, pixel scaling included."""
    *convolutions, (head, head_bias) = network
    nodes, weights = [], []

    def constant(label, array):
        weights.append(numpy_helper.from_array(np.ascontiguousarray(array), label))
        return label

    def node(operator, inputs, output, **attributes):
        nodes.append(helper.make_node(operator, inputs, [output], output, **attributes))
        return output

    def conv(label, source, weight, bias):
        weight = constant(f"{label}.weight", weight.transpose(3, 2, 0, 1))
        inputs = [source, weight, constant(f"{label}.bias", bias)]
        # Optional in ONNX, but rten 0.27 takes a Conv without it for one-dimensional.
        return node("Conv", inputs, label, kernel_shape=[3, 3], pads=[1] * 4)

    scale = constant("scale", np.array(1 / PIXEL_MAX, np.float32))
    maps = conv("stem", node("Mul", ["image", scale], "scaled"), *convolutions[0])
    for index, (weight, bias) in enumerate(convolutions[1:], 1):
        branch = conv(f"conv{index}", node("Relu", [maps], f"relu{index}"), weight, bias)
        maps = node("Add", [maps, branch], f"sum{index}")
    pooled = node("GlobalAveragePool", [node("Relu", [maps], "relu")], "pooled")
    features = node("Flatten", [pooled], "features", axis=1)
    head, head_bias = constant("head.weight", head), constant("head.bias", head_bias)
    node("Gemm", [features, head, head_bias], "logits")

    def value(label, *shape):
        return helper.make_tensor_value_info(label, TensorProto.FLOAT, ["batch", *shape])

    inputs, outputs = [value("image", 1, SIDE, SIDE)], [value("logits", CLASSES)]
    graph = helper.make_graph(nodes, name, inputs, outputs, weights)
    opset = helper.make_opsetid("", 17)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return model


def read_test(path):
    """Labels and images of the committed test set."""
    table = np.loadtxt(path, np.int64, delimiter=",", skiprows=1)
    return table[:, 0], table[:, 1:].reshape(-1, SIDE, SIDE)


def onnx_logits(path, images):
    """Logits of a model file, from ONNX Runtime."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(["logits"], {"image": images[:, None].astype(np.float32)})[0]


def correct(logits, labels):
    """Number of images whose highest logit is their label."""
    return int((logits.argmax(1) == labels).sum())


def write_family(folder):
    """Train every size and write all files into `folder`."""
    train_set, validation_set, (test_images, test_labels) = load_split()
    header = ",".join(["label", *(f"p{pixel}" for pixel in range(SIDE * SIDE))])
    table = np.column_stack([test_labels, test_images.reshape(len(test_labels), -1)])
    np.savetxt(folder / TEST_FILE, table, "%d", ",", header=header, comments="")
    # Read back, since the measurements are of the files that are served.
    labels, images = read_test(folder / TEST_FILE)
    rows = ["model,parameters,macs_per_image,test_images,correct,test_accuracy"]
    for size, (width, depth) in SIZES.items():
        name = f"digits-{size}"
        network = train(width, depth, *train_set)
        path = folder / MODEL_FILE.format(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        onnx.save(to_onnx(name, network), path)
        logits = onnx_logits(path, images)
        difference = np.abs(logits - apply(network, images.astype(np.float32))).max()
        if difference > EXPORT_TOLERANCE:
            sys.exit(f"{name}: ONNX Runtime and JAX logits differ by {difference:.2e}")
        hits, (parameters, macs) = correct(logits, labels), cost(network)
        accuracy = f"{hits / len(labels):.4f}"
        rows.append(f"{name},{parameters},{macs},{len(labels)},{hits},{accuracy}")
        (folder / "models" / name / "model.toml").write_text(
            f"# Handwritten digits, size {size.upper()}: {macs / 1e6:.1f} M multiply-accumulates"
            f" per image; test accuracy {accuracy} (see ../../digits-accuracy.csv).\n"
            'platform = "onnx"\n[batching]\nmax_batch_size = 32\n'
        )
        validated = correct(onnx_logits(path, validation_set[0]), validation_set[1])
        print(f"{name}: {parameters} parameters, {macs} MACs per image; logits of ONNX Runtime")
        print(f"  and JAX differ by at most {difference:.1e}; validation accuracy", end=" ")
        print(f"{validated / VALIDATION_IMAGES:.4f}, test accuracy {accuracy}", flush=True)

    (folder / ACCURACY_FILE).write_text("\n".join(rows) + "\n")


def compare(fresh, committed):
    """Return, as messages, what differs between two folders of results beyond tolerance."""
    if (committed / TEST_FILE).read_text() != (fresh / TEST_FILE).read_text():
        return [f"{TEST_FILE}: not the test half of the split"]
    problems = []
    labels, images = read_test(committed / TEST_FILE)
    with open(committed / ACCURACY_FILE, newline="") as file:
        recorded = {row["model"]: int(row["correct"]) for row in csv.DictReader(file)}
    if list(recorded.values()) != sorted(set(recorded.values())):
        problems.append(f"{ACCURACY_FILE}: accuracy does not rise with cost")
    for name in (f"digits-{size}" for size in SIZES):
        paths = [folder / MODEL_FILE.format(name) for folder in (fresh, committed)]
        graphs = [onnx.load(path).graph for path in paths]
        new, old = ({w.name: numpy_helper.to_array(w) for w in g.initializer} for g in graphs)
        if {k: v.shape for k, v in new.items()} != {k: v.shape for k, v in old.items()}:
            problems.append(f"{name}: model.onnx has other weights or shapes")
            continue
        logits = [onnx_logits(path, images) for path in paths]
        hits = [correct(each, labels) for each in logits]
        measures = [
            ("weights", max(np.abs(new[key] - old[key]).max() for key in new), WEIGHT_TOLERANCE),
            ("logits", np.abs(logits[0] - logits[1]).max(), LOGIT_TOLERANCE),
            ("accuracy", abs(hits[0] - hits[1]) / len(labels), ACCURACY_TOLERANCE),
        ]
        found = ", ".join(f"{what} {size:.2e}" for what, size, _ in measures)
        print(f"{name}: largest differences from the committed files: {found}")
        for what, size, limit in measures:
            if not size <= limit:
                problems.append(f"{name}: {what} differs by {size:.2e}, more than {limit}")
        if recorded.get(name) != hits[1]:
            problems.append(f"{name}: {ACCURACY_FILE} does not match its model.onnx")
    return problems


def main():
    """Write the family beside this script, or check what lies there."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--check", action="store_true", help="retrain and compare, write nothing")
    here = Path(__file__).resolve().parent
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_enable_x64", True)
    if not parser.parse_args().check:
        return write_family(here)
    with tempfile.TemporaryDirectory() as scratch:
        write_family(Path(scratch))
        problems = compare(Path(scratch), here)
    if problems:
        sys.exit("\n".join(problems))
    print("check passed: the committed files are what training gives")


if __name__ == "__main__":
    main()
