"""The accounts of small chains, worked by hand: who pays, when it pays back, what is unknown."""

import math
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import economics_cases as cases
import pytest

from stillhouse.artifacts import open_artifact
from stillhouse.economics import (
    Assumptions,
    CopyScenario,
    Economics,
    Flow,
    Range,
    Speed,
    economics,
    exactly,
    logged_calls,
    read_service,
)
from stillhouse.economics._chain import read_chain
from stillhouse.economics._drivers import swings_of
from stillhouse.economics._inputs import inputs_of
from stillhouse.errors import IntegrityError
from stillhouse.servicelog import AuditRow, LogAnswer, LogConfig, LogWriter, RequestRow

EXACT = 1e-9
# Two cores at 36 cents an hour: a second of the machine is 0.0002 dollars.
GIVEN: dict[str, Any] = {"cores": 2, "usd_per_core_hour": 0.36, "requests": 10_000.0}
SPEED = Speed(Range(value=0.5, low=0.4, high=0.6), 1, 20, "evaluation e")


def accounts(folder: Path, speed: Speed | None = SPEED, **given: Any) -> Economics:
    return economics(folder, assumptions=Assumptions(**{**GIVEN, **given}), speed=speed)


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return cases.student_of(tmp_path_factory.mktemp("student")).path


@pytest.fixture(scope="module")
def cascade(tmp_path_factory: pytest.TempPathFactory) -> Path:
    coverage = {"value": 0.75, "low": 0.7, "high": 0.8}
    return cases.cascade_of(tmp_path_factory.mktemp("cascade"), coverage).path


def flow(found: Economics, item: str) -> Flow:
    return next(one for one in found.flows if one.item == item)


def usd(found: Economics, item: str) -> float | None:
    amount = flow(found, item).usd
    return None if amount is None else amount.value


def test_what_was_spent_is_calls_and_seconds_at_their_prices(student: Path) -> None:
    found = accounts(student)
    assert usd(found, "labelling calls") == pytest.approx(0.008, rel=EXACT)
    assert usd(found, "curation: machines") == pytest.approx(900 * 2 * 0.36 / 3_600, rel=EXACT)
    assert usd(found, "training: machines") == pytest.approx(3_600 * 2 * 0.36 / 3_600, rel=EXACT)
    assert found.fixed_usd is not None
    assert found.fixed_usd.value == pytest.approx(0.008 + 0.18 + 0.72, rel=EXACT)
    assert (found.num_calls, found.prompt_tokens, found.completion_tokens) == (4, 40, 12)
    assert found.teachers == ("openai:m",)


def test_it_pays_back_where_both_bills_meet(student: Path) -> None:
    found = accounts(student)
    student_usd = 0.5 * 1 * 0.36 / 3_600
    assert found.student_usd is not None
    assert found.student_usd.value == pytest.approx(student_usd, rel=EXACT)
    assert found.teacher_usd is not None
    assert found.teacher_usd.value == pytest.approx(0.002, rel=EXACT)
    assert found.break_even is not None
    assert found.break_even.requests == pytest.approx(0.908 / (0.002 - student_usd), rel=EXACT)
    # the t interval of 1, 3, 2 and 2 tenths of a cent, with three degrees of freedom
    half = 3.182446305283710 * math.sqrt(2e-6 / 3 / 4)
    assert found.teacher_usd.low == pytest.approx(0.002 - half, rel=1e-6)
    assert found.break_even.low == pytest.approx(0.908 / (0.002 + half - 0.4e-4), rel=1e-6)
    assert found.break_even.high == pytest.approx(0.908 / (0.002 - half - 0.6e-4), rel=1e-6)
    assert found.verdict.startswith("It pays back after 466 [")


def test_a_cascade_pays_the_teacher_for_what_it_sends_there(cascade: Path) -> None:
    found = accounts(cascade)
    assert found.teacher_share == Range(value=0.25, low=1 - 0.8, high=1 - 0.7)
    assert usd(found, "falling back to the teacher") == pytest.approx(10_000 * 0.25 * 0.002)
    assert found.saving_usd is not None
    assert found.saving_usd.value == pytest.approx(0.75 * 0.002 - 0.5e-4, rel=EXACT)
    assert found.largest_teacher_share == pytest.approx(1 - 0.5e-4 / 0.002, rel=EXACT)
    lost = next(one for one in found.effects if one.name.startswith("answers that"))
    assert lost.usd is not None
    assert lost.usd.value == pytest.approx(10_000 * 0.75 * 0.002)
    assert "25.0% of requests need both" in found.verdict


