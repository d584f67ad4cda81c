//! Words that are no names unless they are quoted. pg_dump quotes them; a statement that does not is a syntax error to the
//! server, and a table that is not made lets psql read its rows as statements.

/// PostgreSQL 16's keywords but for the unreserved ones: of the version that kwild wants.
const RESERVED: &str = "all analyse analyze and any array as asc asymmetric authorization between bigint binary bit \
    boolean both case cast char character check coalesce collate collation column concurrently constraint create cross \
    current_catalog current_date current_role current_schema current_time current_timestamp current_user dec decimal \
    default deferrable desc distinct do else end except exists extract false fetch float for foreign freeze from full \
    grant greatest group grouping having ilike in initially inner inout int integer intersect interval into is isnull \
    join json_array json_arrayagg json_object json_objectagg lateral leading least left like limit localtime \
    localtimestamp national natural nchar none normalize not notnull null nullif numeric offset on only or order out \
    outer overlaps overlay placing position precision primary real references returning right row select session_user \
    setof similar smallint some substring symmetric system_user table tablesample then time timestamp to trailing treat \
    trim true union unique user using values varchar variadic verbose when where window with xmlattributes xmlconcat \
    xmlelement xmlexists xmlforest xmlnamespaces xmlparse xmlpi xmlroot xmlserialize xmltable";

/// May the word not stand as a name without quotes?
pub(super) fn is_reserved(word: &str) -> bool {
    RESERVED.split_ascii_whitespace().any(|keyword| keyword.eq_ignore_ascii_case(word))
}
