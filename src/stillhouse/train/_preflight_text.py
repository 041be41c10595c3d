"""Checks of the text and its tokens: they need no teacher and no signal."""

from collections import Counter
from collections.abc import Iterator, Sequence

from stillhouse.errors import RecordError
from stillhouse.records import Example, messages_identity
from stillhouse.train._preflight_checks import Check, Subject
from stillhouse.train._rows import TrainingRow

_LOSSY_SHARE = 0.1  # of the texts may not survive a tokenizer that normalises


def check_text(subject: Subject) -> Iterator[Check]:
    """Whether the tokens that are learnt are the teacher's answers, whole and nothing else."""
    yield _check_template(subject)
    yield _check_vocabulary(subject)
    yield _check_mask(subject)
    yield _check_end_of_turn(subject)
    yield _check_first_token(subject)
    yield _check_leak(subject)


def _check_template(subject: Subject) -> Check:
    name, manifest = "template of the text", subject.dataset.manifest
    theirs = manifest.chat_template_sha256
    is_other = theirs is not None and theirs != subject.chat.template_sha256
    if not (is_other and subject.own) or subject.limits.allow_other_template:
        return Check(name)
    return Check(
        name,
        f"{subject.dataset.path} holds tokens written after prompts in another chat template "
        f"({(theirs or '')[:12]}) than that of {subject.chat.name} "
        f"({subject.chat.template_sha256[:12]}). Use the teacher's template, or set "
        "preflight.allow_other_template.",
    )


def _check_vocabulary(subject: Subject) -> Check:
    name = "vocabulary"
    largest = max(max(row.encoded.ids) for row in subject.rows)
    known = max(subject.chat.tokenizer.get_vocab().values())
    if max(largest, known) < subject.num_ids:
        return Check(name)
    return Check(
        name,
        f"{subject.student.name} has {subject.num_ids} rows in its head, but its tokenizer gives "
        f"ids up to {max(largest, known)}. Resize its embeddings or use the tokenizer it was made "
        "with.",
    )


def _check_mask(subject: Subject) -> Check:
    """The learnt ids, decoded, must be the completion: no prompt, no padding, no other row's."""
    name = "mask"
    lost = [row for row in subject.sample if not _is_completion(subject, row)]
    lossy = [row for row in lost if not row.has_own_tokens]
    if len(lossy) <= _LOSSY_SHARE * len(subject.sample):
        lost = [row for row in lost if row.has_own_tokens]
    if not lost:
        return Check(name)
    text, _ = subject.chat.decode_completion(lost[0].encoded.completion_ids)
    advice = f"{subject.chat.name} changes text as it reads it: use another base."
    if lost[0].has_own_tokens:
        advice = "Correct its completion_token_ids, or leave them out."
    return Check(
        name,
        f"{len(lost)} of {len(subject.sample)} examples learn other text than their completion: "
        f"example {lost[0].example.id} learns {text[:40]!r} for "
        f"{lost[0].example.completion[:40]!r}. {advice}",
    )


def _is_completion(subject: Subject, row: TrainingRow) -> bool:
    ids, text = row.encoded.completion_ids, row.example.completion
    if _ends_early(subject, row):
        return False
    if subject.chat.decode_completion(ids)[0] == text:
        return True
    return not row.has_own_tokens and _is_closed_by_template(subject, ids, text)


def _is_closed_by_template(subject: Subject, ids: Sequence[int], text: str) -> bool:
    """Whether only what the student's template closes a turn with is learnt beyond the text.

    It may be more than the end of turn, such as a line break before it. Tokens that the teacher
    wrote are closed by no template: all that they say is in their text.
    """
    try:
        return subject.chat.spans(ids, text).is_closed
    except RecordError:
        return False


def _ends_early(subject: Subject, row: TrainingRow) -> bool:
    """Whether something is learnt after an end of turn: padding, or the next turn."""
    return any(one in subject.chat.end_of_turn_ids for one in row.encoded.completion_ids[:-1])


def _check_end_of_turn(subject: Subject) -> Check:
    """A completion that stopped before its limit must end with the end-of-turn token."""
    name, sampling = "end of turn", subject.dataset.manifest.sampling
    limit = sampling.max_tokens if sampling is not None else 0
    stopped = [row for row in subject.sample if len(row.encoded.completion_ids) < limit]
    ends = subject.chat.end_of_turn_ids
    open_ended = [row for row in stopped if row.encoded.completion_ids[-1] not in ends]
    share = len(open_ended) / len(stopped) if stopped else 0.0
    if share <= 0.5:
        return Check(name, value=share, limit=0.5)
    return Check(
        name,
        f"{len(open_ended)} of {len(stopped)} completions that stopped before max_tokens={limit} "
        f"do not end with an end-of-turn token of {subject.chat.name} {list(ends)}: the student "
        "would never stop. Keep that token in completion_token_ids, or correct eos_token_id.",
        value=share,
        limit=0.5,
    )


def _check_first_token(subject: Subject) -> Check:
    """A completion begins with text: a BOS there was added by whoever tokenised it."""
    name = "special tokens"
    special = set(subject.chat.tokenizer.all_special_ids)
    firsts = Counter(row.encoded.completion_ids[0] for row in subject.own)
    found = [(times, one) for one, times in firsts.items() if one in special]
    times, token_id = max(found, default=(0, 0))
    if len(subject.own) < 2 or times <= len(subject.own) / 2:
        return Check(name)
    return Check(
        name,
        f"{times} of {len(subject.own)} completions begin with the special token "
        f"{subject.chat.tokenizer.convert_ids_to_tokens(token_id)!r}, which the prompt has already "
        "or no prompt has. Remove it from completion_token_ids.",
    )


def _check_leak(subject: Subject) -> Check:
    """A held-out prompt that is trained on measures memory."""
    name, limit = "leak", subject.limits.max_leaked
    trained = {messages_identity(row.example.messages) for row in subject.rows}
    held_out = {
        messages_identity(row.messages)
        for row in subject.dataset.rows("examples", Example)
        if row.split == "held_out"
    }
    leaked = len(trained & held_out) / len(held_out) if held_out else 0.0
    if leaked <= limit:
        return Check(name, value=leaked, limit=limit)
    return Check(
        name,
        f"{len(trained & held_out)} of {len(held_out)} held-out prompts of "
        f"{subject.dataset.path} are training prompts too. Give prompts of one subject one group "
        "and one split, then collect again.",
        value=leaked,
        limit=limit,
    )