def test_a_cascade_without_a_certificate_in_its_manifest_is_unknown(tmp_path: Path) -> None:
    found = accounts(cases.cascade_of(tmp_path / "a", None).path)
    assert found.break_even is None
    assert found.teacher_share is None
    assert found.missing == (
        "How often the cascade asks its teacher is not in its manifest; set teacher_share.",
    )
    given = accounts(cases.cascade_of(tmp_path / "b", None).path, teacher_share=0.5)
    assert given.break_even is not None
    for coverage in ({"value": 2.0, "low": 0.1, "high": 0.2}, {"value": "x"}):
        broken = cases.cascade_of(tmp_path / str(len(coverage)), coverage)  # type: ignore[arg-type]
        with pytest.raises(IntegrityError, match="Certify again"):
            accounts(broken.path)


def test_an_unknown_price_is_never_counted_as_nothing(tmp_path: Path) -> None:
    found = accounts(cases.student_of(tmp_path, costs=(0.001, None, 0.002)).path)
    assert flow(found, "labelling calls").basis == "unknown"
    assert (found.fixed_usd, found.teacher_usd, found.break_even) == (None, None, None)
    assert found.swings == ()
    assert found.licensing.ceiling_usd is None
    assert found.copying[0].copy_usd is None
    owner = next(one for one in found.parties if one.name == "teacher's owner")
    assert owner.earns_usd == 0.0
    assert owner.num_unknown >= 2
    assert found.verdict.startswith("Whether it pays back is unknown. The 3 calls")
    given = accounts(tmp_path / "student", teacher_usd_per_request=0.01)
    assert usd(given, "labelling calls") == pytest.approx(0.03)
    assert flow(given, "labelling calls").basis == "computed"


def test_a_free_teacher_is_free_and_not_unknown(tmp_path: Path) -> None:
    found = accounts(cases.student_of(tmp_path, costs=(0.0,) * 3, provider="fake").path)
    assert usd(found, "labelling calls") == 0.0
    assert found.break_even is not None
    assert found.break_even.requests is None
    assert found.verdict.startswith("It never pays back: 1,000 answers cost $0 of the teacher")
    assert found.largest_teacher_share is None
    assert all(one.half is None and one.double is None for one in found.swings)


def test_a_teacher_on_the_makers_own_machine_costs_the_machine(tmp_path: Path) -> None:
    student = cases.student_of(tmp_path, costs=(0.0,) * 4, provider="local", seconds=80.0)
    found = accounts(student.path)
    assert usd(found, "labelling: machines") == pytest.approx(80 * 0.0002)
    assert found.teacher_usd is not None
    assert found.teacher_usd.value == pytest.approx(20 * 0.0002, rel=EXACT)
    shared = accounts(student.path, teacher_share=0.1)
    item = "falling back to the teacher: machines"
    assert usd(shared, item) == pytest.approx(10_000 * 0.1 * 20 * 0.0002)


def test_without_any_logged_call_nothing_is_known_of_the_teacher(tmp_path: Path) -> None:
    dataset = cases.stage_of(tmp_path / "dataset", [], kind="dataset", stage="import")
    found = accounts(dataset.path)
    assert found.num_calls == 0
    assert "No call of a teacher is in the lineage" in found.verdict
    assert (found.fixed_usd, found.teacher_usd) == (None, None)
    assert usd(found, "other stages: machines") == pytest.approx(0.72)


def test_calls_count_once_though_they_were_split_or_replayed(tmp_path: Path) -> None:
    whole = cases.calls_of(tmp_path / "whole")
    part = cases.calls_of(tmp_path / "part", cases.PRICES[:2], cost_usd=0.0)
    again = cases.calls_of(tmp_path / "again", provider="replay")
    found = logged_calls([open_artifact(one.path) for one in (whole, part, again)])
    assert (found.num_calls, found.usd_N) == (4, cases.PRICES)
    assert found.total_usd == pytest.approx(0.008)
    assert (found.prompt_tokens, found.completion_tokens) == (40, 12)


