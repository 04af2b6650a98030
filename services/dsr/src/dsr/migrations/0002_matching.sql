-- requires code >= 1
-- Each state of an account asks which requests wait for its address; few do at any time.
CREATE INDEX requests_unmatched ON dsr.requests (fingerprint) WHERE account IS NULL AND fingerprint IS NOT NULL;
