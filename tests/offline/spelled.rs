//! Whatever the program and its README advise can be run as it is printed: the program's own definition of its arguments
//! reads every command in them.

use std::{fs, path::Path};

use regenesis::cli::{misspelt, unknown_flags};
use syn::visit::Visit;

use crate::common::Party;

/// Every string literal of a source, help included; those of its tests are left out.
#[derive(Default)]
struct Literals(Vec<String>);

impl Visit<'_> for Literals {
    fn visit_item_mod(&mut self, module: &syn::ItemMod) {
        if module.ident != "tests" {
            syn::visit::visit_item_mod(self, module);
        }
    }

    fn visit_lit_str(&mut self, literal: &syn::LitStr) {
        self.0.push(literal.value());
    }

    fn visit_meta_list(&mut self, list: &syn::MetaList) {
        self.tokens(list.tokens.clone());
    }

    fn visit_macro(&mut self, call: &syn::Macro) {
        // What stands in format!, writeln! and their like is not parsed further.
        self.tokens(call.tokens.clone());
    }
}

impl Literals {
    fn tokens(&mut self, tokens: proc_macro2::TokenStream) {
        for token in tokens {
            match token {
                proc_macro2::TokenTree::Group(group) => self.tokens(group.stream()),
                proc_macro2::TokenTree::Literal(literal) => {
                    self.0.extend(syn::parse_str::<syn::LitStr>(&literal.to_string()).map(|l| l.value()));
                }
                _ => {}
            }
        }
    }
}

fn literals(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap();
    let mut literals = Literals::default();
    literals.visit_file(&syn::parse_file(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display())));
    literals.0
}

fn sources(directory: &Path, paths: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() {
            sources(&entry, paths);
        } else if entry.extension().is_some_and(|e| e == "rs") && !entry.ends_with("tests.rs") {
            paths.push(entry);
        }
    }
}

fn root(path: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

#[test]
fn every_command_in_a_text_of_the_program_can_be_run() {
    let mut paths = Vec::new();
    sources(&root("src/cli"), &mut paths);
    let mut wrong = Vec::new();
    for path in &paths {
        let told = literals(path).iter().flat_map(|text| misspelt(text)).collect::<Vec<_>>();
        wrong.extend(told.into_iter().map(|told| format!("{}: {told}", path.display())));
    }
    assert!(paths.len() > 30 && wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_flag_in_an_advice_exists() {
    for name in ["next.rs", "mends.rs"] {
        let texts = literals(&root("src/cli/words").join(name));
        let wrong: Vec<_> = texts.iter().flat_map(|text| unknown_flags(text)).collect();
        assert!(texts.len() > 30 && wrong.is_empty(), "{name}: {wrong:?}");
    }
}

#[test]
fn every_command_that_a_guide_prints_can_be_run() {
    let party = Party::new();
    for part in ["lead", "validator", "relay"] {
        for family in ["v0.9", "v0.10"] {
            let guide = party.run(&["guide", part, "--family", family]).done().stdout;
            let commands: Vec<_> = guide.lines().filter(|line| line.starts_with("    regenesis ")).collect();
            let wrong = misspelt(&guide);
            assert!(commands.len() >= 4 && wrong.is_empty(), "{part} {family}: {wrong:?} in {guide}");
            // A command goes on one line, so that it is copied as a whole.
            assert!(commands.iter().all(|line| !line.ends_with('\\')), "{guide}");
        }
    }
    assert_eq!(party.run(&["guide", "nobody"]).code, 2);
}

#[test]
fn every_command_in_the_readme_can_be_run() {
    let wrong = misspelt(&fs::read_to_string(root("README.md")).unwrap());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
