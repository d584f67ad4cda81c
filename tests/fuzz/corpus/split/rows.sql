COPY s.t (a) FROM stdin;
\\.
\N
it's; \\! id
\.
SELECT 1;
COPY s.t (a) FROM stdin;
\.
