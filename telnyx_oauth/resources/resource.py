"""The base class of the resources, and their raw and streamed views."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from enum import Enum, auto
from functools import cached_property, partial, wraps
from types import FunctionType, SimpleNamespace
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
    get_type_hints,
    overload,
)

import attrs

from ..hints import Hinted
from ..protocol.converter import decode
from ..protocol.requests import Call, Extras
from ..protocol.secret import Secret, Uncopied
from ..transport.engine import Answer, Engine
from ..transport.pagination import AsyncPage, AsyncPaginator, Listing, PageBody
from ..transport.responses import AsyncAPIResponse, AsyncStreamed

if TYPE_CHECKING:
    member = property
    part = cached_property
else:

    class member(property):  # noqa: N801 - it is used as `property` is
        """A property. Looked up on the class, it is the return type of its getter, so that mocks and `help` see that."""

        def __get__(self, instance: object, owner: type | None = None) -> Any:
            """The getter's value, or its type."""
            return get_type_hints(self.fget)["return"] if instance is None else super().__get__(instance, owner)

    class part(cached_property):  # noqa: N801 - it is used as `cached_property` is
        """A cached property. Looked up on the class, it is the type of its value, as with `member`."""

        def __get__(self, instance: object, owner: type | None = None) -> Any:
            """The cached value, or its type."""
            return get_type_hints(self.func)["return"] if instance is None else super().__get__(instance, owner)


def rows_in(kind: type, row: type) -> Iterator[tuple[str, Any]]:
    """The names and rows of a class and its bases, without those that a subclass overrides."""
    members: dict[str, object] = {}
    for base in reversed(kind.__mro__):
        members.update(vars(base))
    return ((name, value) for name, value in members.items() if isinstance(value, row))


def return_type(method: Callable[..., object]) -> Any:
    """The type in a method's return annotation. Types in its other annotations need not exist yet."""
    return_alone = SimpleNamespace(__annotations__={"return": method.__annotations__["return"]})
    return get_type_hints(return_alone, method.__globals__)["return"]


def returning(method: Callable[..., object], kind: object) -> Callable[..., object]:
    """A copy of a method that is annotated to return `kind`: a model for `functools.wraps`, and not to be called.

    `inspect` and `typing` derive a signature from it on demand, so importing the package need not make any.
    """
    assert isinstance(method, FunctionType)
    twin = FunctionType(method.__code__, method.__globals__, method.__name__, method.__defaults__, method.__closure__)
    twin.__kwdefaults__ = method.__kwdefaults__
    twin.__annotations__ = {**method.__annotations__, "return": kind}
    twin.__doc__, twin.__module__, twin.__qualname__ = method.__doc__, method.__module__, method.__qualname__
    return twin


def filled(generic: Any, *kinds: object) -> Any:
    """A generic class with these type arguments, for an annotation that is made at run time."""
    return generic[kinds]


def put(owner: type, name: str, function: FunctionType, rows: str) -> None:
    """Put a plain function in the place of a row: mocks, `help` and debuggers know functions. `rows` is the row's class."""
    function.__qualname__ = f"{rows}.{name}"
    function.__module__ = owner.__module__
    setattr(owner, name, function)


_P = ParamSpec("_P")
_T = TypeVar("_T")


class Form(Enum):
    """The form in which a resource returns answers."""

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
        # Not a `_T`, but only raw and streamed views come here, and their rows declare the real type.
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
    """A resource whose methods return raw responses, after their bodies are read. A base class."""

    def __init__(self, resource: type[Resource], engine: Engine) -> None:
        self._resource = resource(engine, Form.RAW)

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        for name, row in rows_in(cls, viewed):
            put(cls, name, row.raw(), row.owner)


class StreamedView(Hinted, Uncopied):
    """A resource whose methods return context managers of raw responses, before their bodies are read. A base class."""

    def __init__(self, resource: type[Resource], engine: Engine) -> None:
        self._resource = resource(engine, Form.STREAMED)

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        for name, row in rows_in(cls, viewed):
            put(cls, name, row.streamed(), row.owner)


class viewed(Generic[_P, _T]):  # noqa: N801 - a row reads as a word: `create = viewed(AsyncOAuthClients.create)`
    """A row of a raw or streamed view: an operation with the same parameters, and its answer in another form.

    Each view gets a function of its own: a coroutine function, or a plain one that returns a context manager.
    """

    def __init__(self, method: Callable[Concatenate[Any, _P], Awaitable[_T]]) -> None:
        self._method = method
        self.owner = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self.owner = owner.__qualname__

    def _annotate(self, function: Any, form: type) -> Any:
        """Give the function the signature of the operation, with this form of the answer as its return type."""
        method = self._method
        kind = return_type(method)
        if get_origin(kind) is AsyncPaginator:
            return wraps(returning(method, filled(form, filled(AsyncPage, *get_args(kind)))))(function)
        wrapper = wraps(method)(function)
        wrapper.__annotations__ = {**method.__annotations__, "return": filled(form, kind)}
        return wrapper

    def raw(self) -> Any:
        """The function for a raw view."""
        method = self._method

        async def row(view: RawView, *args: _P.args, **kwargs: _P.kwargs) -> object:
            arguments = Secret((args, kwargs))
            del args, kwargs
            return await method(view._resource, *arguments.plain[0], **arguments.plain[1])

        return self._annotate(row, AsyncAPIResponse)

    def streamed(self) -> Any:
        """The function for a streamed view."""
        method = self._method

        def row(view: StreamedView, *args: _P.args, **kwargs: _P.kwargs) -> object:
            arguments = Secret((args, kwargs))
            del args, kwargs

            def send() -> Any:
                return method(view._resource, *arguments.plain[0], **arguments.plain[1])

            return AsyncStreamed(send)

        return self._annotate(row, AsyncStreamed)

    if TYPE_CHECKING:

        @overload
        def __get__(self, view: RawView, owner: object = None) -> Callable[_P, Awaitable[AsyncAPIResponse[_T]]]: ...

        @overload
        def __get__(self, view: StreamedView, owner: object = None) -> Callable[_P, AsyncStreamed[_T]]: ...

        @overload
        def __get__(self, view: None, owner: object = None) -> Callable[..., object]: ...

        def __get__(self, view: RawView | StreamedView | None, owner: object = None) -> Any:
            """The method of the view, for type checkers: `put` replaces rows by functions."""


def viewed_list(method: Callable[Concatenate[Any, _P], AsyncPaginator[_T]]) -> viewed[_P, AsyncPage[_T]]:
    """A row for an operation that lists."""
    return viewed(cast("Callable[Concatenate[Any, _P], Awaitable[AsyncPage[_T]]]", method))
