"""From the outbox to the destination: four threads for a connection, one lane per
sync, no sleeping.

A back-off is a row (`retry_at`), so a worker that met a 429 serves another lane, and
a restart keeps the count.
"""
