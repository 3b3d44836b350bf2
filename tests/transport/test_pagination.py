from __future__ import annotations

import json
from urllib.parse import parse_qs, urlsplit

import pytest

from telnyx_oauth.errors import APIResponseValidationError, APIStatusError
from telnyx_oauth.messages import Response
from telnyx_oauth.transport.pagination import PageInfo
from tests.operations import GRANT
from tests.wire import Script, reply, resources


def grant(number: int) -> dict[str, object]:
    return {**GRANT, "id": str(number)}


def page(*numbers: int, **meta: int) -> Response:
    body: dict[str, object] = {"data": [grant(number) for number in numbers]}
    if meta:
        body["meta"] = meta
    return reply(200, json.dumps(body).encode())


def asked(send: Script) -> list[str | None]:
    return [parse_qs(urlsplit(each.url).query).get("page[number]", [None])[0] for each in send.requests]


THREE = (
    page(1, 2, page_number=1, total_pages=3),
    page(3, 4, page_number=2, total_pages=3),
    page(5, page_number=3, total_pages=3),
)


async def test_going_over_a_list_goes_over_all_its_pages():
    send = Script(*THREE)
    assert [each.id async for each in resources(send).oauth_grants.list(page_size=2)] == ["1", "2", "3", "4", "5"]
    assert asked(send) == [None, "2", "3"]
    assert all("page%5Bsize%5D=2" in each.url for each in send.requests)


async def test_going_over_a_page_goes_on_from_there():
    send = Script(*THREE[1:])
    first = await resources(send).oauth_grants.list(page_number=2)
    assert [each.id async for each in first] == ["3", "4", "5"]
    assert asked(send) == ["2", "3"]


async def test_pages_come_one_by_one():
    send = Script(*THREE)
    first = await resources(send).oauth_grants.list()
    assert (first.has_next_page(), first.next_page_info()) == (True, PageInfo({"page[number]": 2}))
    assert [[each.id for each in one.data] async for one in first.iter_pages()] == [["1", "2"], ["3", "4"], ["5"]]
    second = await resources(Script(THREE[2])).oauth_grants.list()
    assert (second.has_next_page(), second.next_page_info()) == (False, None)
    with pytest.raises(RuntimeError, match="has_next_page"):
        await second.get_next_page()


async def test_leaving_early_asks_for_nothing_more():
    send = Script(*THREE)
    async for each in resources(send).oauth_grants.list():
        assert each.id == "1"
        break
    assert len(send.requests) == 1


@pytest.mark.parametrize(
    "only",
    [
        page(),
        page(page_number=1, total_pages=9),
        page(1),
        page(1, page_number=1),
        page(1, total_pages=1),
        page(1, page_number=1, total_pages=0),
    ],
    ids=["empty", "empty of nine", "no meta", "no total", "no number", "none at all"],
)
async def test_an_only_page_is_the_last(only):
    send = Script(only)
    first = await resources(send).oauth_grants.list()
    assert not first.has_next_page()
    assert len([each async for each in first]) == len(first.data)
    assert len(send.requests) == 1


async def test_a_server_that_does_not_say_which_page_this_is_is_taken_at_its_total():
    send = Script(page(1, total_pages=3), page(2, total_pages=3), page(3, total_pages=3))
    assert [each.id async for each in resources(send).oauth_grants.list()] == ["1", "2", "3"]
    assert asked(send) == [None, "2", "3"]


@pytest.mark.parametrize("how", ["argument", "extra_query", "text"])
async def test_the_page_that_was_asked_for_is_where_counting_starts(how):
    send = Script(page(3, total_pages=4), page(4, total_pages=4))
    parameters = {
        "argument": {"page_number": 3},
        "extra_query": {"extra_query": {"page[number]": 3}},
        "text": {"extra_query": {"page[number]": "3", "x": "y"}},
    }[how]
    assert [each.id async for each in resources(send).oauth_grants.list(**parameters)] == ["3", "4"]
    assert asked(send) == ["3", "4"]
    if how == "text":
        assert "x=y" in send.requests[1].url


@pytest.mark.parametrize(
    "second, problem",
    [
        (page(1, page_number=1, total_pages=9), r"\$.meta.page_number: expected 2, found 1"),
        (page(3, page_number=3, total_pages=9), r"\$.meta.page_number: expected 2, found 3"),
        (page(1, page_number=2, total_pages=9), r"\$.data: page 2 has the items of an earlier one"),
        (page(1, total_pages=9), r"\$.data: page 2 has the items"),
    ],
)
async def test_a_server_that_repeats_pages_is_stopped(second, problem):
    send = Script(page(1, page_number=1, total_pages=9), second)
    items = aiter(resources(send).oauth_grants.list())
    assert (await anext(items)).id == "1"
    with pytest.raises(APIResponseValidationError, match=problem):
        await anext(items)
    assert len(send.requests) == 2


@pytest.mark.parametrize("concurrently", [False, True])
@pytest.mark.parametrize("told", [False, True], ids=["untold", "told"])
@pytest.mark.parametrize("first", [1, 7])
@pytest.mark.parametrize(("lead", "circle"), [(0, 2), (3, 2), (0, 3), (5, 7), (0, 40)])
async def test_a_server_that_goes_in_a_circle_is_stopped(lead, circle, first, told, concurrently):
    def answer(request):
        number = int(parse_qs(urlsplit(request.url).query)["page[number]"][0])
        place = number - first
        item = place if place < lead else lead + (place - lead) % circle
        return page(item, total_pages=10**9, **({"page_number": number} if told else {}))

    send = Script(answer)
    listing = resources(send).oauth_grants.list(page_number=first)
    seen = []

    async def go_over_all():
        async for each in listing.concurrently(4) if concurrently else listing:
            seen.append(int(each.id))
            assert len(seen) < 3 * (first + lead + circle)

    with pytest.raises(APIResponseValidationError, match="has the items of an earlier one"):
        await go_over_all()
    assert set(seen) == set(range(lead + circle)), "each was seen before that"


async def test_a_page_may_be_asked_for_again():
    send = Script(*(page(item, total_pages=4) for item in (1, 2, 2)))
    first = await resources(send).oauth_grants.list()
    assert (await first.get_next_page()).data == (await first.get_next_page()).data


async def test_a_page_that_fails_is_the_callers_and_can_be_asked_for_again():
    send = Script(THREE[0], reply(403), THREE[1])
    first = await resources(send).oauth_grants.list()
    with pytest.raises(APIStatusError):
        await first.get_next_page()
    assert [each.id for each in (await first.get_next_page()).data] == ["3", "4"]


async def test_a_list_can_be_gone_over_again():
    send = Script(page(1, page_number=1, total_pages=1))
    listing = resources(send).oauth_grants.list()
    assert [each.id async for each in listing] == [each.id async for each in listing] == ["1"]
    assert len(send.requests) == 2


async def test_extras_go_with_every_page():
    send = Script(*THREE)
    listing = resources(send).oauth_grants.list(extra_headers={"X-A": "b"}, extra_query={"q": "v"}, timeout=3)
    assert len([each async for each in listing]) == 5
    for each in send.requests:
        assert (each.headers["X-A"], each.timeout.total, "q=v" in each.url) == ("b", 3, True)


async def test_a_page_tells_what_it_holds():
    first = await resources(Script(THREE[0])).oauth_grants.list()
    assert repr(first).startswith("AsyncPage(data=[OAuthGrant(id='1'")
    assert first.to_dict()["meta"] == {"page_number": 1, "total_pages": 3}
    assert first.meta.total_pages == 3
