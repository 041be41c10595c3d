"""The Modelfile that ollama makes a model of."""

from stillhouse.chat import ChatTokenizer


def modelfile(file_name: str, chat: ChatTokenizer) -> str:
    """What names the weights, and what ends an answer.

    The template is that of the GGUF file, which ollama takes from there; it is not repeated here,
    since ollama's own language for templates is another one.
    """
    stops = [
        chat.tokenizer.added_tokens_decoder[number].content
        for number in chat.end_of_turn_ids
        if number in chat.tokenizer.added_tokens_decoder
    ]
    lines = [f"FROM ./{file_name}", *(f'PARAMETER stop "{stop}"' for stop in stops)]
    return "\n".join(lines) + "\n"
