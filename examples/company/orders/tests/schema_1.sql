-- The order system's tables as they were before it knew guests.
CREATE SCHEMA IF NOT EXISTS orders;

-- The shop's own small copy of the accounts topic. `gone` stays behind as a tombstone, so that nothing old comes back.
CREATE TABLE IF NOT EXISTS orders.customers (
    account text PRIMARY KEY,
    version bigint NOT NULL,
    name    text,
    email   text,
    gone    boolean NOT NULL DEFAULT false,
    CHECK (NOT gone OR (name IS NULL AND email IS NULL))
);

CREATE TABLE IF NOT EXISTS orders.orders (
    id         uuid PRIMARY KEY,
    account    text NOT NULL,
    item       text NOT NULL,
    cents      bigint NOT NULL,
    ship_to    text NOT NULL,
    ordered_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX IF NOT EXISTS orders_by_account ON orders.orders (account);

-- Kept for the tax office, then erased. The tax return for the year of the sale is due on 15 April of the next
-- (26 U.S.C. 6072(a)) and may be examined for three years after that (26 U.S.C. 6501(a)); 26 U.S.C. 6001 asks for the
-- records as long. It carries no e-mail address, since no invoice needs one.
CREATE TABLE IF NOT EXISTS orders.invoices (
    number     bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    account    text NOT NULL,
    name       text NOT NULL,
    address    text NOT NULL,
    cents      bigint NOT NULL,
    issued_on  date NOT NULL DEFAULT current_date,
    keep_until date NOT NULL GENERATED ALWAYS AS
        (make_date(extract(year FROM issued_on)::int + 4, 4, 15)) STORED
);
CREATE INDEX IF NOT EXISTS invoices_by_account ON orders.invoices (account);

-- What was answered to a request, stored with the deletion itself: a repeat or a reminder gets the same answer.
CREATE TABLE IF NOT EXISTS orders.answers (
    request uuid PRIMARY KEY,
    type    text NOT NULL,
    body    jsonb NOT NULL
);

-- Records that could not be read. They stay on their topic; this says where to look.
CREATE TABLE IF NOT EXISTS orders.unreadable (
    topic     text NOT NULL,
    partition int NOT NULL,
    "offset"  bigint NOT NULL,
    reason    text NOT NULL,
    PRIMARY KEY (topic, partition, "offset")
);

GRANT USAGE ON SCHEMA orders TO "orders";
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA orders TO "orders";
