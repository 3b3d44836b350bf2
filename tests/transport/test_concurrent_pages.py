from __future__ import annotations

import asyncio
import json
from contextlib import aclosing
from urllib.parse import parse_qs, urlsplit

import pytest

from telnyx_oauth.errors import APIConnectionError, APIResponseValidationError
from telnyx_oauth.messages import Request, Response
from tests.operations import GRANT
from tests.wire import reply, resources


class Pages:
    """A list of `total` pages with two items each. With `held`, an answer comes only when `free` lets it."""

    def __init__(self, total: int, *, held: bool = False) -> None:
        self.total = total
        self.held = held
        self.asked: list[int] = []
        self.given_up: list[int] = []
        self.most = 0
        self.wrong: dict[int, Response | Exception] = {}
        self._waiting: dict[int, asyncio.Event] = {}

    async def __call__(self, request: Request) -> Response:
        number = int(parse_qs(urlsplit(request.url).query).get("page[number]", ["1"])[0])
        self.asked.append(number)
        self._waiting[number] = asyncio.Event()
        self.most = max(self.most, len(self._waiting))
        try:
            if self.held and number > 1:
                await self._waiting[number].wait()
            else:
                await asyncio.sleep(0)
        except asyncio.CancelledError:
            self.given_up.append(number)
            raise
        finally:
            del self._waiting[number]
        wrong = self.wrong.get(number)
        if isinstance(wrong, Exception):
            raise wrong
        return wrong or self.page(number, 2 * number - 1, 2 * number)

    def page(self, number: int, *ids: int, total: int | None = None) -> Response:
        meta = {"page_number": number, "total_pages": self.total if total is None else total}
        return reply(200, json.dumps({"data": [{**GRANT, "id": str(each)} for each in ids], "meta": meta}).encode())

    async def under_way(self, *numbers: int) -> None:
        """Wait until just these pages are on their way."""
        while sorted(self._waiting) != sorted(numbers):
            await asyncio.sleep(0)

    def free(self, number: int) -> None:
        self._waiting[number].set()


def ids(*numbers: int) -> list[str]:
    return [str(each) for number in numbers for each in (2 * number - 1, 2 * number)]


@pytest.mark.parametrize("pages", [1, 2, 8, 100])
async def test_all_items_come_in_order_and_each_page_is_asked_for_once(pages):
    send = Pages(10)
    found = [each.id async for each in resources(send).oauth_grants.list().concurrently(pages)]
    assert found == ids(*range(1, 11))
    assert send.asked == list(range(1, 11))
    assert send.most == min(pages, 9)


async def test_it_goes_on_from_the_page_at_hand_without_asking_for_it_again():
    send = Pages(4)
    page = await resources(send).oauth_grants.list(page_number=2)
    assert [each.id async for each in page.concurrently(8)] == ids(2, 3, 4)
    assert send.asked == [2, 3, 4]


async def test_pages_that_come_in_another_order_are_put_in_order():
    send = Pages(4, held=True)
    grants = resources(send).oauth_grants
    found: list[str] = []

    async def read() -> None:
        found.extend([each.id async for each in grants.list().concurrently(3)])

    reading = asyncio.create_task(read())
    for number in (4, 3, 2):
        await send.under_way(*range(2, number + 1))
        send.free(number)
    await reading
    assert found == ids(1, 2, 3, 4)


async def test_nothing_is_fetched_before_the_second_page_is_needed():
    send = Pages(10)
    async with aclosing(resources(send).oauth_grants.list().concurrently(8)) as items:
        assert [(await anext(items)).id, (await anext(items)).id] == ids(1)
    assert send.asked == [1]


async def test_one_page_is_fetched_while_the_page_before_it_is_looked_at():
    send = Pages(5, held=True)
    async with aclosing(resources(send).oauth_grants.list().concurrently(1)) as items:
        await anext(items), await anext(items)
        third = asyncio.create_task(anext(items))
        await send.under_way(2)
        send.free(2)
        assert (await third).id == "3"
        await send.under_way(3)


async def test_who_stops_gives_up_what_is_on_its_way_and_starts_nothing_more():
    send = Pages(100, held=True)
    async with aclosing(resources(send).oauth_grants.list().concurrently(3)) as items:
        await anext(items), await anext(items)
        third = asyncio.create_task(anext(items))
        await send.under_way(2, 3, 4)
        send.free(2)
        await third
        await send.under_way(3, 4, 5)
    assert (send.asked, sorted(send.given_up)) == ([1, 2, 3, 4, 5], [3, 4, 5])


async def test_pages_that_wait_to_be_looked_at_count_too():
    send = Pages(100)
    async with aclosing(resources(send).oauth_grants.list().concurrently(3)) as items:
        async for each in items:
            if each.id == "3":
                break
        for _ in range(20):
            await asyncio.sleep(0)
        assert send.asked == [1, 2, 3, 4, 5]


async def test_an_error_comes_where_its_items_would_have_come():
    send = Pages(10)
    send.wrong[4] = APIConnectionError("broken", sent=True)
    items = resources(send, max_retries=0).oauth_grants.list().concurrently(8)
    assert [(await anext(items)).id for _ in range(6)] == ids(1, 2, 3)
    with pytest.raises(APIConnectionError, match="broken"):
        await anext(items)


async def test_an_error_behind_the_place_where_the_caller_stops_is_never_seen():
    send = Pages(10)
    send.wrong[3] = APIConnectionError("broken", sent=True)
    async with aclosing(resources(send, max_retries=0).oauth_grants.list().concurrently(8)) as items:
        assert [(await anext(items)).id for _ in range(4)] == ids(1, 2)


async def test_who_is_cancelled_gives_up_what_is_on_its_way():
    send = Pages(10, held=True)
    grants = resources(send).oauth_grants

    async def read() -> list[object]:
        return [each async for each in grants.list().concurrently(2)]

    reading = asyncio.create_task(read())
    await send.under_way(2, 3)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert sorted(send.given_up) == [2, 3]


async def test_a_server_that_repeats_pages_is_found_out():
    send = Pages(10)
    send.wrong[3] = send.page(3, 3, 4)
    with pytest.raises(APIResponseValidationError, match="page 3 has the items of an earlier one"):
        [each async for each in resources(send).oauth_grants.list().concurrently(4)]


async def test_the_newest_page_says_how_many_there_are():
    send = Pages(2)
    send.wrong[2] = send.page(2, 3, 4, total=3)
    assert [each.id async for each in resources(send).oauth_grants.list().concurrently(4)] == [*ids(1, 2), "5", "6"]
    send = Pages(9)
    send.wrong[3] = send.page(3, 5, total=3)
    assert [each.id async for each in resources(send).oauth_grants.list().concurrently(2)] == [*ids(1, 2), "5"]
    assert max(send.asked) <= 4


async def test_an_empty_page_is_the_last():
    send = Pages(1000)
    send.wrong[2] = send.page(2)
    assert [each.id async for each in resources(send).oauth_grants.list().concurrently(2)] == ids(1)
    assert max(send.asked) <= 3


@pytest.mark.parametrize("pages", [0, -1])
async def test_less_than_one_page_is_refused_at_once(pages):
    grants = resources(Pages(1)).oauth_grants
    with pytest.raises(ValueError, match="1 or more"):
        grants.list().concurrently(pages)
    with pytest.raises(ValueError, match="1 or more"):
        (await grants.list()).concurrently(pages)
