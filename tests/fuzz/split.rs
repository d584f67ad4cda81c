//! The splitter against the lexer and the splitters of PostgreSQL's own parser.

use kwil_formats::dump::scan::inside::{Piece, cut};

/// Cuts a text. What is cut must be one statement each to the server's lexer, with its only semicolon at the end. Gives the
/// pieces and the number of tokens, or nothing where the text is refused.
///
/// # Panics
/// Where the two differ.
pub(crate) fn split(data: &[u8]) -> Option<(Vec<Piece>, usize)> {
    let pieces = cut(data).ok()?;
    let mut tokens = 0;
    let mut joined = String::new();
    let mut statements = 0;
    let mut lexed = true;
    for piece in &pieces {
        let Piece::Statement(text) = piece else { continue };
        let text = std::str::from_utf8(text).expect("a statement that is not UTF-8 was cut");
        // What the lexer cannot read (a zero in a name, a number with letters) the server refuses as a whole.
        let Ok(scanned) = pg_query::scan(text) else {
            lexed = false;
            continue;
        };
        tokens += scanned.tokens.len();
        let ends: Vec<usize> = scanned
            .tokens
            .iter()
            .filter(|t| t.token() == pg_query::protobuf::Token::Ascii59)
            .map(|t| t.end as usize)
            .collect();
        assert_eq!(ends, [text.len()], "semicolons of {text:?}");
        assert!(!scanned.tokens.iter().any(|t| is_comment(t.token())), "a comment in {text:?}");
        joined.push_str(text);
        joined.push('\n');
        statements += 1;
    }
    // What the grammar cannot read the server refuses, too.
    if lexed && let Ok(parts) = pg_query::split_with_parser(&joined) {
        assert_eq!(parts.len(), statements, "statements of {joined:?}: {parts:?}");
    }
    Some((pieces, tokens))
}

fn is_comment(token: pg_query::protobuf::Token) -> bool {
    matches!(token, pg_query::protobuf::Token::SqlComment | pg_query::protobuf::Token::CComment)
}
