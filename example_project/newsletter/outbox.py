"""Read back what Django's file mail back end has written."""

from email import message_from_bytes, policy
from pathlib import Path

from django.conf import settings

# The back end writes this line after every message.
SEPARATOR = b"\n" + b"-" * 79 + b"\n"


def newest_messages(limit):
    # The names begin with the time of sending.
    files = sorted(Path(settings.OUTBOX_DIR).glob("*.log"), reverse=True)[:limit]
    messages = [message for file in files for message in messages_in(file)]
    return messages[:limit]


def delete_messages(until):
    """Delete those that were sent before ``until``; returns how many files there were."""
    files = Path(settings.OUTBOX_DIR).glob("*.log")
    old = [file for file in files if file.stat().st_mtime < until.timestamp()]
    for file in old:
        file.unlink()
    return len(old)


def messages_in(file):
    parts = file.read_bytes().split(SEPARATOR)
    for part in parts:
        if part.strip():
            message = message_from_bytes(part, policy=policy.default)
            yield {
                "to": message["To"],
                "subject": message["Subject"],
                "date": message["Date"],
                "body": message.get_content(),
            }
