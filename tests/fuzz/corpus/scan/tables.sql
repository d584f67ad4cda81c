CREATE SCHEMA ds_x;
CREATE SCHEMA kwild_accts;
CREATE SCHEMA kwild_internal;
CREATE SCHEMA kwild_voting;
CREATE TABLE ds_x.t (
    a text,
    n bigint DEFAULT 5,
    CONSTRAINT k CHECK ((length(a) < 9))
);
COPY ds_x.t (a, n) FROM stdin;
x	1
\N	\N
\.
CREATE INDEX i ON ds_x.t USING btree (lower(a));
UPDATE kwild_voting.resolutions SET expiration = expiration-42;
