import json
import time
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

from webhooks.signing import sign

TIMEOUT_SECONDS = 5

# The endpoint is on this machine, where no proxy belongs in between.
opener = build_opener(ProxyHandler({}))


class RefusedError(Exception):
    """The endpoint understood and said no; the same call again is no use."""


def post(url, payload, attempt):
    """POST the signed payload, and return the status of the answer."""
    try:
        with opener.open(
            signed_request(url, payload, attempt), timeout=TIMEOUT_SECONDS
        ) as answer:
            return answer.status
    except HTTPError as error:
        with error:
            if error.code < 500:
                raise RefusedError(str(error)) from error
            raise


def signed_request(url, payload, attempt):
    body = json.dumps(payload).encode()
    timestamp = str(int(time.time()))
    headers = {
        "Content-Type": "application/json",
        "X-Attempt": str(attempt),
        "X-Timestamp": timestamp,
        "X-Signature": sign(body, timestamp),
    }
    # No visitor has a say in the URL; it comes from the settings.
    return Request(url, data=body, headers=headers)  # noqa: S310 (the site itself)
