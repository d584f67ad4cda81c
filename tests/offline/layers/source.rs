//! Rust source as the layer test sees it: tokens of the product (comments, literals and test code are gone), the full path
//! behind every name, `use` trees and aliases worked out, and what its texts say.

use std::collections::{BTreeMap, BTreeSet};

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use quote::ToTokens;
use syn::{
    Block, File, ItemImpl, ItemMod, ItemTrait, Lit,
    visit_mut::{self, VisitMut},
};

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
    /// What its string literals say.
    pub(crate) texts: Vec<Token>,
    /// `#[cfg(test)] mod NAME;`: the files of these modules are test code, too.
    pub(crate) test_modules: BTreeSet<String>,
}

/// Reads a file that is the module `crate::module[0]::module[1]…`.
pub(crate) fn read(text: &str, module: &[String]) -> Source {
    let mut file = syn::parse_file(text).unwrap_or_else(|e| panic!("{}: {e}", module.join("::")));
    let mut product = Product::default();
    product.visit_file_mut(&mut file);
    let (mut tokens, mut texts) = (Vec::new(), Vec::new());
    flatten(file.into_token_stream(), &mut tokens, &mut texts);
    let paths = paths(&tokens, module);
    Source { tokens, paths, texts, test_modules: product.test_modules }
}

/// Takes away what stands under `#[cfg(test)]`.
#[derive(Default)]
struct Product {
    /// The modules among it that have a file of their own.
    test_modules: BTreeSet<String>,
}

impl VisitMut for Product {
    fn visit_file_mut(&mut self, file: &mut File) {
        file.items.iter().filter(|item| is_test(*item)).for_each(|item| {
            if let syn::Item::Mod(ItemMod { ident, content: None, .. }) = item {
                self.test_modules.insert(ident.to_string());
            }
        });
        file.items.retain(|item| !is_test(item));
        visit_mut::visit_file_mut(self, file);
    }

    fn visit_item_mod_mut(&mut self, module: &mut ItemMod) {
        module.content.iter_mut().for_each(|(_, items)| items.retain(|item| !is_test(item)));
        visit_mut::visit_item_mod_mut(self, module);
    }

    fn visit_item_impl_mut(&mut self, item: &mut ItemImpl) {
        item.items.retain(|item| !is_test(item));
        visit_mut::visit_item_impl_mut(self, item);
    }

    fn visit_item_trait_mut(&mut self, item: &mut ItemTrait) {
        item.items.retain(|item| !is_test(item));
        visit_mut::visit_item_trait_mut(self, item);
    }

    fn visit_block_mut(&mut self, block: &mut Block) {
        block.stmts.retain(|statement| !is_test(statement));
        visit_mut::visit_block_mut(self, block);
    }
}

/// Whether `#[cfg(test)]` is among the attributes that something begins with.
fn is_test(item: &impl ToTokens) -> bool {
    let mut tokens = item.to_token_stream().into_iter();
    while let Some(TokenTree::Punct(hash)) = tokens.next()
        && hash.as_char() == '#'
        && let Some(TokenTree::Group(attribute)) = tokens.next()
    {
        if attribute.stream().to_string().replace(' ', "") == "cfg(test)" {
            return true;
        }
    }
    false
}

/// The tokens of a stream and of all groups in it; comments are no tokens, and doc comments are left out.
fn flatten(stream: TokenStream, tokens: &mut Vec<Token>, texts: &mut Vec<Token>) {
    for tree in stream {
        let line = tree.span().start().line;
        match tree {
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Parenthesis => ("(", ")"),
                    Delimiter::Brace => ("{", "}"),
                    Delimiter::Bracket => ("[", "]"),
                    Delimiter::None => ("", ""),
                };
                let first = group.stream().into_iter().next();
                if matches!(first, Some(TokenTree::Ident(first)) if open == "[" && first == "doc") {
                    continue;
                }
                tokens.push(Token { text: open.to_owned(), line });
                flatten(group.stream(), tokens, texts);
                tokens.push(Token { text: close.to_owned(), line: group.span_close().start().line });
            }
            TokenTree::Ident(name) => {
                let name = name.to_string();
                tokens.push(Token { text: name.strip_prefix("r#").unwrap_or(&name).to_owned(), line });
            }
            TokenTree::Punct(sign) => tokens.push(Token { text: sign.as_char().to_string(), line }),
            TokenTree::Literal(literal) => {
                if let Lit::Str(text) = Lit::new(literal) {
                    texts.push(Token { text: text.value(), line });
                }
            }
        }
    }
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
