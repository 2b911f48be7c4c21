"""The names of Dask that are private or may move: this file is the one to mend when they do.

``dask._task_spec`` has been the form of tasks since Dask 2024.12, without being documented; distributed and
dask.array build their graphs of it (https://github.com/dask/dask/blob/main/dask/_task_spec.py).
"""

from dask._task_spec import Alias, DataNode, Task, TaskRef, convert_legacy_graph, cull
from dask.typing import Key

__all__ = ["Alias", "DataNode", "Key", "Task", "TaskRef", "convert_legacy_graph", "cull"]
