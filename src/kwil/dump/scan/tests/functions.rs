//! Functions but for their bodies.

use super::*;

#[test]
fn an_untrusted_language() {
    refused_v09(
        "CREATE FUNCTION ds_x.f() RETURNS void LANGUAGE c AS $$x$$;",
        "a function in another language than plpgsql",
    );
    refused_v09(
        "CREATE FUNCTION ds_x.f() RETURNS void LANGUAGE plpython3u AS $$x$$;",
        "a function in another language than plpgsql",
    );
    refused_v09(
        "CREATE FUNCTION ds_x.f() RETURNS void LANGUAGE internal AS 'x';",
        "a function in another language than plpgsql",
    );
    refused_v09(
        "CREATE FUNCTION ds_x.f() RETURNS void LANGUAGE plperlu AS $$x$$;",
        "a function in another language than plpgsql",
    );
    refused_v09(
        "CREATE FUNCTION ds_x.f() RETURNS void LANGUAGE \"C\" AS $$x$$;",
        "a function in another language than plpgsql",
    );
    refused_v09("CREATE FUNCTION ds_x.f() RETURNS void AS $$x$$;", "a function in another language than plpgsql");
}

#[test]
fn two_languages() {
    refused_v09(
        "CREATE FUNCTION ds_x.f() RETURNS void LANGUAGE sql LANGUAGE c AS $$x$$;",
        "a function in another language than plpgsql",
    );
    refused_v09(
        "CREATE FUNCTION ds_x.f() RETURNS void LANGUAGE sql AS $$x$$ LANGUAGE c;",
        "a function in another language than plpgsql",
    );
}

#[test]
fn a_library() {
    refused_v09(
        "CREATE FUNCTION ds_x.f() RETURNS void LANGUAGE sql AS 'libc', 'system';",
        "a function in another language than plpgsql",
    );
    refused_v09(
        "CREATE FUNCTION ds_x.f() RETURNS void LANGUAGE sql AS $$libc$$, $$system$$;",
        "a function in another language than plpgsql",
    );
}

#[test]
fn security_definer() {
    refused_v09(
        "CREATE FUNCTION ds_x.f() RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS $$begin end$$;",
        "DefElem with defname",
    );
    refused_v09(
        "CREATE FUNCTION ds_x.f() RETURNS void SECURITY DEFINER LANGUAGE plpgsql AS $$begin end$$;",
        "DefElem with defname",
    );
}

#[test]
fn settings_in_the_header() {
    refused_v09(
        "CREATE FUNCTION ds_x.f() RETURNS void LANGUAGE plpgsql SET search_path TO x AS $$begin end$$;",
        "DefElem with defname",
    );
    refused_v09(
        "CREATE FUNCTION ds_x.f() RETURNS void SET search_path TO x LANGUAGE plpgsql AS $$begin end$$;",
        "DefElem with defname",
    );
    refused_v09("CREATE FUNCTION ds_x.f() RETURNS void LANGUAGE sql SUPPORT x AS $$x$$;", "DefElem with defname");
    refused_v09("CREATE FUNCTION ds_x.f() RETURNS void LANGUAGE sql LEAKPROOF AS $$x$$;", "DefElem with defname");
}

#[test]
fn a_body_after_begin_atomic() {
    refused_v09(
        "CREATE FUNCTION ds_x.f() RETURNS void LANGUAGE sql BEGIN ATOMIC SELECT 1;",
        "the word BEGIN outside a function's body",
    );
    refused_v09(
        "CREATE FUNCTION ds_x.f() RETURNS void LANGUAGE sql BEGIN ATOMIC SELECT 1; END;",
        "text follows a statement on its line",
    );
    refused_v09(
        "CREATE FUNCTION ds_x.f() RETURNS void LANGUAGE sql RETURN 1;",
        "CreateFunctionStmt with sql_body is no part of any CreateFunctionStmt",
    );
}

#[test]
fn begin_where_psql_counts_it() {
    refused_v09(
        "CREATE FUNCTION ds_x.begin() RETURNS void LANGUAGE sql AS $$x$$;",
        "the word BEGIN outside a function's body",
    );
    refused_v09(
        "CREATE FUNCTION ds_x.f(begin text) RETURNS void LANGUAGE sql AS $$x$$;",
        "a function in another language than plpgsql",
    );
}

#[test]
fn a_default_of_an_argument() {
    refused_v09(
        "CREATE FUNCTION ds_x.f(a text DEFAULT 'x') RETURNS void LANGUAGE sql AS $$x$$;",
        "FunctionParameter with defexpr is no part of any CreateFunctionStmt",
    );
    refused_v09(
        "CREATE FUNCTION ds_x.f(a text = 'x') RETURNS void LANGUAGE sql AS $$x$$;",
        "FunctionParameter with defexpr is no part of any CreateFunctionStmt",
    );
}

#[test]
fn a_function_that_kwil_does_not_make() {
    refused_v09(
        "CREATE FUNCTION public.lower(text) RETURNS void LANGUAGE plpgsql AS $$begin end$$;",
        "a function public.lower that no version of Kwil makes",
    );
    refused_v09(
        "CREATE OR REPLACE FUNCTION ds_x.f() RETURNS void LANGUAGE sql AS $$x$$;",
        "CreateFunctionStmt with replace is no part of any CreateFunctionStmt",
    );
    refused_v09(
        "CREATE PROCEDURE ds_y.f() LANGUAGE sql AS $$x$$;",
        "CreateFunctionStmt with is_procedure is no part of any",
    );
    refused_v09("CREATE AGGREGATE ds_y.f(text) (sfunc = x);", "DefineStmt is no statement of a Kwil dump");
    refused_v09("CREATE OPERATOR s.+ (procedure = x);", "DefineStmt is no statement of a Kwil dump");
    refused_v09("CREATE CAST (text AS bytea) WITHOUT FUNCTION;", "CreateCastStmt is no statement of a Kwil dump");
}
