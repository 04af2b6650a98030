"""All SQL of the service, one function per statement. The connection comes first; nothing here commits.

What is sealed stays sealed here: `dsr.personal` alone opens it, and leaves a record when it does.
"""
