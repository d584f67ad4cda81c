//! The functions, types and operators that a snapshot's expressions and bodies may use: those that only compute with what
//! they are given. None of them reads a file, a table, a setting, a clock or another server.

use std::{collections::HashSet, sync::LazyLock};

/// Functions of `pg_catalog`, every overload of which only computes, and aggregates and window functions.
pub(super) static FUNCTIONS: LazyLock<HashSet<&str>> = LazyLock::new(|| {
    "abs acos acosd acosh any_value array_agg array_append array_cat array_dims array_fill array_length array_lower array_ndims \
     array_position array_positions array_prepend array_remove array_replace array_to_string array_upper ascii asin asind asinh \
     atan atan2 atan2d atand atanh avg bit_and bit_count bit_length bit_or bit_xor bool_and bool_or bpchar btrim cardinality \
     cbrt ceil ceiling char_length character_length chr concat concat_ws convert_from convert_to corr cos cosd cosh cot cotd \
     count covar_pop covar_samp cume_dist decode degrees dense_rank div encode erf erfc every exp factorial first_value float4 \
     float8 floor format gcd generate_series generate_subscripts get_bit get_byte initcap int2 int4 int8 lag last_value lcm lead \
     left length like like_escape ln log log10 lower lpad ltrim max md5 min min_scale mod mode normalize notlike nth_value ntile \
     numeric octet_length overlay percent_rank percentile_cont percentile_disc pi position power quote_ident quote_literal \
     quote_nullable radians rank regexp_count regexp_instr regexp_like regexp_match regexp_matches regexp_replace \
     regexp_split_to_array regexp_split_to_table regexp_substr repeat replace reverse right round row_number rpad rtrim scale \
     set_bit set_byte sha224 sha256 sha384 sha512 sign similar_to_escape sin sind sinh split_part sqrt starts_with stddev \
     stddev_pop stddev_samp string_agg string_to_array string_to_table strpos substr substring sum tan tand tanh text to_ascii \
     to_char to_hex to_number translate trim_array trim_scale trunc unistr unnest upper var_pop var_samp \
     varchar variance width_bucket"
        .split_whitespace()
        .collect()
});

/// Functions that kwild makes in the schema `public` before or after a restore, and those of its two extensions that compute.
pub(super) const PUBLIC_FUNCTIONS: &[&str] = &[
    "digest",
    "error",
    "format_unix_timestamp",
    "generate_dbid",
    "hmac",
    "notice",
    "parse_unix_timestamp",
    "uuid_generate_kwil",
    "uuid_generate_v3",
    "uuid_generate_v5",
    "uuid_nil",
];

/// The types of `pg_catalog` that pass: those of Kwil's columns, variables and functions.
pub(super) const TYPES: &[&str] =
    &["bool", "bpchar", "bytea", "int2", "int4", "int8", "numeric", "record", "text", "uuid", "varchar", "void"];

/// Operators of `pg_catalog`, as the parser names them.
pub(super) const OPERATORS: &[&str] = &[
    "+",
    "-",
    "*",
    "/",
    "%",
    "^",
    "=",
    "<>",
    "<",
    "<=",
    ">",
    ">=",
    "||",
    "~~",
    "!~~",
    "~~*",
    "!~~*",
    "~",
    "!~",
    "~*",
    "!~*",
    "|",
    "&",
    "#",
    "<<",
    ">>",
    "@>",
    "<@",
    "&&",
    "@",
    "BETWEEN",
    "NOT BETWEEN",
    "BETWEEN SYMMETRIC",
    "NOT BETWEEN SYMMETRIC",
];

/// Whether a function only computes. A name without a schema may be of `pg_catalog` or, in a body, of `public`.
pub(super) fn is_function(schema: Option<&str>, name: &str) -> bool {
    match schema {
        Some("pg_catalog") => FUNCTIONS.contains(name),
        Some("public") => PUBLIC_FUNCTIONS.contains(&name),
        Some(_) => false,
        None => FUNCTIONS.contains(name) || PUBLIC_FUNCTIONS.contains(&name),
    }
}

/// Whether a type is one that Kwil's columns and variables have.
pub(super) fn is_type(name: &str) -> bool {
    TYPES.contains(&name)
}

/// Whether an operator only computes.
pub(super) fn is_operator(name: &str) -> bool {
    OPERATORS.contains(&name)
}
