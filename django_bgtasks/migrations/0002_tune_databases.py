from typing import Any

from django.db import migrations, models

# Without conditions, as Django makes them on MySQL, these would lead through all of
# history; there the status has to come first.
FULL_INDEXES = [
    models.Index(
        fields=["status", "queue", "-priority", "id"], name="bgtasks_job_claim"
    ),
    models.Index(fields=["status", "run_after"], name="bgtasks_job_due"),
]
# Nor has MySQL unique constraints with a condition; but there, too, NULLs repeat.
FULL_CONSTRAINT = models.UniqueConstraint(
    fields=["unique_key"], name="bgtasks_job_unique"
)


def lead_by_status(apps: Any, schema_editor: Any) -> None:
    """Where there are no partial indexes, put full ones in their place."""
    if schema_editor.connection.features.supports_partial_indexes:
        return
    job = apps.get_model("django_bgtasks", "Job")
    for index in FULL_INDEXES:
        schema_editor.remove_index(job, index)
        schema_editor.add_index(job, index)
    schema_editor.add_constraint(job, FULL_CONSTRAINT)


def let_keys_repeat(apps: Any, schema_editor: Any) -> None:
    """Undo the only thing of it that could not be done twice."""
    if not schema_editor.connection.features.supports_partial_indexes:
        job = apps.get_model("django_bgtasks", "Job")
        schema_editor.remove_constraint(job, FULL_CONSTRAINT)


def vacuum_by_count(apps: Any, schema_editor: Any) -> None:
    """Let PostgreSQL vacuum after some thousands of dead rows, not after a share.

    A queue's table is updated all the time, however much history it holds.
    """
    if schema_editor.connection.vendor != "postgresql":
        return
    table = apps.get_model("django_bgtasks", "Job")._meta.db_table
    schema_editor.execute(
        f"ALTER TABLE {schema_editor.quote_name(table)} SET ("
        "autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, "
        "autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 5000)"
    )


class Migration(migrations.Migration):
    dependencies = [("django_bgtasks", "0001_initial")]

    operations = [
        migrations.RunPython(lead_by_status, let_keys_repeat, atomic=False),
        migrations.RunPython(vacuum_by_count, migrations.RunPython.noop),
    ]
