CREATE FUNCTION s.f() RETURNS void LANGUAGE plpgsql AS $$BEGIN NULL; END;$$;
CREATE FUNCTION s.g() RETURNS void AS $_$ $$ ; $a$ $_$;
