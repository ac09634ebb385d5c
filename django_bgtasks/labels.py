"""Labels: what people call a job, whom it is for, and what else is noted on it. Pure."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from django.db import models

from django_bgtasks._framework import InvalidTask
from django_bgtasks.arguments import normalize
from django_bgtasks.references import Reference

#: Characters of a name.
NAME_LIMIT = 255
#: Characters of all tags of a job, with a bar between them and at both ends.
TAGS_LIMIT = 255
#: Characters of a reference to a creator.
CREATOR_LIMIT = 255
#: Characters of metadata as JSON: for notes, not for data.
METADATA_LIMIT = 10_000


def as_tags(tags: str | Collection[str]) -> tuple[str, ...]:
    """``tags``, each once, in their order.

    Raises:
        InvalidTask: they cannot be kept.
    """
    given = [tags] if isinstance(tags, str) else list(tags)
    for tag in given:
        if not isinstance(tag, str) or not tag or "|" in tag or "\x00" in tag:
            raise InvalidTask(
                f"The tag {tag!r} cannot be used: tags are texts without a bar ('|')."
            )
    once = tuple(dict.fromkeys(given))
    if len("|".join(once)) + 2 > TAGS_LIMIT:
        raise InvalidTask(
            f"The tags {once!r} are more than {TAGS_LIMIT - 2} characters together; "
            "tags are for words, other notes go into metadata."
        )
    return once


def as_metadata(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """``metadata`` as JSON.

    Raises:
        InvalidTask: it is no mapping, or too large.
        NotJSON: something in it cannot be JSON; the message names its path.
    """
    if not isinstance(metadata, Mapping):
        raise InvalidTask(f"metadata is {metadata!r}; it must be a dict.")
    normal: dict[str, Any] = normalize(metadata, "metadata")
    size = len(json.dumps(normal))
    if size > METADATA_LIMIT:
        raise InvalidTask(
            f"metadata takes {size:,} characters as JSON; at most {METADATA_LIMIT:,} "
            "are kept. Store it elsewhere and note where it is."
        )
    return normal


def as_creator(creator: Any) -> str:
    """How a row names a model instance; see ``Reference``.

    Raises:
        InvalidTask: it is no model instance, or not saved.
    """
    if isinstance(creator, str):
        return _checked(creator)
    if not isinstance(creator, models.Model):
        raise InvalidTask(f"creator is {creator!r}; it must be a model instance.")
    try:
        reference = Reference.of(creator)
    except ValueError:
        raise InvalidTask(f"creator is {creator!r}, which is not saved.") from None
    # Whoever asks for the jobs later may have a proxy, or the model behind it.
    concrete = creator._meta.concrete_model or type(creator)
    return _checked(str(replace(reference, model=concrete._meta.label_lower)))


def _checked(creator: str) -> str:
    try:
        Reference.from_text(creator)
    except ValueError as error:
        raise InvalidTask(f"creator: {error}") from None
    if len(creator) > CREATOR_LIMIT or "\x00" in creator:
        raise InvalidTask(
            f"creator is {creator!r}; a row has room for {CREATOR_LIMIT} characters, "
            "and for no NUL."
        )
    return creator
