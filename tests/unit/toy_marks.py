"""A teacher of counts that marks what it writes, and students of counts, all in NumPy.

Letters: V vocabulary, T tokens, N contexts, K tokens of each.
"""

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stillhouse.protect._weights import (
    CorpusContexts,
    WeightedTokens,
    fresh_windows,
    written_tokens,
)
from stillhouse.watermark import Profile, WatermarkKey, context_hashes, score_pairs

SIZE = 96
SCHEMES = ("gumbel", "dual_gumbel", "kgw", "synthid")


def toy_key(number: int) -> WatermarkKey:
    return WatermarkKey(hashlib.sha256(f"toy {number}".encode()).digest())


def toy_profile(
    scheme: str, key: WatermarkKey, width: int = 2, tokenizer_sha256: str = "0" * 64
) -> Profile:
    chosen = {"kgw": {"delta": 2.0}, "dual_gumbel": {"alpha": 0.5}, "synthid": {"layers": 8}}
    parameters = chosen.get(scheme)
    return Profile.model_validate(
        {
            "scheme": scheme,
            "context_width": width,
            "parameters": parameters,
            "tokenizer_sha256": tokenizer_sha256,
            "key_id": key.key_id,
        }
    )


def teacher_laws(seed: int = 0, concentration: float = 0.08) -> npt.NDArray[np.float64]:
    """(V, V) next-token laws by the last token, of about 1.5 nats."""
    generator = np.random.default_rng(seed)
    return generator.dirichlet(np.full(SIZE, concentration), size=SIZE) + 1e-9


def write(
    laws_VV: npt.NDArray[np.float64],
    num_texts: int,
    length: int,
    *,
    seed: int,
    profile: Profile | None = None,
    key: WatermarkKey | None = None,
    names_V: npt.NDArray[np.int64] | None = None,
) -> npt.NDArray[np.int64]:
    """(texts, T) ids; marked where a key is given, and a context is new in its text.

    `names_V` are the ids that tokens have; 0 to V - 1 if not given.
    """
    names = np.arange(laws_VV.shape[1]) if names_V is None else names_V
    generator = np.random.default_rng(seed)
    width = 2 if profile is None else profile.context_width
    ids = np.zeros((num_texts, length), dtype=np.int64)
    ids[:, :width] = generator.integers(0, len(laws_VV), (num_texts, width))
    seen: list[set[int]] = [set() for _ in range(num_texts)]
    for place in range(width, length):
        laws = laws_VV[ids[:, place - 1]]
        laws = laws / laws.sum(axis=1, keepdims=True)
        plain = np.log(laws) + generator.gumbel(size=laws.shape)
        chosen = plain.argmax(axis=1)
        if profile is not None and key is not None:
            contexts = np.array(
                [
                    context_hashes(np.append(names[row[place - width : place]], 0), width)[0]
                    for row in ids
                ]
            )
            marked = _marked(profile, key, laws, contexts, generator, names)
            is_new = np.array(
                [int(context) not in known for context, known in zip(contexts, seen, strict=True)]
            )
            chosen = np.where(is_new, marked, chosen)
            for context, known in zip(contexts, seen, strict=True):
                known.add(int(context))
        ids[:, place] = chosen
    return names[ids]


