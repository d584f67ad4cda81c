CREATE SCHEMA info;
CREATE SCHEMA kwild_engine;
CREATE SCHEMA kwild_voting;
CREATE SCHEMA pg_class_like;
CREATE TYPE pg_class_like.e AS ENUM (
    'A;',
    'b c'
);
CREATE TABLE pg_class_like.pg_class (
    oid bigint NOT NULL,
    kind pg_class_like.e DEFAULT 'b c'::pg_class_like.e
);
COPY pg_class_like.pg_class (oid, kind) FROM stdin;
1	A;
\.
ALTER TABLE ONLY pg_class_like.pg_class
    ADD CONSTRAINT k PRIMARY KEY (oid);
