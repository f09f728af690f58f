"""From a whole list to a plan, and from a plan to a settled run.

`run` tells the story; everything beside it (but `spill`, which owns two temporary
files) is pure: values in, values out.
"""
