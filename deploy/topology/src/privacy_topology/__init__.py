"""Topics, ACLs and users of a cluster, generated from `topics.toml` and converged.

Invariant: after a run, what a principal may do under the prefix is what `topics.toml` says, no less and no more.
"""