def test_what_a_judge_was_paid_counts_and_an_unknown_part_spoils_the_sum(tmp_path: Path) -> None:
    student = cases.student_of(tmp_path)
    for name, cost in (("known", 0.5), ("unknown", None)):
        cases.stage_of(
            tmp_path / name, [student], kind="evaluation", stage="arena", seconds=1.0, cost_usd=cost
        )
    known, unknown = accounts(tmp_path / "known"), accounts(tmp_path / "unknown")
    assert usd(known, "paid by stages") == 0.5
    assert known.fixed_usd is not None
    assert known.fixed_usd.value == pytest.approx(0.908 + 0.5 + 0.0002)
    assert unknown.fixed_usd is None
    assert unknown.missing == ("What arena unknown paid to others is not known, as its price is "
                               "not.",)  # fmt: skip


def test_hours_of_people_need_a_price(student: Path) -> None:
    priced = accounts(student, curation_hours=2.0, governance_hours=1.0, usd_per_person_hour=50.0)
    assert usd(priced, "people's work") == 150.0
    unpriced = accounts(student, curation_hours=2.0)
    assert usd(unpriced, "people's work") is None
    assert unpriced.break_even is None
    assert unpriced.missing == ("2 hours of people have no price; set usd_per_person_hour.",)


def test_refreshing_is_paid_by_request(student: Path) -> None:
    found = accounts(student, refresh_share=0.5, requests_per_refresh=1_000.0)
    assert found.refresh_usd == exactly(0.5 * 0.908 / 1_000)
    assert usd(found, "refreshing the student") == pytest.approx(10_000 * 0.000454)
    assert found.saving_usd is not None
    assert found.saving_usd.value == pytest.approx(0.002 - 0.5e-4 - 0.000454, rel=EXACT)
    too_often = accounts(student, requests_per_refresh=100.0)
    assert too_often.break_even is not None
    assert too_often.break_even.requests is None
    assert "refreshing it costs" in too_often.verdict


def test_the_time_of_an_answer_may_be_given_measured_or_missing(student: Path) -> None:
    missing = accounts(student, speed=None)
    assert missing.student_usd is None
    assert missing.fixed_usd is not None  # what was spent is known all the same
    assert "--evaluation" in missing.missing[0]
    given = accounts(student, student_seconds_per_request=1.0, student_cores=3)
    assert given.student_usd is not None
    assert given.student_usd.is_exact
    assert given.student_usd.value == pytest.approx(3 * 0.36 / 3_600, rel=EXACT)
    hosted = accounts(student, speed=None, student_usd_per_request=0.0004)
    assert hosted.student_usd is not None
    assert hosted.student_usd.value == pytest.approx(0.0004, rel=EXACT)
    unknown_cores = accounts(student, speed=replace(SPEED, cores=None))
    assert unknown_cores.student_usd is not None
    assert unknown_cores.student_usd.value == pytest.approx(0.5 * 0.0002, rel=EXACT)


def test_what_is_never_refreshed_costs_nothing_though_the_rest_is_unknown(tmp_path: Path) -> None:
    unpriced = cases.student_of(tmp_path, costs=(None, None)).path
    found = accounts(unpriced)
    assert found.refresh_usd == exactly(0.0)
    assert not any(one.item == "refreshing the student" for one in found.flows)
    often = accounts(unpriced, requests_per_refresh=10.0)
    assert often.refresh_usd is None
    assert flow(often, "refreshing the student").basis == "unknown"


def test_every_swing_is_the_volume_with_that_input_moved(cascade: Path) -> None:
    found = accounts(cascade)
    by_name = {one.name: one for one in found.swings}

    def again(**given: Any) -> float | None:
        even = accounts(cascade, **given).break_even
        return None if even is None else even.requests

    core = by_name["price of a core"]
    assert core.half == pytest.approx(again(usd_per_core_hour=0.18), rel=EXACT)
    assert core.double == pytest.approx(again(usd_per_core_hour=0.72), rel=EXACT)
    share = by_name["share of requests for the teacher"]
    assert share.half == pytest.approx(again(teacher_share=0.125), rel=EXACT)
    assert share.double == pytest.approx(again(teacher_share=0.5), rel=EXACT)
    speed = by_name["time of an answer of the student"]
    assert speed.double == pytest.approx(again(student_seconds_per_request=1.0,
                                               student_cores=1), rel=EXACT)  # fmt: skip
    widths = [max(one.half, one.double) / min(one.half, one.double)
              for one in found.swings if one.half and one.double]  # fmt: skip
    assert widths == sorted(widths, reverse=True)
    assert "people's hours" not in by_name  # 0 has no half


