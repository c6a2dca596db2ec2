"""Histories: what threads asked and got, checked for linearizability. `python -m tests.interleave.histories`.

model      what each operation may do to a key, in which steps: the promise of the library, written down
checker    is there an order of the steps that explains a history?
record     random programs of three threads, run on real threads or under the scheduler of tests.interleave
"""
