"""An encoder as an ONNX graph for onnxruntime, built in memory from checked weights.

No graph is read from disk: one from a stranger could name files to open. Letters: T tokens, D
width, I inputs, O outputs, K blocks of inputs.
"""

from typing import Any

import numpy as np

from stillhouse.classifiers._shape import EncoderShape
from stillhouse.classifiers._weights import BLOCK, Array, Arrays, Precision
from stillhouse.errors import MissingDependencyError

INPUT, OUTPUT = "ids", "state"

_OPSET = 18
_FUSED = "com.microsoft"  # onnxruntime's own operators: several of a transformer's in one
_INT8_ACTIVATIONS = 4  # the accuracy level at which they are rounded to eight bits
_ACTIVATIONS = {"gelu": ("Gelu", _FUSED), "gelu_new": ("FastGelu", _FUSED), "relu": ("Relu", "")}


def encoder_graph(weights: Arrays, shape: EncoderShape, precision: Precision) -> bytes:
    """A serialised model from the ids (1, T) of one text to its state (1, D).

    Args:
        weights: As `shrunk` makes them.
        shape: The encoder's.
        precision: What they are in.

    Raises:
        MissingDependencyError: onnx is not installed.
    """
    return _Builder(weights, shape, precision).model()


class _Builder:
    """Collects nodes and constants; each method adds an operator and returns its output's name."""

    def __init__(self, weights: Arrays, shape: EncoderShape, precision: Precision) -> None:
        try:
            import onnx
        except ImportError as err:
            raise MissingDependencyError(
                f"Students that read with an encoder need onnx ({err}). "
                "Run: pip install 'stillhouse[encoder]'"
            ) from err
        self._onnx = onnx
        self._weights = weights
        self._shape = shape
        self._is_int8 = precision == "int8"
        self._nodes: list[Any] = []
        self._constants: list[Any] = []

    def model(self) -> bytes:
        states = self._embedded()
        for number in range(self._shape.layers):
            states = self._layer(f"layers.{number}.", states)
        self._pooled(states)
        helper, kinds = self._onnx.helper, self._onnx.TensorProto
        graph = helper.make_graph(
            self._nodes,
            "encoder",
            [helper.make_tensor_value_info(INPUT, kinds.INT64, [1, "tokens"])],
            [helper.make_tensor_value_info(OUTPUT, kinds.FLOAT, [1, self._shape.width])],
            self._constants,
        )
        opsets = [helper.make_opsetid("", _OPSET), helper.make_opsetid(_FUSED, 1)]
        model = helper.make_model(graph, opset_imports=opsets)
        model.ir_version = 9  # the lowest that has the opset: older runtimes read it too
        serialised: bytes = model.SerializeToString()
        return serialised

    def _embedded(self) -> str:
        tokens = self._node("Gather", self._weight("tokens.weight"), INPUT)
        if self._is_int8:
            scales = self._weight("tokens.scales")
            steps = self._node("Cast", tokens, to=self._onnx.TensorProto.FLOAT)
            tokens = self._node("Mul", steps, self._node("Gather", scales, INPUT))
        first, one = self._constant("first", np.array([0])), self._constant("one", np.array([1]))
        length = self._node("Slice", self._node("Shape", INPUT), one, self._constant("two", [2]))
        positions = self._node("Slice", self._weight("positions.weight"), first, length)
        states = self._node("Add", tokens, positions)
        norm = [self._weight("norm.weight"), self._weight("norm.bias")]
        epsilon = self._shape.epsilon
        return self._node("LayerNormalization", states, *norm, axis=-1, epsilon=epsilon)

    def _layer(self, prefix: str, states: str) -> str:
        joint = self._linear(f"{prefix}query_key_value", states)
        parts = [f"{prefix}{name}" for name in ("query", "key", "value")]
        self._nodes.append(
            self._onnx.helper.make_node("Split", [joint], parts, axis=-1, num_outputs=3)
        )
        seen = self._node("MultiHeadAttention", *parts, domain=_FUSED, num_heads=self._shape.heads)
        states = self._added(
            f"{prefix}attention_norm", self._linear(f"{prefix}attended", seen), states
        )
        operator, domain = _ACTIVATIONS[self._shape.activation]
        inner = self._node(operator, self._linear(f"{prefix}inner", states), domain=domain)
        return self._added(f"{prefix}norm", self._linear(f"{prefix}outer", inner), states)

    def _linear(self, name: str, inputs: str) -> str:
        bias = self._weight(f"{name}.bias")
        if not self._is_int8:
            matrix = self._constant(f"{name}.weight", self._weights[f"{name}.weight"].T)
            return self._node("Add", self._node("MatMul", inputs, matrix), bias)
        steps_OI = self._weights[f"{name}.weight"]
        num_outputs, num_inputs = steps_OI.shape
        # One operator: it gives each block of the activations eight bits and a scale, too.
        return self._node(
            "MatMulNBits",
            inputs,
            self._constant(f"{name}.weight", _in_blocks(steps_OI)),
            self._constant(f"{name}.scales", self._weights[f"{name}.scales"].reshape(-1)),
            "",
            "",
            bias,
            domain=_FUSED,
            K=num_inputs,
            N=num_outputs,
            bits=8,
            block_size=BLOCK,
            accuracy_level=_INT8_ACTIVATIONS,
        )

    def _added(self, norm: str, change: str, states: str) -> str:
        scale, bias = self._weight(f"{norm}.weight"), self._weight(f"{norm}.bias")
        epsilon = self._shape.epsilon
        return self._node(
            "SkipLayerNormalization", change, states, scale, bias, domain=_FUSED, epsilon=epsilon
        )

    def _pooled(self, states: str) -> None:
        if self._shape.pooling == "cls":
            self._node("Gather", states, self._constant("cls", np.array(0)), axis=1, output=OUTPUT)
        else:
            self._node("ReduceMean", states, "one", keepdims=0, output=OUTPUT)

    def _weight(self, name: str) -> str:
        return self._constant(name, self._weights[name])

    def _constant(self, name: str, array: Array | list[int]) -> str:
        tensor = self._onnx.numpy_helper.from_array(np.ascontiguousarray(array), name)
        self._constants.append(tensor)
        return name

    def _node(
        self, operator: str, *inputs: str, output: str = "", domain: str = "", **settings: Any
    ) -> str:
        output = output or f"node.{len(self._nodes)}"
        self._nodes.append(
            self._onnx.helper.make_node(operator, inputs, [output], domain=domain, **settings)
        )
        return output


def _in_blocks(steps_OI: Array) -> Array:
    """(O, K, BLOCK) uint8 with 128 for zero, also where the last block has no inputs."""
    num_outputs, num_inputs = steps_OI.shape
    missing = -num_inputs % BLOCK
    padded_OI = np.pad(steps_OI.astype(np.int16) + 128, [(0, 0), (0, missing)], constant_values=128)
    return padded_OI.astype(np.uint8).reshape(num_outputs, -1, BLOCK)
