"""Due runs handed to other processes: jobs of Procrastinate, on the store's Postgres.

The engine distributes and no more. That a due time is run once, and a cohort is told
one thing at a time, is kept where it is without it: by the slot's row and by the
sync's lease. So a job that is carried out twice, or too late, does nothing.
"""
