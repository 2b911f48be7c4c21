"""Jobs: read and check them, project their memory, and run them on a cluster."""

from .execute import run_job as run_job
from .jobs import Job as Job
from .jobs import build as build
from .jobs import read_job as read_job
from .report import Projection as Projection
from .report import Summary as Summary
from .spec import ClusterSpec as ClusterSpec
from .spec import SchedulerAddress as SchedulerAddress
from .spec import embedded as embedded
from .spec import read_where as read_where
