"""Verbs that can give a recording of a single call: ``results, rec = cf.puts(files, return_recording=True)``."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, Literal, ParamSpec, Protocol, TypeVar, cast, overload

from .records import Recording, record

P = ParamSpec("P")
S = TypeVar("S")
T = TypeVar("T")
Given = TypeVar("Given", covariant=True)
Owner = TypeVar("Owner", contravariant=True)


class Verb(Protocol[P, Given]):
    """What it gives, or with ``return_recording`` a pair: that, and a ``Recording``."""

    @overload
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Given: ...
    @overload
    def __call__(self, *args: Any, return_recording: Literal[True], **kwargs: Any) -> tuple[Given, Recording]: ...


class Recordable(Protocol[Owner, P, Given]):
    """A method that is a ``Verb``."""

    @overload
    def __get__(self, owner: None, kind: object) -> Callable[Concatenate[Owner, P], Given]: ...
    @overload
    def __get__(self, owner: Owner, kind: object) -> Verb[P, Given]: ...


def recordable(method: Callable[Concatenate[S, P], T]) -> Recordable[S, P, T]:
    """Let a method take ``return_recording``: what its call does is recorded then, and the recording comes with it."""

    @wraps(method)
    def verb(owner: S, *args: P.args, **kwargs: P.kwargs) -> Any:
        if not kwargs.pop("return_recording", False):
            return method(owner, *args, **kwargs)
        with record() as rec:
            return method(owner, *args, **kwargs), rec

    plain = inspect.signature(method)
    more = inspect.Parameter("return_recording", inspect.Parameter.KEYWORD_ONLY, default=False, annotation="bool")
    verb.__signature__ = plain.replace(parameters=[*plain.parameters.values(), more])  # type: ignore[attr-defined]
    return cast("Recordable[S, P, T]", verb)
