"""Tokens are counted from the text alone; reference counts are those of OpenAI's o200k_base."""

# Sentences in many scripts, each on a line of its own.
# ruff: noqa: E501, RUF001
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillhouse.records import Message, Prompt, Tool, ToolCall
from stillhouse.teachers._tokens import estimate_prompt_tokens, estimate_tokens

# Counted with bpe-openai 0.1.4; long enough that single words do not matter.
COUNTED = [
    (
        "The invoice that you sent us last week does not match the order: two of the five items are missing, and the total is wrong.",
        28,
    ),
    (
        "def mean(values: list[float]) -> float:\n    if not values:\n        raise ValueError('no values')\n    return sum(values) / len(values)\n",
        33,
    ),
    (
        '{"id": "a-17", "tags": ["late", "paid"], "amount": 1249.5, "lines": [{"sku": "X1", "count": 3}, {"sku": "Y2", "count": 1}]}',
        56,
    ),
    (
        "Die Rechnung, die Sie uns letzte Woche geschickt haben, stimmt nicht mit der Bestellung überein: Zwei der fünf Artikel fehlen.",
        26,
    ),
    (
        "La facture que vous nous avez envoyée la semaine dernière ne correspond pas à la commande : deux des cinq articles manquent.",
        25,
    ),
    (
        "Счёт, который вы прислали нам на прошлой неделе, не соответствует заказу: не хватает двух из пяти товаров, и сумма неверна.",
        33,
    ),
    (
        "Το τιμολόγιο που μας στείλατε την περασμένη εβδομάδα δεν ταιριάζει με την παραγγελία: λείπουν δύο από τα πέντε είδη.",
        46,
    ),
    (
        "الفاتورة التي أرسلتموها إلينا الأسبوع الماضي لا تطابق الطلب: اثنان من الأصناف الخمسة مفقودان والمجموع خاطئ.",
        35,
    ),
    (
        "पिछले सप्ताह आपने हमें जो चालान भेजा था वह आदेश से मेल नहीं खाता: पाँच में से दो वस्तुएँ गायब हैं और कुल राशि गलत है।",
        36,
    ),
    (
        "你们上周寄给我们的发票与订单不符：五件商品中缺少两件，总金额也不正确，请尽快更正并重新寄送。",
        37,
    ),
    (
        "先週お送りいただいた請求書は注文書と一致していません。五つの商品のうち二つが不足しており、合計金額も間違っています。",
        41,
    ),
    (
        "지난주에 보내 주신 청구서가 주문서와 일치하지 않습니다. 다섯 품목 중 두 개가 누락되었고 합계 금액도 틀립니다.",
        41,
    ),
    ("ใบแจ้งหนี้ที่คุณส่งให้เราเมื่อสัปดาห์ที่แล้วไม่ตรงกับใบสั่งซื้อ สินค้าสองในห้ารายการหายไปและยอดรวมไม่ถูกต้อง", 44),
]


@pytest.mark.parametrize(("text", "num_tokens"), COUNTED, ids=[text[:12] for text, _ in COUNTED])
def test_text_of_any_script_is_counted_within_a_quarter(text: str, num_tokens: int) -> None:
    assert 0.75 <= estimate_tokens(text) / num_tokens <= 1.25


@given(st.text(alphabet=st.characters()), st.text(alphabet=st.characters()))
def test_any_text_has_a_count_and_more_text_has_more(first: str, second: str) -> None:
    assert estimate_tokens("") == 0.0
    both = estimate_tokens(first + second)
    assert both == pytest.approx(estimate_tokens(first) + estimate_tokens(second))
    assert both <= 4 * len((first + second).encode("utf-8", "surrogatepass"))


def test_everything_that_is_sent_with_a_prompt_counts() -> None:
    plain = Prompt(id="a", messages=(Message(role="user", content="How warm is it in Oslo?"),))
    tool = Tool(name="weather", parameters='{"type": "object", "properties": {"city": {}}}')
    call = ToolCall(id="1", name="weather", arguments='{"city": "Oslo"}')
    variants = [
        plain.model_copy(update={"tools": (tool,)}),
        plain.model_copy(update={"output_schema": '{"type": "string"}'}),
        plain.model_copy(
            update={
                "messages": (
                    *plain.messages,
                    Message(role="assistant", content="", tool_calls=(call,)),
                )
            }
        ),
    ]
    for variant in variants:
        assert estimate_prompt_tokens(variant) > estimate_prompt_tokens(plain) + 4
