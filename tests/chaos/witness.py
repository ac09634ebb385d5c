"""The database as a witness: it notes each outcome that is written to a job's row.

By a trigger, so that it sees what anybody writes, and what they believe does not matter.
"""

from django.db import connection

NOTE = (
    "INSERT INTO chaos_outcome (job, status, run_token) "
    "VALUES (NEW.id, NEW.status, NEW.run_token);"
)
TRIGGER = "CREATE TRIGGER note_outcome AFTER UPDATE ON django_bgtasks_job FOR EACH ROW"
STATEMENTS = {
    "mysql": [f"{TRIGGER} IF NEW.finished_at IS NOT NULL THEN {NOTE} END IF"],
    "postgresql": [
        "CREATE FUNCTION note_outcome() RETURNS trigger LANGUAGE plpgsql "
        f"AS $$ BEGIN {NOTE} RETURN NULL; END $$",
        f"{TRIGGER} WHEN (NEW.finished_at IS NOT NULL) EXECUTE FUNCTION note_outcome()",
    ],
    "sqlite": [f"{TRIGGER} WHEN NEW.finished_at IS NOT NULL BEGIN {NOTE} END"],
}


def call():
    """From now on, it looks."""
    with connection.cursor() as cursor:
        for statement in STATEMENTS[connection.vendor]:
            cursor.execute(statement)