def test_every_swing_of_the_licence_is_the_royalty_with_that_input_moved(student: Path) -> None:
    usual: dict[str, Any] = {"penalty_usd": 80.0, "evasion_usd": 3.0, "detection_probability": 0.6}
    found = accounts(student, **usual)
    by_name = {one.name: one for one in found.licence_swings}

    def again(**given: Any) -> float | None:
        return accounts(student, **{**usual, **given}).licensing.discounted_usd

    assert by_name["penalty"].half == pytest.approx(again(penalty_usd=40.0), rel=EXACT)
    assert by_name["cost of evading"].double == pytest.approx(again(evasion_usd=6.0), rel=EXACT)
    chance = by_name["chance of detection"]
    assert chance.half == pytest.approx(again(detection_probability=0.3), rel=EXACT)
    assert chance.double == pytest.approx(again(detection_probability=1.0), rel=EXACT)
    rate, years = by_name["discount rate"], by_name["time until the penalty"]
    assert rate.double == pytest.approx(again(discount_rate_per_year=0.14), rel=EXACT)
    assert years.half == pytest.approx(again(years_to_penalty=1.0), rel=EXACT)
    assert found.licence_swings[0].name == "penalty"
    without = accounts(student, evasion_usd=0.0, discount_rate_per_year=0.0)
    assert "cost of evading" not in {one.name for one in without.licence_swings}


def test_an_input_that_ends_all_saving_swings_widest(student: Path) -> None:
    found = accounts(student, teacher_share=0.6)
    assert found.swings[0].name == "share of requests for the teacher"
    assert found.swings[0].double is None  # at most all requests go there
    assert found.swings[0].half is not None


def test_drivers_and_accounts_are_the_same_numbers(student: Path) -> None:
    chain = read_chain(student)
    given = Assumptions(**GIVEN, requests_per_refresh=5_000.0)
    inputs = inputs_of(chain, given, speed=SPEED, service=None)
    drivers = inputs.drivers()
    found = economics(chain.root.path, assumptions=given, speed=SPEED)
    assert drivers is not None
    assert found.fixed_usd is not None
    assert found.break_even is not None
    assert drivers.fixed_usd == pytest.approx(found.fixed_usd.value, rel=EXACT)
    assert drivers.volume == pytest.approx(found.break_even.requests, rel=EXACT)
    assert swings_of(drivers) == found.swings


def test_every_amount_leaves_one_party_and_reaches_another(cascade: Path) -> None:
    found = accounts(
        cascade,
        teacher_margin=0.5, protection_usd=3.0, requests_per_refresh=1e6,
    )  # fmt: skip
    pays = sum(one.pays_usd for one in found.parties)
    earns = sum(one.earns_usd for one in found.parties)
    assert pays == pytest.approx(earns, rel=EXACT)
    assert pays == pytest.approx(sum(one.usd.value for one in found.flows if one.usd), rel=EXACT)
    assert usd(found, "computing the labelling calls") == pytest.approx(0.004)
    spent = sum(
        one.usd.value
        for one in found.flows
        if one.usd and one.payer == "maker" and one.receiver != "operator"
    )
    assert found.fixed_usd is not None
    assert spent == pytest.approx(found.fixed_usd.value, rel=EXACT)


def test_the_authors_of_the_data_are_in_the_accounts_and_paid_by_nobody(student: Path) -> None:
    found = accounts(student)
    learnt = flow(found, "what the teacher learnt from")
    assert (learnt.receiver, learnt.usd, learnt.basis) == ("data authors", None, "unrecorded")
    authors = next(one for one in found.parties if one.name == "data authors")
    assert (authors.earns_usd, authors.num_unknown) == (0.0, 1)
    borne = [one for one in found.effects if one.bearer == "data authors"]
    assert ["paid by nobody" in one.how for one in borne] == [True]


