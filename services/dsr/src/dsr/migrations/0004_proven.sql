-- requires code >= 1
-- Whether the final address is the one that a link proved: systems look for no other. Of a request that older code started
-- that is not known, and it asked them about accounts alone.
ALTER TABLE dsr.requests ADD COLUMN address_proven boolean NOT NULL DEFAULT false;
