"""Requests to hand to a teacher, for the tests of teachers."""

from itertools import islice
from typing import Any

from stillhouse.records import Completion, Message, Prompt, Request, Sampling
from stillhouse.runlog import Answer
from stillhouse.teachers import Pull, Teacher, read_answer


def requests_for(*texts: str, teacher: str = "test:m", **sampling: Any) -> list[Request]:
    """One request per text, with that text as prompt id as well."""
    prompts = [Prompt(id=text, messages=(Message(role="user", content=text),)) for text in texts]
    return [Request.of(p, teacher=teacher, sampling=Sampling(**sampling)) for p in prompts]


def pull_from(requests: list[Request]) -> Pull:
    """Hands out `requests` in order."""
    left = iter(requests)
    return lambda n: list(islice(left, n))


def raw_answers(teacher: Teacher, requests: list[Request]) -> list[Answer]:
    """What `teacher` sends back for `requests`, in the order of arrival."""
    return [answer for group in teacher.stream(pull_from(requests)) for answer in group]


def answers(teacher: Teacher, requests: list[Request]) -> list[Completion]:
    """What `teacher` says to `requests`, read, in the order of arrival."""
    by_id = {request.id: request for request in requests}
    return [read_answer(one, by_id[one.request_id]) for one in raw_answers(teacher, requests)]
