"""What a project needs to test what it enqueues: see docs/how-to/test.md."""

from __future__ import annotations

from django_bgtasks.testing.capturing import CapturedJobs, capture_jobs
from django_bgtasks.testing.immediate import immediate_jobs
from django_bgtasks.testing.running import TooManyRuns, arun_jobs, run_jobs

__all__ = [
    "CapturedJobs",
    "TooManyRuns",
    "arun_jobs",
    "capture_jobs",
    "immediate_jobs",
    "run_jobs",
]
