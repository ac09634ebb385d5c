from django import forms
from django.core.validators import RegexValidator

from webhooks.models import Webhook


class WebhookForm(forms.ModelForm):
    order_number = forms.CharField(
        initial="A000042",
        max_length=20,
        validators=[RegexValidator(r"^[A-Z0-9-]+\Z", "Capitals, digits and hyphens.")],
    )

    class Meta:
        model = Webhook
        fields = ["event", "order_number"]
