"""References: a model instance as an argument, which the task is given fresh."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import is_
from typing import Any, TypeVar, cast

from django.apps import apps
from django.core.exceptions import ObjectDoesNotExist, ValidationError
from django.db import DEFAULT_DB_ALIAS, models, router
from django.utils.connection import ConnectionDoesNotExist

from django_bgtasks.exceptions import ReferenceGone

M = TypeVar("M", bound=models.Model)

#: Levels of lists and dicts that are searched for references; a row has no more.
SEARCH_LIMIT = 30


@dataclass(frozen=True, slots=True)
class Reference:
    """Says which row of which model; as text ``shop.order:42``.

    Args:
        model: its label in lower case, ``app.model``.
        pk: its primary key, as text.
        database: an alias of ``DATABASES``; empty: the default one.
    """

    model: str
    pk: str
    database: str = ""

    @classmethod
    def of(cls, obj: models.Model) -> Reference:
        """A reference to a saved model instance.

        Raises:
            TypeError: it is no model instance.
            ValueError: it is not saved.
        """
        if not isinstance(obj, models.Model):
            raise TypeError(
                f"ref() was given {obj!r}, which is no model instance; pass other "
                "values as they are."
            )
        meta = obj._meta
        if obj._state.adding or obj.pk is None:
            raise ValueError(
                f"ref() was given an instance of {meta.label} that is not saved, so a "
                "worker could not find it; save it first."
            )
        # Of a lazy object, such as request.user, what it stands for. Where it would be
        # written: a replica that it was read from may lag behind.
        database = router.db_for_write(obj.__class__, instance=obj)
        return cls(
            model=meta.label_lower,
            pk=meta.pk.value_to_string(obj),
            database="" if database == DEFAULT_DB_ALIAS else database,
        )

    @classmethod
    def from_text(cls, text: str) -> Reference:
        """The reference that ``str()`` wrote.

        Raises:
            ValueError: it is no such text.
        """
        target, colon, pk = text.partition(":")
        model, _, database = target.partition("@")
        if not colon or model.count(".") != 1:
            raise ValueError(f"{text!r} is no reference, such as 'shop.order:42'.")
        return cls(model, pk, database)

    def __str__(self) -> str:
        database = f"@{self.database}" if self.database else ""
        return f"{self.model}{database}:{self.pk}"

    def fetch(self, where: str = "A reference") -> models.Model:
        """The instance as the database has it now.

        Through the model's ``_base_manager``, which hides no row.

        Args:
            where: what to call the reference in an error.

        Raises:
            ReferenceGone: there is no such row or model.
        """
        try:
            model = apps.get_model(self.model)
        except (LookupError, ValueError):
            raise ReferenceGone(where, str(self), "no such model") from None
        alias = self.database or DEFAULT_DB_ALIAS
        try:
            key = model._meta.pk.to_python(self.pk)
            return cast("models.Model", model._base_manager.using(alias).get(pk=key))
        except ObjectDoesNotExist:
            raise ReferenceGone(where, str(self), "no such row") from None
        except (ValidationError, ValueError, TypeError):
            raise ReferenceGone(where, str(self), "no such primary key") from None
        except ConnectionDoesNotExist:
            raise ReferenceGone(where, str(self), "no such database") from None


def ref(obj: M) -> M:
    """Pass a model instance by reference: ``send_receipt(ref(order))``.

    The job's row holds the model and the primary key. When the job runs, the task is
    given the instance as the database has it then; if it is gone, the job is FAILED
    with ``ReferenceGone`` and not tried again. May stand anywhere in the lists and
    dicts of a task's arguments.

    Args:
        obj: a saved model instance.

    Returns:
        A ``Reference``. To type checkers it is what the task will be given.

    Raises:
        TypeError: ``obj`` is no model instance.
        ValueError: it is not saved.
    """
    return cast("M", Reference.of(obj))


def fetch_call(
    args: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[Sequence[Any], Mapping[str, Any]]:
    """The arguments of a call with an instance in the place of each reference.

    Those in lists, tuples and dicts are fetched; what other objects hold is theirs.
    What has no reference in it stays the same object.

    Raises:
        ReferenceGone: one cannot be fetched; the message names its place.
    """
    return _fetched(args, "args"), {
        key: _fetched(value, key) for key, value in kwargs.items()
    }


_SEARCHED = frozenset({list, tuple, dict, Reference})


def _fetched(value: Any, where: str, depth: int = 0) -> Any:
    kind = type(value)
    if kind is Reference:
        return value.fetch(where)
    if kind not in _SEARCHED or depth > SEARCH_LIMIT:
        return value
    items = value.values() if kind is dict else value
    if _SEARCHED.isdisjoint(map(type, items)):
        return value
    places = value if kind is dict else range(len(value))
    found = [
        _fetched(item, f"{where}[{place!r}]", depth + 1)
        for place, item in zip(places, items, strict=True)
    ]
    if all(map(is_, found, items)):
        return value
    return dict(zip(places, found, strict=True)) if kind is dict else kind(found)
