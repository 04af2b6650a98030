-- requires code >= 1
-- An account that its customer closed is gone for no request.
ALTER TABLE accounts.deletions ALTER COLUMN request DROP NOT NULL;
