"""Prints how long a worker's look at its run store takes, in seconds of wall and CPU time.

Called as `looking.py RUNS`, with FETCHML_HOME set; the third look of a new process counts, as a worker looks again and
again.
"""

import sys
import time

from fetchml.config.layers import load
from fetchml.home import Home
from fetchml.queueing.look import Queue

queue = Queue(Home(load(with_project=False).settings))
for _ in range(2):
    queue.look()
began, began_cpu = time.perf_counter(), time.process_time()
moment = queue.look()
print(time.perf_counter() - began, time.process_time() - began_cpu)
if len(moment.pending) != int(sys.argv[1]):
    raise SystemExit("not everybody who waits was found")
