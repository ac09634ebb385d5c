from django.core.files.storage import storages


def private_storage():
    """A callable, so that no setting finds its way into a migration."""
    return storages["private"]
