"""A site whose page shows the jobs that its address names."""

from django.contrib.auth import login
from django.contrib.auth.models import User
from django.http import HttpResponse
from django.template import RequestContext, Template
from django.urls import include, path

_PAGE = Template("""<!doctype html>
{% load static bgtasks %}
<html lang="en">
<meta name="viewport" content="width=device-width">
<title>Jobs</title>
<link rel="stylesheet" href="{% static 'django_bgtasks/status.css' %}">
<script src="{% static 'django_bgtasks/status.js' %}" defer></script>
<main>{% for id in ids %}{% job_status id live=live show_result=True %}{% endfor %}</main>
</html>""")


def jobs(request):
    ids = request.GET.getlist("id")
    live = request.GET.get("live", "poll")
    return HttpResponse(
        _PAGE.render(RequestContext(request, {"ids": ids, "live": live}))
    )


def log_in(request):
    login(request, User.objects.get(username=request.GET["name"]))
    return HttpResponse("Hello")


urlpatterns = [
    path("", jobs),
    path("log-in/", log_in),
    path("bgtasks/", include("django_bgtasks.urls")),
]
