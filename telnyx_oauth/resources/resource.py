"""What all resources share: an engine, and the three forms in which they can give an answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from enum import Enum, auto
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, TypeVar, cast, overload

import attrs

from ..hints import Hinted
from ..protocol.calls import Call, Extras
from ..protocol.codec import decode
from ..protocol.secret import Secret
from ..protocol.uncopied import Uncopied
from ..transport.engine import Answer, Engine
from ..transport.pager import AsyncPage, AsyncPaginator, Listing, PageBody
from ..transport.raw import AsyncAPIResponse, AsyncStreamed

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


class StreamedView(Hinted, Uncopied):
    """A resource whose methods answer with context managers of raw responses, their bodies on the wire."""

    def __init__(self, resource: type[Resource], engine: Engine) -> None:
        self._resource = resource(engine, Form.STREAMED)


class viewed(Generic[_P, _T]):  # noqa: N801 - a row reads as a word: `create = viewed(AsyncOAuthClients.create)`
    """A row of a raw or streamed view: an operation with its parameters as they are and its answer in another form."""

    def __init__(self, method: Callable[Concatenate[Any, _P], Awaitable[_T]]) -> None:
        @wraps(method)
        def row(view: RawView | StreamedView, *args: _P.args, **kwargs: _P.kwargs) -> object:
            given = Secret((args, kwargs))
            del args, kwargs

            def send() -> Any:
                return method(view._resource, *given.plain[0], **given.plain[1])

            return send() if isinstance(view, RawView) else AsyncStreamed(send)

        self._row = row

    def __set_name__(self, owner: type, name: str) -> None:
        # From here on the class has the function itself: mocks, `help` and debuggers know what that is.
        setattr(owner, name, self._row)

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
