//! Rust source as the layer test sees it: tokens of the product (comments, literals and test code are gone) and the full
//! path behind every name, `use` trees and aliases worked out.

use std::collections::{BTreeMap, BTreeSet};

/// An identifier or one character of punctuation, and its line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) text: String,
    pub(crate) line: usize,
}

impl Token {
    fn is_name(&self) -> bool {
        self.text.starts_with(|c: char| c.is_alphabetic() || c == '_')
    }
}

/// A path that the source names; the last segment of a glob import is `*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Path {
    pub(crate) segments: Vec<String>,
    pub(crate) line: usize,
}

/// One file, read.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) tokens: Vec<Token>,
    pub(crate) paths: Vec<Path>,
    /// `#[cfg(test)] mod NAME;`: the files of these modules are test code, too.
    pub(crate) test_modules: BTreeSet<String>,
}

/// Reads a file that is the module `crate::module[0]::module[1]…`.
pub(crate) fn read(text: &str, module: &[String]) -> Source {
    let (tokens, test_modules) = without_tests(tokens(text));
    let paths = paths(&tokens, module);
    Source { tokens, paths, test_modules }
}

/// Cuts source into tokens; comments and the insides of literals leave none.
fn tokens(text: &str) -> Vec<Token> {
    let chars: Vec<char> = text.chars().collect();
    let at = |i: usize| chars.get(i).copied().unwrap_or('\0');
    let mut out = Vec::new();
    let (mut i, mut line) = (0, 1);
    while i < chars.len() {
        let begin = i;
        let c = chars[i];
        if c == '/' && at(i + 1) == '/' {
            while i < chars.len() && chars[i] != '\n' {
                i += 1;
            }
        } else if c == '/' && at(i + 1) == '*' {
            let mut depth = 0;
            loop {
                if at(i) == '/' && at(i + 1) == '*' {
                    depth += 1;
                    i += 2;
                } else if at(i) == '*' && at(i + 1) == '/' {
                    depth -= 1;
                    i += 2;
                } else {
                    i += 1;
                }
                if depth == 0 || i >= chars.len() {
                    break;
                }
            }
        } else if c == '"' {
            i = after_string(&chars, i);
        } else if c == '\'' {
            // A lifetime has no closing quote after its first character.
            if at(i + 1) == '\\' {
                i += 3;
                while i < chars.len() && chars[i] != '\'' {
                    i += 1;
                }
                i += 1;
            } else if at(i + 2) == '\'' {
                i += 3;
            } else {
                i += 1;
            }
        } else if c.is_alphabetic() || c == '_' {
            while at(i).is_alphanumeric() || at(i) == '_' {
                i += 1;
            }
            let word: String = chars[begin..i].iter().collect();
            let raw = word.ends_with('r') && matches!(word.as_str(), "r" | "br" | "cr");
            let hashes = chars[i..].iter().take_while(|c| **c == '#').count();
            if raw && at(i + hashes) == '"' {
                i = after_raw_string(&chars, i + hashes + 1, hashes);
            } else if matches!(word.as_str(), "b" | "c") && at(i) == '"' {
                i = after_string(&chars, i);
            } else if word == "r" && hashes == 1 {
                // r#name: the name follows as its own token.
                i += 1;
            } else {
                out.push(Token { text: word, line });
            }
        } else if c.is_ascii_digit() {
            while at(i).is_alphanumeric() || at(i) == '_' {
                i += 1;
            }
        } else {
            if !c.is_whitespace() {
                out.push(Token { text: c.to_string(), line });
            }
            i += 1;
        }
        i = i.min(chars.len());
        line += chars[begin..i].iter().filter(|c| **c == '\n').count();
    }
    out
}

/// The place after a string literal that begins at `i`.
fn after_string(chars: &[char], mut i: usize) -> usize {
    i += 1;
    while i < chars.len() && chars[i] != '"' {
        i += if chars[i] == '\\' { 2 } else { 1 };
    }
    i + 1
}

/// The place after a raw string whose text begins at `i`.
fn after_raw_string(chars: &[char], mut i: usize, hashes: usize) -> usize {
    while i < chars.len() {
        if chars[i] == '"' && chars[i + 1..].iter().take(hashes).filter(|c| **c == '#').count() == hashes {
            return i + 1 + hashes;
        }
        i += 1;
    }
    i
}

/// Takes away every item that stands under `#[cfg(test)]`; names the modules among them that have their own file.
fn without_tests(tokens: Vec<Token>) -> (Vec<Token>, BTreeSet<String>) {
    const ATTRIBUTE: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let starts =
        |i: usize| ATTRIBUTE.iter().enumerate().all(|(n, want)| tokens.get(i + n).is_some_and(|t| t.text == *want));
    let mut out = Vec::new();
    let mut modules = BTreeSet::new();
    let mut i = 0;
    while i < tokens.len() {
        if !starts(i) {
            out.push(tokens[i].clone());
            i += 1;
            continue;
        }
        let begin = i + ATTRIBUTE.len();
        let end = item_end(&tokens, begin);
        let item = &tokens[begin..end];
        if item.last().is_some_and(|t| t.text == ";")
            && let Some(at) = item.iter().position(|t| t.text == "mod")
        {
            modules.insert(item[at + 1].text.clone());
        }
        i = end;
    }
    (out, modules)
}

