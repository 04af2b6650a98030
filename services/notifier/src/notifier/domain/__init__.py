"""Who must be told what, decided: pure functions of a state, what happened and the time.

Invariants: a notice has one end, sent or failed; every revision of the policy is shown on the home page, and a material
one is mailed to every account that was registered before it, whatever that person chose about marketing.
"""

SYSTEM = "notifier"
ACTOR = "service/notifier"
