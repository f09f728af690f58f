"""The composition root: the only place where concrete parts meet.

build    settings -> sources, sinks, routes, specs: one `match` for each choice
store    opening the state: lock, schema, clock, the writer's thread
engine   the parts in one process: runs, approvals, recovery after a crash
serve    the daemon: scheduler, control socket, signals, reload
"""
