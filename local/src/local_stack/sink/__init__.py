"""A mail server that keeps what it receives and shows it: the inbox of everyone in the local stack.

Invariant: a message is on disk before its sender hears 250, so a killed sink has lost nothing that it accepted.
"""
