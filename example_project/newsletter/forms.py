from django import forms

from newsletter.models import Newsletter, Subscriber


class NewsletterForm(forms.ModelForm):
    class Meta:
        model = Newsletter
        fields = ["subject", "body"]

    def clean_subject(self):
        # A line break would begin another header; Django refuses to send that.
        return " ".join(self.cleaned_data["subject"].split())


class SubscriberForm(forms.ModelForm):
    class Meta:
        model = Subscriber
        fields = ["name", "email"]
