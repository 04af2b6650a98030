"""Events in, in batches: one poll, one transaction, positions in the database, each event's effect once."""

from chassis.consumer.handlers import Handlers
from chassis.consumer.records import Received, Record, Rejected, Undecodable, decode

__all__ = ["Handlers", "Received", "Record", "Rejected", "Undecodable", "decode"]
