"""The status page: plain HTML with inline pictures, made here, useful without scripts.

What a page says is a frozen value (`views`) that the app fills from the store; here it
is only laid out. Nothing is fetched from anywhere else, and no page shows a member id.
"""
