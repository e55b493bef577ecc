"""Jobs in processes of their own: started, limited, watched, and never left behind.

`Workshop` starts a foreman (`foreman.py`), which starts the processes of the jobs
(`jobprocess.py`). A job that raises, exits, crashes, runs out of time or memory, or never returns
becomes a `Crashed` report; the others go on.

    with Workshop(workers=2, threads=1, preload=("numpy", "torch")) as workshop:
        workshop.submit(Job(key="a", target="package.module:function", payload=..., ...))
        while workshop.pending:
            report = workshop.next_report(timeout=1.0)
"""

from __future__ import annotations

from robreport.isolation.job import Crashed, Finished, Job, Progress, Report
from robreport.isolation.joblog import tail
from robreport.isolation.workshop import PRELOADABLE, Workshop

__all__ = ["PRELOADABLE", "Crashed", "Finished", "Job", "Progress", "Report", "Workshop", "tail"]
