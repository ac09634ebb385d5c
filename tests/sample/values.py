"""Classes of a project whose values are passed to tasks."""

import enum
from dataclasses import InitVar, dataclass, field
from functools import cached_property
from typing import Any, ClassVar

from django.utils.functional import SimpleLazyObject

#: What code of these classes has run.
ran = []


class Colour(enum.Enum):
    RED = "red"
    BLOOD = "red"  # noqa: PIE796 (an alias)
    POINT = (1, [2])


class Size(enum.IntEnum):
    SMALL = 1
    LARGE = 2


class Status(enum.StrEnum):
    OPEN = "open"


class Right(enum.Flag):
    READ = enum.auto()
    WRITE = enum.auto()

    @classmethod
    def _missing_(cls, value):
        ran.append("_missing_")
        return super()._missing_(value)


class Bits(enum.IntFlag):
    ONE = 1
    TWO = 2


@dataclass
class Note:
    text: str
    more: Any = None
    written_by: InitVar[str] = "nobody"
    kind: ClassVar[str] = "note"
    length: int = field(init=False)

    def __post_init__(self, written_by):
        ran.append("__post_init__")
        self.length = len(self.text)

    @cached_property
    def words(self):
        return self.text.split()


@dataclass(frozen=True, slots=True)
class Point:
    x: Any
    y: Any = 0
    #: Has no value at first.
    later: Any = field(init=False, repr=False, compare=False)


class Outer:
    @dataclass
    class Inner(Note):
        extra: str = ""

    class Kind(enum.Enum):
        ONE = 1


class LoudMeta(type):
    def __getattr__(cls, name):
        ran.append(name)
        raise AttributeError(name)


class LoudClass(metaclass=LoudMeta):
    pass


LAZY = SimpleLazyObject(lambda: ran.append("LAZY"))


class Loud:
    """A descriptor: to set the field would run its code."""

    def __get__(self, instance, owner):
        return 5

    def __set__(self, instance, value):
        ran.append("__set__")


@dataclass
class WithDescriptor:
    value: int = Loud()


@dataclass
class Words(list):
    title: str = ""


class Plain:
    pass


@dataclass
class Money:
    """Knows how it is stored; see MoneyEncoder."""

    amount: int
    currency: str
