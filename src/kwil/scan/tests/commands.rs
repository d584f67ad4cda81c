//! psql's commands: all but `\restrict` and `\unrestrict` with a plain word, and these only on lines of their own.

use super::*;

#[test]
fn a_shell_command() {
    refused("\\! rm -rf /", "psql would run");
    refused("\\!", "psql would run");
}

#[test]
fn a_shell_command_after_blanks() {
    refused("   \\! id", "psql would run");
    refused("	\\! id", "psql would run");
}

#[test]
fn an_include() {
    refused("\\i /etc/passwd", "psql would run");
    refused("\\ir x.sql", "psql would run");
    refused("\\include x", "psql would run");
}

#[test]
fn an_output_to_a_program() {
    refused("\\o |sh", "psql would run");
    refused("\\g |sh", "psql would run");
    refused("\\w |sh", "psql would run");
}

#[test]
fn statements_made_by_a_query() {
    refused("\\gexec", "psql would run");
    refused("\\gset", "psql would run");
    refused("\\watch 1", "psql would run");
    refused("\\crosstabview", "psql would run");
}

#[test]
fn another_connection() {
    refused("\\connect other", "psql would run");
    refused("\\c other", "psql would run");
    refused("\\password x", "psql would run");
}

#[test]
fn a_copy_by_psql() {
    refused("\\copy s.t from program 'id'", "psql would run");
    refused("\\COPY s.t from 'x'", "psql would run");
}

#[test]
fn variables_set() {
    refused("\\set x `id`", "psql would run");
    refused("\\setenv PATH /tmp", "psql would run");
    refused("\\prompt x", "psql would run");
    refused("\\getenv a b", "psql would run");
}

#[test]
fn conditions() {
    refused("\\if true", "psql would run");
    refused("\\elif `id`", "psql would run");
    refused("\\else", "psql would run");
    refused("\\endif", "psql would run");
}

#[test]
fn large_objects_from_files() {
    refused("\\lo_import /etc/passwd", "psql would run");
    refused("\\lo_export 1 /tmp/x", "psql would run");
}

#[test]
fn an_editor() {
    refused("\\e", "psql would run");
    refused("\\ef s.f", "psql would run");
    refused("\\s /tmp/x", "psql would run");
}

#[test]
fn a_single_backslash() {
    refused("\\", "psql would run");
    refused("\\\\", "psql would run");
    refused("\\.", "psql would run");
    refused("\\N", "psql would run");
}

#[test]
fn restrict_without_a_word() {
    refused("\\restrict", "psql would run");
    refused("\\restrict ", "psql would run");
    refused("\\unrestrict", "psql would run");
}

#[test]
fn restrict_with_more_than_a_word() {
    refused("\\restrict a b", "psql would run");
    refused("\\restrict a\\! id", "psql would run");
    refused("\\restrict a\\\\! id", "psql would run");
    refused("\\restrict a ", "psql would run");
    refused("\\restrict a;", "psql would run");
}

#[test]
fn restrict_with_something_to_fill_in() {
    refused("\\restrict `id`", "psql would run");
    refused("\\restrict :x", "psql would run");
    refused("\\restrict 'a'", "psql would run");
    refused("\\restrict \"a\"", "psql would run");
    refused("\\restrict a-b", "psql would run");
}

#[test]
fn restrict_that_is_another_command() {
    refused("\\restricted a", "psql would run");
    refused("\\RESTRICT a", "psql would run");
    refused(" \\restrict a", "psql would run");
    refused("\\restrict  a", "psql would run");
    refused("\\restrict	a", "psql would run");
    refused("\\restrict a\r", "psql would run");
}

#[test]
fn a_command_inside_a_statement() {
    refused("GRANT SELECT ON TABLE s.t TO x \\! id\n;", "backslash");
    refused("GRANT SELECT ON TABLE s.t\n\\! id\nTO x;", "backslash");
    refused("GRANT SELECT ON TABLE s.t TO x \\g /tmp/x\n;", "backslash");
    refused("GRANT SELECT ON TABLE s.t TO x\\;", "backslash");
    refused("GRANT SELECT ON TABLE s.t\n\\restrict a\nTO x;", "backslash");
}

#[test]
fn a_command_after_a_statement() {
    refused("GRANT SELECT ON TABLE s.t TO x; \\! id", "follows a statement");
    refused("GRANT SELECT ON TABLE s.t TO x;\\! id", "follows a statement");
    refused("GRANT SELECT ON TABLE s.t TO x \\;\\! id", "follows a statement");
}

#[test]
fn a_command_in_parentheses() {
    refused("CREATE INDEX i ON s.t USING btree (a \\! id\n);", "backslash");
    refused("CREATE INDEX i ON s.t USING btree (a;\\! id\n);", "backslash");
}

#[test]
fn a_command_after_a_literal() {
    refused("ALTER TABLE ONLY s.t ALTER COLUMN a SET DEFAULT 'x'::text \\! id\n;", "backslash");
    refused("CREATE FUNCTION kwild_engine.format_type() RETURNS void LANGUAGE sql AS $$x$$ \\! id\n;", "backslash");
}

#[test]
fn variables_that_psql_fills_in() {
    refused("GRANT SELECT ON TABLE s.t TO :x;", "variable");
    refused("GRANT SELECT ON TABLE s.t TO :\"x\";", "variable");
    refused("ALTER TABLE ONLY s.t ALTER COLUMN a SET DEFAULT :'x';", "variable");
    refused("ALTER TABLE ONLY s.t ALTER COLUMN a SET DEFAULT :{?x};", "variable");
    refused("ALTER TABLE ONLY s.t ALTER COLUMN a SET DEFAULT 'a'::::text;", "variable");
    refused("CREATE INDEX i ON s.t USING btree ((a[:x]));", "variable");
    refused("CREATE INDEX i ON s.t USING btree ((a[1:x]));", "variable");
}

#[test]
fn restrict_with_a_word_passes() {
    passes("\\restrict abcXYZ019\nGRANT SELECT ON TABLE s.t TO x;\n\\unrestrict abcXYZ019");
}

#[test]
fn a_command_inside_a_literal_is_text() {
    passes("ALTER TABLE ONLY s.t ALTER COLUMN a SET DEFAULT 'x\n\\! id\n\\i x;\n'::text;");
}

#[test]
fn commands_before_the_first_statement() {
    for command in ["\\! id", "\\set x y", "\\connect y"] {
        let text = format!("{command}\n{SMALL}{END}");
        assert_eq!(refused_text(text.as_bytes(), 0..20, "psql would run").line, 1);
    }
}
