"""A local stand-in for the vendors: strict, faithful to what is known of them.

It is a product part (`syncd simulate`, `python -m syncd.simulator`) and a process of
its own that imports nothing of the product: what both sides believe about the wire
must be written down twice, so that one wrong belief makes a test fail.

Every outside system has its own origin (a loopback port), because two systems on one
port would hide leaked credentials:

    amplitude   Amplitude's cohort API                      amplitude.py
    storage     where its downloads' files lie              storage.py
    segment     Segment's Tracking API                      segment.py
    partner     a receiver of cohorts, lists and traits     partner.py
    public      Segment's Public API, audiences             public_api.py
    control     `/_sim/`: users, cohorts, faults, log, clock control.py

What happens to a request, and when, is told once for all of them in `stage`. The way
of one on `amplitude`:

    wire -> calls (what is asked) -> faults (is something scripted?)
         -> auth -> busy (one request per cohort)
         -> listing | upload | membership | downloads
         -> world (projects, people, cohorts) -> log and traffic (what tests read)

It sends too: Engage's webhooks and Amplitude's pushes, at a control call or by
themselves. `senders` (who, when) -> engage_sender | amplitude_sender (what is new)
-> engage_posts | amplitude_pushes (which bytes) -> sender (four threads, retries). A
sender's threads touch nothing of the state but the clock.

What the clock brings about (a job's end, a cohort's behaviour, a second spender)
happens when somebody looks next: `Project.settle`, at the start of every request.

One asyncio loop in one thread runs all origins, so the state needs no lock. Nothing is
kept on disk; secrets are compared and never logged.
"""
