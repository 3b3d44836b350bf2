"""What all resources share: an engine, and the three forms in which they can give an answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from enum import Enum, auto
from functools import partial, wraps
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Generic,
    ParamSpec,
    TypeVar,
    cast,
    get_args,
    get_origin,
    overload,
)

import attrs

from ..hints import Hinted
from ..protocol.calls import Call, Extras
from ..protocol.codec import decode
from ..protocol.secret import Secret
from ..protocol.uncopied import Uncopied
from ..transport.engine import Answer, Engine
from ..transport.pager import AsyncPage, AsyncPaginator, Listing, PageBody
from ..transport.raw import AsyncAPIResponse, AsyncStreamed
from .members import filled, put, returning, rows_in, said_to_return

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Form(Enum):
    """In which form a resource gives its answers."""

    PARSED = auto()
    RAW = auto()
    STREAMED = auto()


class Resource(Hinted, Uncopied):
    """A group of operations. Its methods describe calls; the engine sends them."""

    def __init__(self, engine: Engine, form: Form = Form.PARSED) -> None:
        self._engine = engine
        self._form = form

    def _send(self, call: Call, kind: type[_T], extras: Extras) -> Awaitable[_T]:
        read = partial(_read, kind)
        if self._form is Form.PARSED:
            return self._engine.exchange(call, extras, read)
        raw = self._engine.exchange(call, self._streaming(extras), lambda answer: AsyncAPIResponse(answer, read))
        # The rows of a raw or streamed view say what this really is; the methods under them are written once.
        return cast("Awaitable[_T]", raw)

    def _list(self, call: Call, kind: type[PageBody[_T]], extras: Extras) -> AsyncPaginator[_T]:
        listing = Listing(self._engine, call, kind, extras)
        if self._form is Form.PARSED:
            return AsyncPaginator(listing)
        streaming = self._streaming(extras)
        raw = self._engine.exchange(call, streaming, lambda answer: AsyncAPIResponse(answer, listing.read))
        return cast("AsyncPaginator[_T]", raw)

    def _streaming(self, extras: Extras) -> Extras:
        return attrs.evolve(extras, stream=self._form is Form.STREAMED)


def _read(kind: type[_T], answer: Answer) -> _T:
    return decode(answer.response, kind, asked=answer.request)


class RawView(Hinted, Uncopied):
    """A resource whose methods answer with raw responses, their bodies read."""

    def __init__(self, resource: type[Resource], engine: Engine) -> None:
        self._resource = resource(engine, Form.RAW)

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        for name, row in rows_in(cls, viewed):
            put(cls, name, row.raw(), row.owner)


class StreamedView(Hinted, Uncopied):
    """A resource whose methods answer with context managers of raw responses, their bodies on the wire."""

    def __init__(self, resource: type[Resource], engine: Engine) -> None:
        self._resource = resource(engine, Form.STREAMED)

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        for name, row in rows_in(cls, viewed):
            put(cls, name, row.streamed(), row.owner)


class viewed(Generic[_P, _T]):  # noqa: N801 - a row reads as a word: `create = viewed(AsyncOAuthClients.create)`
    """A row of a raw or streamed view: an operation with its parameters as they are and its answer in another form.

    Each view has a function of its own, which looks like what it is: a coroutine function, or one that gives a context manager.
    """

    def __init__(self, method: Callable[Concatenate[Any, _P], Awaitable[_T]]) -> None:
        self._method = method
        self.owner = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self.owner = owner.__qualname__

    def _dressed(self, function: Any, form: type) -> Any:
        """The function with the looks of the operation, and said to return this form of its answer."""
        method = self._method
        kind = said_to_return(method)
        if get_origin(kind) is AsyncPaginator:
            return wraps(returning(method, filled(form, filled(AsyncPage, *get_args(kind)))))(function)
        dressed = wraps(method)(function)
        dressed.__annotations__ = {**method.__annotations__, "return": filled(form, kind)}
        return dressed

    def raw(self) -> Any:
        """The function for a raw view."""
        method = self._method

        async def row(view: RawView, *args: _P.args, **kwargs: _P.kwargs) -> object:
            given = Secret((args, kwargs))
            del args, kwargs
            return await method(view._resource, *given.plain[0], **given.plain[1])

        return self._dressed(row, AsyncAPIResponse)

    def streamed(self) -> Any:
        """The function for a streamed view."""
        method = self._method

        def row(view: StreamedView, *args: _P.args, **kwargs: _P.kwargs) -> object:
            given = Secret((args, kwargs))
            del args, kwargs

            def send() -> Any:
                return method(view._resource, *given.plain[0], **given.plain[1])

            return AsyncStreamed(send)

        return self._dressed(row, AsyncStreamed)

    if TYPE_CHECKING:

        @overload
        def __get__(self, view: RawView, owner: object = None) -> Callable[_P, Awaitable[AsyncAPIResponse[_T]]]: ...

        @overload
        def __get__(self, view: StreamedView, owner: object = None) -> Callable[_P, AsyncStreamed[_T]]: ...

        @overload
        def __get__(self, view: None, owner: object = None) -> Callable[..., object]: ...

        def __get__(self, view: RawView | StreamedView | None, owner: object = None) -> Any:
            """The row as a method of the view."""


def viewed_list(method: Callable[Concatenate[Any, _P], AsyncPaginator[_T]]) -> viewed[_P, AsyncPage[_T]]:
    """A row for an operation that lists."""
    return viewed(cast("Callable[Concatenate[Any, _P], Awaitable[AsyncPage[_T]]]", method))
