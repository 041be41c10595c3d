"""An encoder in use: texts in, numpy states out, with onnxruntime and without torch.

Letters: N texts, D width.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from stillhouse.classifiers._graph import INPUT, encoder_graph
from stillhouse.classifiers._shape import EncoderShape
from stillhouse.classifiers._tokens import TokenReader
from stillhouse.classifiers._weights import Arrays, Precision, check_arrays, shrunk
from stillhouse.errors import IntegrityError, MissingDependencyError

_NAME = "encoder."


@dataclass(frozen=True)
class FrozenEncoder:
    """A tokenizer and a network for use.

    Attributes:
        reader: The tokenizer.
        shape: Sizes of the network.
        weights: As `shrunk` makes them.
        precision: What they are in.
    """

    reader: TokenReader
    shape: EncoderShape
    weights: Arrays
    precision: Precision
    _session: Any

    @classmethod
    def of(
        cls, reader: TokenReader, weights: Arrays, shape: EncoderShape, precision: Precision
    ) -> "FrozenEncoder":
        """Freeze a network with float32 weights."""
        return cls._opened(reader, shape, shrunk(weights, precision), precision)

    @classmethod
    def read(
        cls, arrays: Arrays, shape: EncoderShape, precision: Precision, reader: TokenReader
    ) -> "FrozenEncoder":
        """The encoder that `arrays` came from.

        Raises:
            IntegrityError: a tensor is missing or of another shape or type, or the tokenizer does
                not fit the network.
        """
        if reader.num_ids > shape.vocabulary or reader.max_tokens > shape.positions:
            raise IntegrityError(
                f"the tokenizer has {reader.num_ids} ids and reads {reader.max_tokens} tokens, but "
                f"the encoder knows {shape.vocabulary} and {shape.positions}"
            )
        weights = {
            name.removeprefix(_NAME): array
            for name, array in arrays.items()
            if name.startswith(_NAME)
        }
        check_arrays(weights, shape, precision)
        return cls._opened(reader, shape, weights, precision)

    @classmethod
    def _opened(
        cls, reader: TokenReader, shape: EncoderShape, weights: Arrays, precision: Precision
    ) -> "FrozenEncoder":
        session = _open_session(encoder_graph(weights, shape, precision))
        return cls(reader, shape, weights, precision, session)

    @property
    def num_parameters(self) -> int:
        """Weights of the network; scales do not count."""
        return sum(
            array.size for name, array in self.weights.items() if not name.endswith("scales")
        )

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """The tensors to write to disk."""
        return {f"{_NAME}{name}": array for name, array in self.weights.items()}

    def graph(self) -> bytes:
        """A serialised ONNX model from the ids (1, T) of one text, `ids`, to its (1, D) `state`.

        Its operators are those of onnxruntime, some of which the standard does not have.
        """
        return encoder_graph(self.weights, self.shape, self.precision)

    def states(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """(N, D) float32, one state a text."""
        states = [self.state(ids) for ids in self.reader.ids(texts)]
        return np.array(states, dtype=np.float32).reshape(len(texts), self.shape.width)

    def state(self, ids: Sequence[int]) -> npt.NDArray[np.float32]:
        """(D,) float32 state of the text with these tokens.

        One text at a time: those of a batch would share the scales of activations, and what is
        said to one would depend on the others.
        """
        given = {INPUT: np.array([ids], dtype=np.int64)}
        state_D: npt.NDArray[np.float32] = self._session.run(None, given)[0][0]
        return state_D


def _open_session(graph: bytes) -> Any:
    try:
        import onnxruntime
    except ImportError as err:
        raise MissingDependencyError(
            f"Students that read with an encoder need onnxruntime ({err}). "
            "Run: pip install 'stillhouse[encoder]'"
        ) from err
    options = onnxruntime.SessionOptions()
    # A message is too short to share out, and threads that wait for more keep cores busy.
    options.intra_op_num_threads = 1
    options.log_severity_level = 3  # errors
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
