"""Pure decisions of the audit service: what a record becomes, which numbers are missing, what a trail lacks."""
