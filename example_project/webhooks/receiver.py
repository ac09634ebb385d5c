"""The other side: an endpoint that takes signed events, when it is not failing."""

import json
from hashlib import sha256

from django.conf import settings
from django.http import HttpResponse, HttpResponseForbidden, HttpResponseServerError
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from webhooks.models import ReceivedEvent
from webhooks.signing import is_genuine


# The signature takes the place of the CSRF token: the caller has no session.
@csrf_exempt
@require_POST
def receive(request):
    timestamp = request.headers.get("X-Timestamp", "")
    signature = request.headers.get("X-Signature", "")
    if not is_genuine(request.body, timestamp, signature):
        return HttpResponseForbidden("The signature is wrong or too old.\n")
    payload = json.loads(request.body)
    if is_down_for(payload["id"], request.headers.get("X-Attempt", "")):
        return HttpResponseServerError("Out of order. Try again later.\n")
    ReceivedEvent.objects.get_or_create(
        event_id=payload["id"], defaults={"payload": payload}
    )
    return HttpResponse(status=204)


def is_down_for(event_id, attempt):
    """Chance, but the same for the same attempt: a lottery drawn from its hash."""
    drawn = sha256(f"{event_id}/{attempt}".encode()).digest()[0] / 256
    return drawn < settings.WEBHOOK_FAILURE_RATE
