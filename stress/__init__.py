"""Stress: what to run before trusting the library on a build without a GIL. `python -m stress` from the checkout.

Where to read, from the bottom up:

    worker          one thread of a run: its random choices, its pauses, its log
    findings        the violations of a run, by kind
    oracle          what a run may show and what it may not, and why
    stranger        a cache that is none of ours: `--subject package.module:factory`
    subject         a cache as the scenarios use it: by key, as a memoized function, as a store; or a stranger's
    case            what every scenario has; the result of a run
    keys            keys that share a hash
    replaced_locks  locks in the place of the library's own; interrupted_locks: interrupted as they are taken
    scenario        those that run on threads; tasks: those with event loops; child: those with processes of their own
    shared/         what `scenarios/shared` starts: processes that share one cache, and what happens to them
    scenarios/      one file each; its header says what it proves and hunts, and what is allowed
    vitals, frame   memory, threads, files; runs a scenario, round after round, and finds who is blocked
    report          progress, the closing table, JSON
    command, soak   what the commands share; round robin for as long as you like: is all flat?
    faults/         planted faults, which are data; planted: who finds them
    contenders/     the same questions to other caches
    results/        tables that were made by these

Beside it, in the tests, is what needs less luck: `python -m tests.interleave`, `python -m tests.interleave.histories`.
"""
