"""Jobs: read, check and run them on a cluster, with memory decided before."""

from outgrad.run.execute import run_job
from outgrad.run.jobs import Job, build, read_job
from outgrad.run.report import Projection, Summary
from outgrad.run.spec import ClusterSpec, SchedulerAddress, embedded, read_where

__all__ = [
    "ClusterSpec",
    "Job",
    "Projection",
    "SchedulerAddress",
    "Summary",
    "build",
    "embedded",
    "read_job",
    "read_where",
    "run_job",
]
