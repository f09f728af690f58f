"""The command line. `main` is the frame, each other module a group of verbs.

`frame` holds the flags that exist everywhere, `output` writes, `words` says numbers
and times, `failure` shows errors, `exit_codes` knows the numbers.
"""
