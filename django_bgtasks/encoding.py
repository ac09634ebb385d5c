"""Values that JSON has not, as tagged JSON and back; never by running what a row says.

A value is stored as a dict with the reserved key ``__bgtasks__``, which says its kind:
``{"__bgtasks__": "decimal", "value": "12.50"}``.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import inspect
import sys
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from types import MemberDescriptorType, ModuleType
from typing import Any, Final, NamedTuple, TypeVar, cast
from uuid import UUID
from zoneinfo import ZoneInfo

from django.utils.functional import cached_property

from django_bgtasks.conf import get_settings, import_class
from django_bgtasks.exceptions import CannotDecode
from django_bgtasks.references import Reference

#: The key that makes a dict of a row a tagged value; no dict of a project's may have it.
TAG: Final = "__bgtasks__"

T = TypeVar("T")

_CONTAINERS = frozenset({list, dict})


class Tagged(NamedTuple):
    """A value on its way into JSON.

    Args:
        kind: what to call it in the row.
        fields: what makes it anew: JSON, or what the encoder can make JSON.
    """

    kind: str
    fields: Mapping[str, Any]


class Encoder:
    """The strict one, without ``BGTASKS["ENCODER"]``: takes references, no more."""

    def encode(self, value: Any) -> Tagged | None:
        """How to store ``value``, which is no plain JSON; None: it is not mine.

        Raises:
            ValueError: it cannot be stored; the message ends the sentence "args[0] is a
                Money, and ...".
        """
        if type(value) is Reference:
            return Tagged("reference", {"value": str(value)})
        return None

    def decode(self, kind: str, fields: dict[str, Any]) -> Any:
        """The value that was stored so. The opposite of ``encode``.

        It must neither import nor call what ``fields`` names. All of our own kinds are
        understood, whatever the setting is now.

        Raises:
            CannotDecode: ``kind`` is not known. Whatever else is raised becomes one.
        """
        if kind not in _DECODERS:
            raise CannotDecode(
                f"A value of the kind {kind!r} is stored, which the encoder does not "
                "know. Was BGTASKS['ENCODER'] changed? Set one that decodes it."
            )
        return _DECODERS[kind](fields)


class RichEncoder(Encoder):
    """Takes dates and times, Decimal, UUID, enums and dataclasses, and gives them back.

    For ``BGTASKS["ENCODER"]``. A subclass can add types of its own.
    """

    def encode(self, value: Any) -> Tagged | None:
        """As ``Encoder.encode``."""
        cls = type(value)
        # Of subclasses it is not known what else they hold.
        if cls in _ENCODERS:
            return _ENCODERS[cls](value)
        if isinstance(value, enum.Enum):
            return _encode_enum(value)
        if dataclasses.is_dataclass(cls) and cls is not Reference:
            return _encode_dataclass(value)
        return super().encode(value)


def get_encoder() -> Encoder:
    """The encoder that ``BGTASKS["ENCODER"]`` names, or the strict one.

    Raises:
        InvalidSetting: it names none.
    """
    return _encoder(get_settings().encoder)


def decode(value: Any) -> Any:
    """Stored JSON as the values that it stands for, all lists and dicts new.

    Raises:
        CannotDecode: a value cannot be made; the message says what to do.
    """
    return _decoded(value, _read)


def decode_known(value: Any) -> Any:
    """The same for those who only look: what cannot be decoded stays JSON."""
    return _decoded(value, _read_known)


def are_plain(values: Iterable[Any]) -> bool:
    """Whether there is certainly nothing to decode among some stored values."""
    return _CONTAINERS.isdisjoint(map(type, values))


@functools.lru_cache(maxsize=8)
def _encoder(path: str | None) -> Encoder:
    if path is None:
        return Encoder()
    return import_class("ENCODER", path, Encoder)()


def _decoded(value: Any, read: Callable[[str, dict[str, Any]], Any]) -> Any:
    if type(value) is list:
        if are_plain(value):
            return value.copy()
        return [_decoded(item, read) for item in value]
    if type(value) is not dict:
        return value
    if are_plain(value.values()):
        fields = value.copy()
    else:
        fields = {key: _decoded(item, read) for key, item in value.items()}
    return read(fields.pop(TAG), fields) if TAG in fields else fields


def _read(kind: str, fields: dict[str, Any]) -> Any:
    try:
        return get_encoder().decode(kind, fields)
    except CannotDecode:
        raise
    except Exception as error:  # whatever a project's own encoder raises
        raise CannotDecode(
            f"A stored value of the kind {kind!r} cannot be read: "
            f"{type(error).__name__}: {error}"
        ) from error


def _read_known(kind: str, fields: dict[str, Any]) -> Any:
    try:
        return _read(kind, fields)
    except CannotDecode:
        return {TAG: kind, **fields}


# -- times ------------------------------------------------------------------------


def _encode_time(value: datetime | time) -> Tagged:
    kind = type(value).__name__
    fields: dict[str, Any] = {"value": value.isoformat()}
    zone = value.tzinfo
    if type(zone) is ZoneInfo and zone.key:
        # The time on the clock, for that is what the object holds.
        text = value.replace(tzinfo=None).isoformat()
        fields = {"value": text, "zone": zone.key}
    elif type(zone) is timezone and not zone.utcoffset(None).microseconds:
        # Python misreads offsets with fractions of a second.
        if zone.tzname(None) != timezone(zone.utcoffset(None)).tzname(None):
            fields["zone_name"] = zone.tzname(None)
    elif zone is not None:
        raise ValueError(
            f"its time zone {zone!r} has no name that a worker could look up; use "
            "zoneinfo.ZoneInfo, or datetime.timezone with whole seconds"
        )
    return Tagged(kind, {**fields, "fold": 1} if value.fold else fields)


def _decode_datetime(fields: dict[str, Any]) -> datetime:
    value = datetime.fromisoformat(fields["value"])
    return value.replace(tzinfo=_zone_of(value, fields), fold=fields.get("fold", 0))


def _decode_time(fields: dict[str, Any]) -> time:
    value = time.fromisoformat(fields["value"])
    return value.replace(tzinfo=_zone_of(value, fields), fold=fields.get("fold", 0))


def _zone_of(value: datetime | time, fields: dict[str, Any]) -> tzinfo | None:
    if "zone" in fields:
        return ZoneInfo(fields["zone"])
    offset = value.utcoffset()
    if "zone_name" in fields and offset is not None:
        return timezone(offset, fields["zone_name"])
    return value.tzinfo


def _encode_timedelta(value: timedelta) -> Tagged:
    parts = ("days", "seconds", "microseconds")
    return Tagged("timedelta", {part: getattr(value, part) for part in parts})


# -- classes of the project's -----------------------------------------------------


def _encode_enum(value: enum.Enum) -> Tagged:
    path = _path_of(type(value))
    if isinstance(value, enum.Flag):
        # Combinations have no name of their own.
        return Tagged("flag", {"class": path, "value": value.value})
    return Tagged("enum", {"class": path, "name": value.name})


def _decode_enum(fields: dict[str, Any]) -> enum.Enum:
    cls: type[enum.Enum] = _loaded_class(fields["class"], enum.Enum)
    if fields["name"] not in cls.__members__:
        raise CannotDecode(
            f"{fields['class']} has no member {fields['name']!r} any more. Bring it "
            "back until no job holds it."
        )
    return cls.__members__[fields["name"]]


def _decode_flag(fields: dict[str, Any]) -> enum.Enum:
    cls: type[enum.Flag] = _loaded_class(fields["class"], enum.Flag)
    value = fields["value"]
    if value in cls._value2member_map_:
        return cls._value2member_map_[value]
    # Python's own, for cls(value) would call what the class may have instead.
    combine: Callable[[type[enum.Flag], Any], enum.Flag]
    combine = enum.Flag._missing_.__func__  # type: ignore[attr-defined]  # a class method
    return combine(cls, value)


def _encode_dataclass(value: Any) -> Tagged:
    cls = type(value)
    names = [field.name for field in _plain_fields(cls)]
    for name in getattr(value, "__dict__", ()):
        if name not in names and not _is_made_anew(cls, name):
            raise ValueError(f"its attribute {name!r} is no field; make it one")
    try:
        object.__new__(cls)
    except TypeError:
        raise ValueError("its class is also a built-in one; pass a plain one") from None
    # Fields with init=False may have no value yet.
    fields = {name: getattr(value, name) for name in names if hasattr(value, name)}
    # No field can have the name of a keyword.
    return Tagged("dataclass", {"class": _path_of(cls), **fields})


def _decode_dataclass(fields: dict[str, Any]) -> Any:
    path = fields["class"]
    cls: type = _loaded_class(path, object)
    if inspect.getattr_static(cls, "__dataclass_fields__", None) is None:
        raise CannotDecode(f"{path} is no dataclass.")
    # Not cls(...): no code of the project's runs because of a row.
    value: Any = object.__new__(cls)
    known = {"class"}
    for field in _plain_fields(cls):
        known.add(field.name)
        if field.name in fields:
            object.__setattr__(value, field.name, fields[field.name])
        elif field.default is not dataclasses.MISSING:
            object.__setattr__(value, field.name, field.default)
        elif field.init:
            raise CannotDecode(
                f"A stored {path} has no field {field.name!r}. Give the field a "
                "default until no job holds an old one."
            )
    for name in fields.keys() - known:
        raise CannotDecode(f"{path} has no field {name!r} any more.")
    return value


def _plain_fields(cls: type) -> tuple[dataclasses.Field[Any], ...]:
    """The fields of a dataclass, if setting them runs no code.

    Raises:
        ValueError: one is a descriptor.
    """
    fields = dataclasses.fields(cls)
    for field in fields:
        found = inspect.getattr_static(cls, field.name, None)
        if hasattr(type(found), "__set__") and type(found) is not MemberDescriptorType:
            raise ValueError(f"its field {field.name!r} is a descriptor; pass its data")
    return fields


def _is_made_anew(cls: type, name: str) -> bool:
    """Whether an attribute is a cached property, or Python's own."""
    found = inspect.getattr_static(cls, name, None)
    return name.startswith("__") or isinstance(
        found, (functools.cached_property, cached_property)
    )


