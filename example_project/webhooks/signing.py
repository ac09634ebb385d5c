"""Who knows the secret may post to the endpoint, and only what was signed just now."""

import time

from django.utils.crypto import constant_time_compare, salted_hmac

OLDEST_SECONDS = 300


def sign(body, timestamp):
    """The HMAC of time and body. Sender and receiver share the site's secret here."""
    signed = f"{timestamp}.".encode() + body
    return salted_hmac("webhooks", signed, algorithm="sha256").hexdigest()


def is_genuine(body, timestamp, signature):
    return is_recent(timestamp) and constant_time_compare(
        signature, sign(body, timestamp)
    )


def is_recent(timestamp):
    """A recorded call must not work for ever."""
    return timestamp.isdecimal() and abs(time.time() - int(timestamp)) < OLDEST_SECONDS
