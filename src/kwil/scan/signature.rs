//! What PostgreSQL's operators and functions take and give, for the types of Kwil's columns: as its catalogue has them
//! in versions 15 to 18. Only exact matches count; what pg_dump writes needs no other, since it writes every cast.

use super::types::{Base, Type};

/// Letters of the tables below.
fn letter(kind: &Type) -> Option<char> {
    if kind.array {
        return None;
    }
    Some(match kind.base {
        Base::SmallInt => 's',
        Base::Integer => 'i',
        Base::BigInt => 'l',
        Base::Numeric | Base::Uint256 => 'n',
        Base::Double => 'd',
        Base::Text => 't',
        Base::Bytea => 'b',
        Base::Boolean => 'o',
        Base::Uuid => 'u',
        Base::Enum(_) | Base::Unknown => return None,
    })
}

fn of_letter(letter: char) -> Type {
    Type::scalar(match letter {
        's' => Base::SmallInt,
        'i' => Base::Integer,
        'l' => Base::BigInt,
        'n' => Base::Numeric,
        'd' => Base::Double,
        't' => Base::Text,
        'b' => Base::Bytea,
        'o' => Base::Boolean,
        _ => Base::Uuid,
    })
}

/// Arguments, `>`, result.
const FUNCTIONS: &[(&str, &str)] = &[
    ("abs", "s>s i>i l>l n>n d>d"),
    ("ascii", "t>i"),
    ("bit_count", "b>l"),
    ("bit_length", "b>i t>i"),
    ("btrim", "t>t tt>t bb>b"),
    ("cbrt", "d>d"),
    ("ceil", "d>d n>n"),
    ("ceiling", "d>d n>n"),
    ("char_length", "t>i"),
    ("character_length", "t>i"),
    ("chr", "i>t"),
    ("decode", "tt>b"),
    ("div", "nn>n"),
    ("encode", "bt>t"),
    ("exp", "d>d n>n"),
    ("factorial", "l>n"),
    ("floor", "d>d n>n"),
    ("gcd", "ll>l ii>i nn>n"),
    ("gen_random_uuid", ">u"),
    ("get_bit", "bl>i"),
    ("get_byte", "bi>i"),
    ("initcap", "t>t"),
    ("lcm", "ll>l ii>i nn>n"),
    ("left", "ti>t"),
    ("length", "b>i t>i"),
    ("ln", "d>d n>n"),
    ("log", "d>d n>n nn>n"),
    ("log10", "d>d n>n"),
    ("lower", "t>t"),
    ("lpad", "ti>t tit>t"),
    ("ltrim", "bb>b t>t tt>t"),
    ("md5", "b>t t>t"),
    ("min_scale", "n>i"),
    ("mod", "ll>l ii>i nn>n ss>s"),
    ("octet_length", "b>i t>i"),
    ("overlay", "bbi>b bbii>b tti>t ttii>t"),
    ("position", "bb>i tt>i"),
    ("power", "dd>d nn>n"),
    ("regexp_count", "tt>i tti>i ttit>i"),
    ("regexp_like", "tt>o ttt>o"),
    ("regexp_replace", "ttt>t tttt>t"),
    ("regexp_substr", "tt>t tti>t ttii>t ttiit>t ttiiti>t"),
    ("repeat", "ti>t"),
    ("replace", "ttt>t"),
    ("reverse", "t>t"),
    ("right", "ti>t"),
    ("round", "d>d n>n ni>n"),
    ("rpad", "ti>t tit>t"),
    ("rtrim", "bb>b t>t tt>t"),
    ("scale", "n>i"),
    ("set_bit", "bli>b"),
    ("set_byte", "bii>b"),
    ("sha224", "b>b"),
    ("sha256", "b>b"),
    ("sha384", "b>b"),
    ("sha512", "b>b"),
    ("sign", "d>d n>n"),
    ("split_part", "tti>t"),
    ("sqrt", "d>d n>n"),
    ("starts_with", "tt>o"),
    ("strpos", "tt>i"),
    ("substr", "bi>b bii>b ti>t tii>t"),
    ("substring", "bi>b bii>b ti>t tii>t tt>t ttt>t"),
    ("to_hex", "l>t i>t"),
    ("translate", "ttt>t"),
    ("trim_scale", "n>n"),
    ("trunc", "d>d n>n ni>n"),
    ("upper", "t>t"),
];

/// Functions that raise no error whatever they are given.
const TOTAL: &[&str] = &[
    "bit_length",
    "btrim",
    "char_length",
    "character_length",
    "concat",
    "gen_random_uuid",
    "initcap",
    "length",
    "lower",
    "ltrim",
    "md5",
    "octet_length",
    "position",
    "replace",
    "reverse",
    "rtrim",
    "sha224",
    "sha256",
    "sha384",
    "sha512",
    "starts_with",
    "strpos",
    "upper",
];

