"""All of the notifier's SQL. The connection comes first; nothing here commits.

Lock order: accounts, then notices by version, then the revision that they count in.
"""
