"""DistillKit with the teacher running beside, of whose distributions it keeps a top-k."""

import _distillkit
import _trl
from distillkit.signals import OnlineSignalSource

if __name__ == "__main__":
    teacher = _trl.load("teacher")
    source = OnlineSignalSource(
        teacher, vocab_size=teacher.config.vocab_size, sparsify_top_k=_distillkit.TOP_K
    )
    config = {"kind": "hf", "path": str(_trl.FOLDER / "teacher"), "top_k": _distillkit.TOP_K}
    _distillkit.train(config, source, _distillkit.labelled_rows(), _distillkit.padded)