/// Operands, `>`, result. Comparisons and arithmetic of integers are below.
const OPERATORS: &[(&str, &str)] = &[
    ("!~", "tt>o"),
    ("!~*", "tt>o"),
    ("!~~", "bb>o tt>o"),
    ("!~~*", "tt>o"),
    ("#", "ll>l ii>i ss>s"),
    ("%", "nn>n ss>s ii>i ll>l"),
    ("&", "ll>l ii>i ss>s"),
    ("*", "nn>n dd>d"),
    ("+", "nn>n dd>d"),
    ("-", "nn>n dd>d"),
    ("/", "nn>n dd>d"),
    ("<<", "li>l ii>i si>s"),
    (">>", "li>l ii>i si>s"),
    ("^", "nn>n dd>d"),
    ("^@", "tt>o"),
    ("|", "ll>l ii>i ss>s"),
    ("||", "tt>t bb>b"),
    ("~", "tt>o"),
    ("~*", "tt>o"),
    ("~~", "bb>o tt>o"),
    ("~~*", "tt>o"),
];

const PREFIX_OPERATORS: &[(&str, &str)] =
    &[("+", "s>s i>i l>l n>n d>d"), ("-", "s>s i>i l>l n>n d>d"), ("@", "s>s i>i l>l n>n d>d"), ("~", "s>s i>i l>l")];

const COMPARISONS: &[&str] = &["<", "<=", "<>", "=", ">", ">="];

fn look_up(table: &[(&str, &str)], name: &str, arguments: &[Type]) -> Option<Type> {
    let (_, signatures) = table.iter().find(|(n, _)| *n == name)?;
    let wanted: String = arguments.iter().map(letter).collect::<Option<_>>()?;
    signatures.split(' ').find_map(|signature| {
        let (takes, gives) = signature.split_once('>')?;
        (takes == wanted).then(|| gives.chars().next().map(of_letter))?
    })
}

/// What a function of pg_catalog gives.
pub(super) fn function(name: &str, arguments: &[Type]) -> Option<Type> {
    look_up(FUNCTIONS, name, arguments)
        .or_else(|| array_function(name, arguments))
        .or_else(|| variadic(name, arguments))
}

/// Functions over arrays of any type.
fn array_function(name: &str, arguments: &[Type]) -> Option<Type> {
    let integer = Type::scalar(Base::Integer);
    let text = Type::scalar(Base::Text);
    // Domains turn into their base in ways that differ; nobody asks for more than their number.
    let array = |t: &Type| t.array && t.base != Base::Unknown;
    let plain = |t: &Type| array(t) && t.base != Base::Uint256;
    let element = |a: &Type, e: &Type| plain(a) && !e.array && a.base == e.base;
    match (name, arguments) {
        ("array_length" | "array_lower" | "array_upper", [a, n]) if array(a) && *n == integer => Some(integer),
        ("array_ndims" | "cardinality", [a]) if array(a) => Some(integer),
        ("array_append" | "array_remove", [a, e]) if element(a, e) => Some(a.clone()),
        ("array_prepend", [e, a]) if element(a, e) => Some(a.clone()),
        ("array_cat", [a, b]) if plain(a) && a == b => Some(a.clone()),
        ("array_replace", [a, e, f]) if element(a, e) && e == f => Some(a.clone()),
        ("array_position", [a, e]) if element(a, e) => Some(integer),
        ("array_to_string", [a, t]) if plain(a) && *t == text => Some(text),
        ("array_to_string", [a, t, n]) if plain(a) && *t == text && *n == text => Some(text),
        ("trim_array", [a, n]) if plain(a) && *n == integer => Some(a.clone()),
        _ => None,
    }
}

/// Functions that take any number of anything.
fn variadic(name: &str, arguments: &[Type]) -> Option<Type> {
    // The server's limit is 100.
    const ARGUMENTS_MAX: usize = 90;
    let text = Type::scalar(Base::Text);
    let leads = match name {
        "concat" => !arguments.is_empty(),
        "format" => arguments.first() == Some(&text),
        "concat_ws" => arguments.first() == Some(&text) && arguments.len() > 1,
        _ => false,
    };
    (leads && arguments.len() <= ARGUMENTS_MAX).then_some(text)
}

/// What an operator between two gives.
pub(super) fn operator(symbol: &str, left: &Type, right: &Type) -> Option<Type> {
    let boolean = Type::scalar(Base::Boolean);
    let plain = |t: &Type| t.base != Base::Unknown && t.base != Base::Uint256;
    if COMPARISONS.contains(&symbol) {
        let both = left == right && plain(left);
        return (both || (left.width().is_some() && right.width().is_some())).then_some(boolean);
    }
    if let ("+" | "-" | "*" | "/", Some(a), Some(b)) = (symbol, left.width(), right.width()) {
        return Some(if a >= b { left.clone() } else { right.clone() });
    }
    if let Some(found) = look_up(OPERATORS, symbol, &[left.clone(), right.clone()]) {
        return Some(found);
    }
    match symbol {
        "&&" | "@>" | "<@" if left.array && left == right && plain(left) => Some(boolean),
        "||" if left.base == right.base && plain(left) && (left.array || right.array) => {
            Some(Type::array(left.base.clone()))
        }
        _ => None,
    }
}

/// What an operator before one gives.
pub(super) fn prefix_operator(symbol: &str, operand: &Type) -> Option<Type> {
    look_up(PREFIX_OPERATORS, symbol, std::slice::from_ref(operand))
}

/// Can the function raise an error?
pub(super) fn is_total_function(name: &str) -> bool {
    TOTAL.contains(&name)
}

/// Can the operator raise an error?
pub(super) fn is_total_operator(symbol: &str) -> bool {
    COMPARISONS.contains(&symbol) || ["||", "~~", "!~~"].contains(&symbol)
}
