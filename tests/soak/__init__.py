"""Many rounds of processes that die while requests run, dealt to shards; `docs/faults.md` is what they found."""
