"""How fast django-bgtasks is, beside the systems that one would use instead."""