def _marked(
    profile: Profile,
    key: WatermarkKey,
    laws: npt.NDArray[np.float64],
    contexts: npt.NDArray[np.uint64],
    generator: np.random.Generator,
    names: npt.NDArray[np.int64],
) -> npt.NDArray[np.int64]:
    everything = np.broadcast_to(names, laws.shape)
    if profile.scheme == "kgw":
        green = score_pairs(profile, key, contexts[:, None], everything)
        tilted = np.log(laws) + profile.parameters["delta"] * green
        return (tilted + generator.gumbel(size=laws.shape)).argmax(axis=1)
    if profile.scheme == "synthid":
        # One layer after the other, as the tournament does; the bits are those of the hash.
        from stillhouse.watermark import token_hashes

        hashes = token_hashes(contexts[:, None], everything, key.subkeys("synthid"))
        for layer in range(int(profile.parameters["layers"])):
            bits = ((hashes >> np.uint64(63 - layer)) & np.uint64(1)).astype(np.float64)
            laws = laws * (1 + bits - (bits * laws).sum(axis=1, keepdims=True))
        return (np.log(np.maximum(laws, 1e-300)) + generator.gumbel(size=laws.shape)).argmax(axis=1)
    if profile.scheme == "gumbel":
        scores = score_pairs(profile, key, contexts[:, None], everything)
    else:
        from stillhouse.watermark import token_uniforms

        purpose = np.where(generator.random(len(laws)) < profile.parameters["alpha"], 1, 0)
        both = [
            -np.log1p(-token_uniforms(contexts[:, None], everything, key.subkeys(name)))
            for name in ("dual/a", "dual/b")
        ]
        scores = np.where(purpose[:, None] == 1, both[1], both[0])
    uniforms = -np.expm1(-scores)
    return (np.log(laws) - np.log(-np.log(np.clip(uniforms, 1e-300, 1 - 1e-16)))).argmax(axis=1)


@dataclass
class CountStudent:
    """Trigram counts, smoothed with bigram counts."""

    trigrams: npt.NDArray[np.float64]
    bigrams: npt.NDArray[np.float64]

    @classmethod
    def trained(cls, *corpora: npt.NDArray[np.int64]) -> "CountStudent":
        trigrams = np.zeros((SIZE * SIZE, SIZE))
        bigrams = np.full((SIZE, SIZE), 0.02)
        for ids in corpora:
            first, second, third = ids[:, :-2].ravel(), ids[:, 1:-1].ravel(), ids[:, 2:].ravel()
            np.add.at(trigrams, (first * SIZE + second, third), 1.0)
            np.add.at(bigrams, (second, third), 1.0)
        return cls(trigrams, bigrams / bigrams.sum(axis=1, keepdims=True))

    def law(self, first: npt.NDArray[np.int64], second: npt.NDArray[np.int64]) -> npt.NDArray:
        counts = self.trigrams[first * SIZE + second] + 4.0 * self.bigrams[second]
        return counts / counts.sum(axis=1, keepdims=True)

    def write(self, num_texts: int, length: int, seed: int) -> npt.NDArray[np.int64]:
        generator = np.random.default_rng(seed)
        ids = np.zeros((num_texts, length), dtype=np.int64)
        ids[:, :2] = generator.integers(0, SIZE, (num_texts, 2))
        for place in range(2, length):
            law = self.law(ids[:, place - 2], ids[:, place - 1])
            ids[:, place] = (np.log(law) + generator.gumbel(size=law.shape)).argmax(axis=1)
        return ids


def read(
    suspect: CountStudent,
    reference: CountStudent | None,
    ids: npt.NDArray[np.int64],
    width: int = 2,
) -> dict[str, WeightedTokens]:
    """The statistics of a suspect that reads texts, as `read_texts` makes them for real models."""
    seen = CorpusContexts()
    places, contexts = [], []
    for row, text in enumerate(ids):
        windows = fresh_windows((), text.tolist(), width)
        is_new = seen.new(windows.contexts_N)
        places += [(row, int(position)) for position in windows.positions_N[is_new]]
        contexts.append(windows.contexts_N[is_new])
    rows, columns = np.array(places).T
    p = suspect.law(ids[rows, columns - 2], ids[rows, columns - 1])
    contexts_N = np.concatenate(contexts)
    everything = np.broadcast_to(np.arange(SIZE), p.shape)
    found = {
        "argmax": written_tokens(contexts_N, p.argmax(axis=1)),
        "soft": WeightedTokens(contexts_N, everything, p),
    }
    if reference is not None:
        q = reference.law(ids[rows, columns - 2], ids[rows, columns - 1])
        found["contrast"] = WeightedTokens(contexts_N, everything, p - q)
    return found
