"""What the store and the configuration say together, gathered once for every reader.

The command line, the pages, the API and the notifications tell the same story, so the
words, the states and the JSON documents are made here; each reader only lays them out.
"""
