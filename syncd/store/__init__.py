"""The state: what each destination acknowledged, what is open, what was tried.

The only place that knows SQL, besides `sources/warehouse`. Functions here take a
connection; where a transaction begins and ends is decided in `sync/run` and
`store/writer`.
"""
