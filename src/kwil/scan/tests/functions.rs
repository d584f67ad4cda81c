//! Functions but for their bodies.

use super::*;

#[test]
fn an_untrusted_language() {
    refused("CREATE FUNCTION kwild_engine.format_type() RETURNS void LANGUAGE c AS $$x$$;", "language c");
    refused(
        "CREATE FUNCTION kwild_engine.format_type() RETURNS void LANGUAGE plpython3u AS $$x$$;",
        "language plpython3u",
    );
    refused("CREATE FUNCTION kwild_engine.format_type() RETURNS void LANGUAGE internal AS 'x';", "language internal");
    refused("CREATE FUNCTION kwild_engine.format_type() RETURNS void LANGUAGE plperlu AS $$x$$;", "language plperlu");
    refused("CREATE FUNCTION kwild_engine.format_type() RETURNS void LANGUAGE \"C\" AS $$x$$;", "language C");
    refused("CREATE FUNCTION kwild_engine.format_type() RETURNS void AS $$x$$;", "without a language");
}

#[test]
fn two_languages() {
    refused("CREATE FUNCTION kwild_engine.format_type() RETURNS void LANGUAGE sql LANGUAGE c AS $$x$$;", "property");
    refused(
        "CREATE FUNCTION kwild_engine.format_type() RETURNS void LANGUAGE sql AS $$x$$ LANGUAGE c;",
        "more follows",
    );
}

#[test]
fn a_library() {
    refused(
        "CREATE FUNCTION kwild_engine.format_type() RETURNS void LANGUAGE sql AS 'libc', 'system';",
        "dollar-quoted",
    );
    refused(
        "CREATE FUNCTION kwild_engine.format_type() RETURNS void LANGUAGE sql AS $$libc$$, $$system$$;",
        "more follows",
    );
}

#[test]
fn security_definer() {
    refused(
        "CREATE FUNCTION kwild_engine.format_type() RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS $$begin end$$;",
        "property",
    );
    refused(
        "CREATE FUNCTION kwild_engine.format_type() RETURNS void SECURITY DEFINER LANGUAGE plpgsql AS $$begin end$$;",
        "names and types",
    );
}

#[test]
fn settings_in_the_header() {
    refused(
        "CREATE FUNCTION kwild_engine.format_type() RETURNS void LANGUAGE plpgsql SET search_path TO x AS $$begin end$$;",
        "property",
    );
    refused(
        "CREATE FUNCTION kwild_engine.format_type() RETURNS void SET search_path TO x LANGUAGE plpgsql AS $$begin end$$;",
        "arguments hold more",
    );
    refused("CREATE FUNCTION kwild_engine.format_type() RETURNS void LANGUAGE sql SUPPORT x AS $$x$$;", "property");
    refused("CREATE FUNCTION kwild_engine.format_type() RETURNS void LANGUAGE sql LEAKPROOF AS $$x$$;", "property");
}

#[test]
fn a_body_after_begin_atomic() {
    refused(
        "CREATE FUNCTION kwild_engine.format_type() RETURNS void LANGUAGE sql BEGIN ATOMIC SELECT 1;",
        "BEGIN stands outside",
    );
    refused(
        "CREATE FUNCTION kwild_engine.format_type() RETURNS void LANGUAGE sql BEGIN ATOMIC SELECT 1; END;",
        "follows a statement",
    );
    refused("CREATE FUNCTION kwild_engine.format_type() RETURNS void LANGUAGE sql RETURN 1;", "property");
}

#[test]
fn begin_where_psql_counts_it() {
    refused("CREATE FUNCTION kwild_engine.begin() RETURNS void LANGUAGE sql AS $$x$$;", "BEGIN stands outside");
    refused(
        "CREATE FUNCTION kwild_engine.format_type(begin text) RETURNS void LANGUAGE sql AS $$x$$;",
        "BEGIN stands outside",
    );
}

#[test]
fn a_default_of_an_argument() {
    refused(
        "CREATE FUNCTION kwild_engine.format_type(a text DEFAULT 'x') RETURNS void LANGUAGE sql AS $$x$$;",
        "arguments hold more",
    );
    refused(
        "CREATE FUNCTION kwild_engine.format_type(a text = 'x') RETURNS void LANGUAGE sql AS $$x$$;",
        "arguments hold more",
    );
}

#[test]
fn a_function_that_kwil_does_not_make() {
    refused("CREATE FUNCTION s.f() RETURNS void LANGUAGE plpgsql AS $$begin end$$;", "no function");
    refused("CREATE FUNCTION public.lower(text) RETURNS void LANGUAGE plpgsql AS $$begin end$$;", "does not make");
    refused(
        "CREATE OR REPLACE FUNCTION kwild_engine.format_type() RETURNS void LANGUAGE sql AS $$x$$;",
        "no statement",
    );
    refused("CREATE PROCEDURE s.f() LANGUAGE sql AS $$x$$;", "no statement");
    refused("CREATE AGGREGATE s.f(text) (sfunc = x);", "no statement");
    refused("CREATE OPERATOR s.+ (procedure = x);", "no statement");
    refused("CREATE CAST (text AS bytea) WITHOUT FUNCTION;", "no statement");
}
