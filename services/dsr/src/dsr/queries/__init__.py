"""All SQL of the service, one function per statement. The connection comes first; nothing here commits.

`personal` alone selects what is sealed; each of its queries takes an `Access` and leaves its record.
"""