def _path_of(cls: type) -> str:
    path = f"{cls.__module__}:{cls.__qualname__}"
    if cls.__module__ == "__main__" or _loaded(path) is not cls:
        raise ValueError(
            f"a worker could not find {cls.__qualname__} by its name; define it at the "
            f"top of a module (it says it is in {cls.__module__})"
        )
    return path


def _loaded_class(path: str, base: type[T]) -> type[T]:
    """The class that a row names, if it is loaded and a ``base``."""
    found = _loaded(path)
    if found is None:
        raise CannotDecode(
            f"A stored value is of the class {path}, which is not loaded here. Import "
            "it in the module of the task; or was it renamed or removed?"
        )
    noun = "class" if base is object else base.__name__.lower()
    if not (issubclass(type(found), type) and issubclass(found, base)):
        raise CannotDecode(f"{path} is no {noun}.")
    return cast("type[T]", found)


def _loaded(path: str) -> Any:
    """What is known as ``module:Class.Nested``; imports and calls nothing."""
    module, _, names = path.partition(":")
    found: Any = sys.modules.get(module)
    for name in names.split("."):
        # Not getattr(), for a module's own may do anything. Nor isinstance(), for which
        # lazy objects make what they stand for.
        if not issubclass(type(found), (ModuleType, type)):
            return None
        found = vars(found).get(name)
    return found


_ENCODERS: Mapping[type, Callable[[Any], Tagged]] = {
    datetime: _encode_time,
    time: _encode_time,
    date: lambda value: Tagged("date", {"value": value.isoformat()}),
    timedelta: _encode_timedelta,
    Decimal: lambda value: Tagged("decimal", {"value": str(value)}),
    UUID: lambda value: Tagged("uuid", {"value": str(value)}),
}

_DECODERS: Mapping[str, Callable[[dict[str, Any]], Any]] = {
    "datetime": _decode_datetime,
    "time": _decode_time,
    "date": lambda fields: date.fromisoformat(fields["value"]),
    "timedelta": lambda fields: timedelta(**fields),
    "decimal": lambda fields: Decimal(fields["value"]),
    "uuid": lambda fields: UUID(fields["value"]),
    "enum": _decode_enum,
    "flag": _decode_flag,
    "dataclass": _decode_dataclass,
    "reference": lambda fields: Reference.from_text(fields["value"]),
}
