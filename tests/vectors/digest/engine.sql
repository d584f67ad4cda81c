CREATE SCHEMA kwild_engine;
CREATE SCHEMA "Odd.""x";
CREATE SCHEMA kwild_voting;
CREATE FUNCTION kwild_voting.insert_resolution() RETURNS void
    LANGUAGE plpgsql
    AS $$
BEGIN

    -- 'a comment; COPY x FROM stdin;
END;
$$;
CREATE TABLE "Odd.""x".t (
    a text DEFAULT 'one;

-- two'::text
);
ALTER TABLE kwild_engine.actions OWNER TO kwild;
ALTER TABLE kwild_engine.actions CLUSTER ON actions_pkey;
CREATE SEQUENCE kwild_internal.sentry_seq
    START WITH 1;
COPY "Odd.""x".t (a) FROM stdin;
-- b

-- b
\N
\.
COPY "Odd.""x".none  FROM stdin;


\.
COPY kwild_engine.actions (id, namespace, name, raw_statement) FROM stdin;
7	main	put	ACTION put();\nmore
-3	main	get	id
\.
COPY kwild_engine.extension_initialization_parameters (id, extension_id, key, value) FROM stdin;
1	5	chain	1
2	6	chain	\N
3	99	chain	2
\.
COPY kwild_engine.initialized_extensions (id, namespace_id, base_extension) FROM stdin;
5	2	erc20
6	9	erc20
\.
COPY kwild_engine.namespaces (id, name, type) FROM stdin;
1	main	SYSTEM
2	rewards	EXTENSION
\.
COPY kwild_engine.parameters (id, action_id, name, "position") FROM stdin;
1	7	$a	1
2	7	$b	2
3	-3	$a	1
\.
COPY kwild_engine.return_fields (id, action_id, name, "position") FROM stdin;
1	-3	7	1
\.
COPY kwild_engine.role_privileges (id, privilege_type, namespace_id, role_id, granted) FROM stdin;
1	SELECT	\N	1	t
2	INSERT	2	4	t
\.
COPY kwild_engine.roles (id, name, built_in) FROM stdin;
1	default	t
4	owner	t
\.
COPY kwild_engine.user_roles (id, user_identifier, role_id) FROM stdin;
1	0xabc	4
2	0xdef	12
\.
COPY kwild_voting.voters (id, name, power) FROM stdin;
\.
SELECT pg_catalog.setval('kwild_engine.actions_id_seq', 7, true);
SELECT pg_catalog.setval('kwild_engine.initialized_extensions_id_seq', 99, true);
SELECT pg_catalog.setval('kwild_engine.namespaces_id_seq', 10, false);
SELECT pg_catalog.setval('kwild_engine.roles_id_seq', 12, true);
ALTER TABLE ONLY kwild_engine.actions
    ADD CONSTRAINT actions_pkey PRIMARY KEY (id);
GRANT ALL ON SCHEMA kwild_voting TO reader;
UPDATE kwild_voting.resolutions SET expiration = expiration-42;
