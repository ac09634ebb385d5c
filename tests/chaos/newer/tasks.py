from django_bgtasks import background
from tests.chaos.app.audit import body


@background
def brand_new():
    with body():
        pass
