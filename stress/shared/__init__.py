"""What `stress/scenarios/shared.py` starts: processes that share one cache, and what happens to them meanwhile.

settings      what each process is given, as JSON
ledger        the source of truth, what has been invalidated, and all counts: memory that the processes share
reader        a reading process: threads and tasks; `python -m stress.shared.reader SETTINGS`
writer        the writing process; `python -m stress.shared.writer SETTINGS`
crew          starts, stops and ends them
disturbances  what happens meanwhile, by name
"""
