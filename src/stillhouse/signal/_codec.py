"""What a codec is: it turns the signals of a block of rows into byte planes and back."""

from collections.abc import Sequence
from typing import Any, ClassVar, Protocol, TypeVar

from stillhouse.signal._id_order import IdOrder
from stillhouse.signal._planes import Bytes
from stillhouse.signal._signals import IdArray, Signal

S = TypeVar("S", bound=Signal)


class Codec(Protocol[S]):
    """One way to keep one kind of signal.

    Attributes:
        name: How it is called in settings, manifests and parts.
        version: Of what its planes mean; a reader refuses any other.
    """

    name: ClassVar[str]
    version: ClassVar[int]

    @property
    def parameters(self) -> dict[str, Any]:
        """What `codec_of` needs to read its parts: plain JSON."""
        ...

    def stored_ids(self, signals: Sequence[S]) -> IdArray:
        """Every id that `signals` store, once per occurrence: what a part's id order is made of."""
        ...

    def encode(self, signals: Sequence[S], order: IdOrder) -> list[Bytes]:
        """The planes of one block.

        Raises:
            ShapeError: a signal is not of the shape that the codec keeps.
        """
        ...

    def decode(self, planes: Sequence[Bytes], order: IdOrder) -> S:
        """The signals of a block, one after the other.

        Raises:
            IntegrityError: these are no planes of this codec.
        """
        ...


def describe(codec: "Codec[Any]") -> dict[str, Any]:
    """Name, version and parameters: what a part's header and the manifest say of its codec."""
    return {"name": codec.name, "version": codec.version, "parameters": codec.parameters}
