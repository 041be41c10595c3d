"""Which endpoint a request is for."""

from tests.mock_provider import endpoints
from tests.mock_provider.batches import anthropic, gemini, openai
from tests.mock_provider.endpoints import Endpoint
from tests.mock_provider.errors import ApiError
from tests.mock_provider.exchange import Incoming, Outgoing
from tests.mock_provider.world import World

_EXACT: dict[tuple[str, str], Endpoint] = {
    ("POST", "/v1/chat/completions"): endpoints.chat,
    ("GET", "/v1/chat/completions"): endpoints.stored_chats,
    ("POST", "/v1/responses"): endpoints.responses,
    ("POST", "/v1/messages"): endpoints.messages,
    ("POST", "/v1/decisions"): endpoints.decision,
    ("GET", "/v1/models"): endpoints.models,
    ("GET", "/v1beta/models"): endpoints.gemini_models,
    ("POST", "/v1/files"): openai.upload,
    ("GET", "/v1/files"): openai.files,
    ("POST", "/v1/batches"): openai.create,
    ("GET", "/v1/batches"): openai.batches,
    ("POST", "/v1/messages/batches"): anthropic.create,
    ("GET", "/v1/messages/batches"): anthropic.batches,
    ("POST", "/upload/v1beta/files"): gemini.start_upload,
    ("GET", "/v1beta/batches"): gemini.batches,
}
# The first prefix that fits counts, so longer ones come first.
_PREFIXES: tuple[tuple[str, Endpoint], ...] = (
    ("/v1/chat/completions/", endpoints.stored_chat),
    ("/v1/responses/", endpoints.stored_response),
    ("/v1/models/", endpoints.models),
    ("/v1/files/", openai.file),
    ("/v1/batches/", openai.batch),
    ("/v1/messages/batches/", anthropic.batch),
    ("/v1beta/batches/", gemini.batch),
    ("/v1beta/files/", gemini.file),
    ("/download/v1beta/files/", gemini.file),
)
_SUFFIXES: tuple[tuple[str, Endpoint], ...] = (
    (":generateContent", endpoints.content),
    (":streamGenerateContent", endpoints.content),
    (":batchGenerateContent", gemini.create),
)


def serve(world: World, incoming: Incoming) -> Outgoing:
    """Answer a request.

    Raises:
        ApiError: it is refused.
    """
    # The address of a begun upload is a key in itself.
    if world.settings.requires_key and "upload_id" not in incoming.query:
        endpoints.check_key(incoming)
    return _endpoint(incoming)(world, incoming)


def _endpoint(incoming: Incoming) -> Endpoint:
    exact = _EXACT.get((incoming.method, incoming.path))
    if exact is not None:
        return exact
    if incoming.method == "POST":
        for suffix, endpoint in _SUFFIXES:
            if incoming.path.endswith(suffix):
                return endpoint
    for prefix, endpoint in _PREFIXES:
        if incoming.path.startswith(prefix):
            return endpoint
    raise ApiError("missing", f"Invalid URL ({incoming.method} {incoming.path})")
