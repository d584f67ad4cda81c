CREATE FUNCTION s."begin"() RETURNS void AS $$BEGIN END$$;
COPY prices.begin (a) FROM stdin;
end; x
\.
SELECT 1;
