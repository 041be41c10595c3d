"""A student behind the HTTP protocols that clients already speak.

`open_engine` makes what answers out of a student's folder; `serve` listens until it is told to
stop, and `Server` is the same for who has an event loop. Importing this room loads no torch.
"""

from stillhouse.serve._ask import (
    Answering,
    Ask,
    Engine,
    Piece,
    RefusedError,
    TokenScore,
)
from stillhouse.serve._config import ServeConfig
from stillhouse.serve._server import Server
from stillhouse.serve._serving import check_listening, open_engine, serve
from stillhouse.serve._teacher_config import TeacherConfig

__all__ = [
    "open_engine",
    "check_listening",
    "serve",
    "Server",
    "ServeConfig",
    "TeacherConfig",
    # What an engine is
    "Engine",
    "Ask",
    "Answering",
    "Piece",
    "TokenScore",
    "RefusedError",
]