/// The place after the item that begins at `begin`: its `;`, or the brace that closes its body.
fn item_end(tokens: &[Token], begin: usize) -> usize {
    let mut depth = 0_usize;
    // The braces of a use tree or of a constant's value are not an item's last token; its `;` is.
    let ends_with_semicolon = tokens[begin..]
        .iter()
        .find(|t| {
            ["use", "const", "static", "type", "fn", "mod", "struct", "enum", "impl", "trait", "let"]
                .contains(&t.text.as_str())
        })
        .is_some_and(|t| ["use", "const", "static", "type", "let"].contains(&t.text.as_str()));
    for (i, token) in tokens.iter().enumerate().skip(begin) {
        match token.text.as_str() {
            "{" | "(" | "[" => depth += 1,
            "}" | ")" | "]" => {
                depth = depth.saturating_sub(1);
                if depth == 0 && token.text == "}" && !ends_with_semicolon {
                    return i + 1;
                }
            }
            ";" if depth == 0 => return i + 1,
            _ => {}
        }
    }
    tokens.len()
}

/// Every path that the tokens name, from the crate or an external crate on.
fn paths(tokens: &[Token], module: &[String]) -> Vec<Path> {
    let mut named = Vec::new();
    let mut aliases: BTreeMap<String, Vec<String>> = BTreeMap::new();
    // Inline modules that are open: name and the depth of their brace.
    let mut inline: Vec<(String, usize)> = Vec::new();
    let mut depth = 0;
    let mut i = 0;
    while i < tokens.len() {
        let here: Vec<String> = [String::from("crate")]
            .into_iter()
            .chain(module.iter().cloned())
            .chain(inline.iter().map(|m| m.0.clone()))
            .collect();
        match tokens[i].text.as_str() {
            "{" => depth += 1,
            "}" => {
                depth -= 1_usize.min(depth);
                inline.retain(|m| m.1 <= depth);
            }
            "mod" if text(tokens, i + 2) == "{" => {
                inline.push((tokens[i + 1].text.clone(), depth + 1));
                i += 1;
            }
            "use" => {
                let mut leaves = Vec::new();
                i = use_tree(tokens, i + 1, &[], &mut leaves);
                for (segments, alias, line) in leaves {
                    let segments = absolute(segments, &here);
                    if let Some(alias) = alias.or_else(|| segments.last().cloned())
                        && alias != "*"
                    {
                        aliases.insert(alias, segments.clone());
                    }
                    named.push(Path { segments, line });
                }
            }
            _ if tokens[i].is_name() && !follows_dot_or_path(tokens, i) => {
                let line = tokens[i].line;
                let mut segments = vec![tokens[i].text.clone()];
                while text(tokens, i + 1) == ":"
                    && text(tokens, i + 2) == ":"
                    && tokens.get(i + 3).is_some_and(Token::is_name)
                {
                    segments.push(tokens[i + 3].text.clone());
                    i += 3;
                }
                named.push(Path { segments: absolute(segments, &here), line });
            }
            _ => {}
        }
        i += 1;
    }
    for path in &mut named {
        resolve(&mut path.segments, &aliases);
    }
    named
}

/// Puts what an alias stands for in its place; an alias may stand on another one.
fn resolve(segments: &mut Vec<String>, aliases: &BTreeMap<String, Vec<String>>) {
    let mut seen = BTreeSet::new();
    while seen.insert(segments[0].clone())
        && let Some(target) = aliases.get(&segments[0])
    {
        segments.splice(..1, target.iter().cloned());
    }
}

fn text(tokens: &[Token], i: usize) -> &str {
    tokens.get(i).map_or("", |t| t.text.as_str())
}

/// A field, a method, or a later segment of a path that was read already.
fn follows_dot_or_path(tokens: &[Token], i: usize) -> bool {
    i > 0 && tokens[i - 1].text == "." && !(i > 1 && tokens[i - 2].text == ".")
}

/// `super` and `self` worked out.
fn absolute(segments: Vec<String>, here: &[String]) -> Vec<String> {
    if !matches!(segments[0].as_str(), "super" | "self") {
        // The binary names the library by the crate's name.
        return segments
            .into_iter()
            .enumerate()
            .map(|(n, s)| if n == 0 && s == "regenesis" { "crate".into() } else { s })
            .collect();
    }
    let mut base = here.to_vec();
    let mut rest = segments.into_iter().peekable();
    while let Some(step) = rest.next_if(|s| s == "super" || s == "self") {
        if step == "super" && base.len() > 1 {
            base.pop();
        }
    }
    base.extend(rest);
    base
}

type Leaf = (Vec<String>, Option<String>, usize);

/// Reads one use tree from `i` on into its leaves; gives the place of the token that ended it.
fn use_tree(tokens: &[Token], mut i: usize, prefix: &[String], leaves: &mut Vec<Leaf>) -> usize {
    let mut segments = prefix.to_vec();
    let mut line = tokens.get(i).map_or(0, |t| t.line);
    let mut alias = None;
    let mut is_group = false;
    while i < tokens.len() {
        match text(tokens, i) {
            ":" => {}
            "{" => {
                is_group = true;
                loop {
                    i = use_tree(tokens, i + 1, &segments, leaves);
                    if text(tokens, i) != "," {
                        break;
                    }
                }
            }
            "as" => {
                alias = Some(text(tokens, i + 1).to_owned());
                i += 1;
            }
            ";" | "," | "}" => break,
            name => {
                line = tokens[i].line;
                // `{self}` names what stands before the brace.
                if name != "self" || segments.is_empty() {
                    segments.push(name.to_owned());
                }
            }
        }
        i += 1;
    }
    if !is_group && segments.len() > prefix.len()
        || alias.is_some()
        || !is_group && text(tokens, i.wrapping_sub(1)) == "self"
    {
        leaves.push((segments, alias, line));
    }
    i
}
