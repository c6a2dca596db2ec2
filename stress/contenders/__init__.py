"""Comparison with other libraries: the same small programs on areole and others, by `python -m stress.contenders`.

Where to read, from the bottom up:

    outcome       what can come of a program: survives, wrong, hangs, raises, crashes, not offered, not installed
    tools         threads with a bound on waiting, a gate for fills, memory
    contender     a cache as the programs use it
    ours, others  areole; the other caches, each used as its documentation says
    loops         those for coroutines
    catalogue     all contenders
    rows/         the programs, one file each; its header says what it asks and what counts as surviving
    child         runs one program on one contender, in a process of its own
    frame         runs such processes, each with a deadline
    report        the tables and the JSON
"""