def test_users_and_owner_bear_what_is_no_payment(student: Path) -> None:
    found = accounts(
        student, usd_per_user_hour=18.0, slowdown_share=0.01,
        refused_share=0.001, teacher_training_usd=1e6, teacher_requests=1e8,
    )  # fmt: skip
    effects = {one.name: one.usd.value for one in found.effects if one.usd}
    # each of 10,000 answers of a second waits a hundredth of one longer, at half a cent a second
    assert effects["waiting for marked answers"] == pytest.approx(10_000 * 0.01 * 0.005)
    assert effects["honest requests refused by mistake"] == pytest.approx(10 * 0.002)
    research = effects["the calls' part of the teacher's research and training"]
    assert research == pytest.approx(4 * 0.01)
    assert found.copying[0].ratio == exactly(0.008 / 1e6)


def test_licensing_takes_the_calls_as_penalty_unless_one_is_given(student: Path) -> None:
    usual = accounts(student).licensing
    assert usual.penalty_usd == pytest.approx(0.008)
    assert usual.ceiling_usd == pytest.approx(0.85 * 0.008, rel=EXACT)
    assert usual.discounted_usd == pytest.approx(0.85 * 0.008 / 1.07**2, rel=EXACT)
    given = accounts(
        student, penalty_usd=100.0, evasion_usd=2.0, detection_probability=0.5,
        years_to_penalty=0.0,
    )  # fmt: skip
    case = given.licensing
    assert case.ceiling_usd == case.discounted_usd == 52.0
    assert case.per_row_usd == pytest.approx(52 / 40)
    assert case.per_request_usd == pytest.approx(52 / 10_000)
    assert given.saving_usd is not None
    assert case.share_of_saving == pytest.approx(52 / (10_000 * given.saving_usd.value))
    assert case.forgone_usd == pytest.approx(20.0)
    assert case.detection_needed == pytest.approx(0.18)


def test_scenarios_of_copying_are_ranges_over_the_cost_of_training(student: Path) -> None:
    one = CopyScenario(exchanges=1e6, output_tokens=1_000, usd_per_million=10.0,
                       training_usd_low=1e6, training_usd_high=1e8)  # fmt: skip
    found = accounts(student, copying={"mine": one})
    assert [case.name for case in found.copying] == ["this chain", "mine"]
    mine = found.copying[1]
    assert mine.copy_usd == exactly(10_000.0)
    assert mine.ratio is not None
    assert mine.ratio.low == pytest.approx(1e-4, rel=EXACT)
    assert mine.ratio.value == pytest.approx(1e-3, rel=EXACT)
    assert mine.ratio.high == pytest.approx(1e-2, rel=EXACT)
    assert found.copying[0].ratio is None  # what the owner spent is unknown


def test_the_same_records_give_the_same_bytes(student: Path) -> None:
    assert accounts(student).to_bytes() == accounts(student).to_bytes()


def request(number: int, route: str, *, audited: bool = False, **changes: Any) -> RequestRow:
    fields = {
        "id": f"q{number}", "at": cases.WHEN, "protocol": "/v1/x", "model": "m", "route": route,
        "reason": "sure", "version": "v", "audited": audited, "seconds": 0.3, "queue_s": 0.1,
        "status": 200,
    }  # fmt: skip
    return RequestRow(**{**fields, **changes})


def test_the_log_of_a_server_tells_speed_and_share(student: Path, tmp_path: Path) -> None:
    writer = LogWriter(LogConfig(folder=tmp_path / "log"))
    rows: list[Any] = [request(n, "student") for n in range(30)]
    rows += [request(n, "teacher", seconds=9.0) for n in range(30, 36)]
    rows += [request(n, "student", audited=True) for n in range(36, 40)]
    rows += [request(40, "server", status=400), request(41, "student", status=500, seconds=60.0)]
    rows.append(
        AuditRow(id="q36", at=cases.WHEN, version="v", teacher="t", loss=0.0, given=LogAnswer(),
                 answer=LogAnswer())
    )  # fmt: skip
    for row in rows:
        writer.put(partial(row.model_dump, mode="json"))
    writer.close()
    service = read_service(tmp_path / "log")
    assert service.num_requests == 41
    assert service.speed is not None
    assert service.speed.seconds.value == pytest.approx(0.2)
    assert service.speed.num_answers == 34
    assert service.teacher_share is not None
    assert service.teacher_share.value == pytest.approx(10 / 41)
    found = economics(
        student, assumptions=Assumptions(**GIVEN), speed=SPEED,
        service=service,
    )  # fmt: skip
    assert found.teacher_share == service.teacher_share
    assert found.student_usd is not None
    assert found.student_usd.value == pytest.approx(0.2 * 0.0002)
