"""What our three systems share: a small Django project, and how to measure it."""
