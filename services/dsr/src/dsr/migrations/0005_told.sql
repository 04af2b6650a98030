-- requires code >= 1
-- When the last mail had its end: from then on only systems that are outstanding need the address. Of a request that older
-- code closed that is not known, and its address stays for the days in which a last mail may be on its way.
ALTER TABLE dsr.requests ADD COLUMN told_at timestamptz;
