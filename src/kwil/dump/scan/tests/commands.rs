//! psql's commands: all but `\restrict` and `\unrestrict` with a plain word, and these only on lines of their own.

use super::*;

#[test]
fn a_shell_command() {
    refused("\\! rm -rf /", "psql would run a command");
    refused("\\!", "psql would run a command");
}

#[test]
fn a_shell_command_after_blanks() {
    refused("   \\! id", "psql would run a command");
    refused("	\\! id", "psql would run a command");
}

#[test]
fn an_include() {
    refused("\\i /etc/passwd", "psql would run a command");
    refused("\\ir x.sql", "psql would run a command");
    refused("\\include x", "psql would run a command");
}

#[test]
fn an_output_to_a_program() {
    refused("\\o |sh", "psql would run a command");
    refused("\\g |sh", "psql would run a command");
    refused("\\w |sh", "psql would run a command");
}

#[test]
fn statements_made_by_a_query() {
    refused("\\gexec", "psql would run a command");
    refused("\\gset", "psql would run a command");
    refused("\\watch 1", "psql would run a command");
    refused("\\crosstabview", "psql would run a command");
}

#[test]
fn another_connection() {
    refused("\\connect other", "psql would run a command");
    refused("\\c other", "psql would run a command");
    refused("\\password x", "psql would run a command");
}

#[test]
fn a_copy_by_psql() {
    refused("\\copy s.t from program 'id'", "psql would run a command");
    refused("\\COPY s.t from 'x'", "psql would run a command");
}

#[test]
fn variables_set() {
    refused("\\set x `id`", "psql would run a command");
    refused("\\setenv PATH /tmp", "psql would run a command");
    refused("\\prompt x", "psql would run a command");
    refused("\\getenv a b", "psql would run a command");
}

#[test]
fn conditions() {
    refused("\\if true", "psql would run a command");
    refused("\\elif `id`", "psql would run a command");
    refused("\\else", "psql would run a command");
    refused("\\endif", "psql would run a command");
}

#[test]
fn large_objects_from_files() {
    refused("\\lo_import /etc/passwd", "psql would run a command");
    refused("\\lo_export 1 /tmp/x", "psql would run a command");
}

#[test]
fn an_editor() {
    refused("\\e", "psql would run a command");
    refused("\\ef s.f", "psql would run a command");
    refused("\\s /tmp/x", "psql would run a command");
}

#[test]
fn a_single_backslash() {
    refused("\\", "psql would run a command");
    refused("\\\\", "psql would run a command");
    refused("\\.", "psql would run a command");
    refused("\\N", "psql would run a command");
}

#[test]
fn restrict_without_a_word() {
    refused("\\restrict", "psql would run a command");
    refused("\\restrict ", "psql would run a command");
    refused("\\unrestrict", "psql would run a command");
}

#[test]
fn restrict_with_more_than_a_word() {
    refused("\\restrict a b", "psql would run a command");
    refused("\\restrict a\\! id", "psql would run a command");
    refused("\\restrict a\\\\! id", "psql would run a command");
    refused("\\restrict a ", "psql would run a command");
    refused("\\restrict a;", "psql would run a command");
}

#[test]
fn restrict_with_something_to_fill_in() {
    refused("\\restrict `id`", "psql would run a command");
    refused("\\restrict :x", "psql would run a command");
    refused("\\restrict 'a'", "psql would run a command");
    refused("\\restrict \"a\"", "psql would run a command");
    refused("\\restrict a-b", "psql would run a command");
}

#[test]
fn restrict_that_is_another_command() {
    refused("\\restricted a", "psql would run a command");
    refused("\\RESTRICT a", "psql would run a command");
    refused(" \\restrict a", "psql would run a command");
    refused("\\restrict  a", "psql would run a command");
    refused("\\restrict	a", "psql would run a command");
    refused("\\restrict a\r", "psql would run a command");
}

#[test]
fn a_command_inside_a_statement() {
    refused("GRANT SELECT ON TABLE s.t TO x \\! id\n;", "a backslash outside quotes");
    refused("GRANT SELECT ON TABLE s.t\n\\! id\nTO x;", "a backslash outside quotes");
    refused("GRANT SELECT ON TABLE s.t TO x \\g /tmp/x\n;", "a backslash outside quotes");
    refused("GRANT SELECT ON TABLE s.t TO x\\;", "a backslash outside quotes");
    refused("GRANT SELECT ON TABLE s.t\n\\restrict a\nTO x;", "a backslash outside quotes");
}

#[test]
fn a_command_after_a_statement() {
    refused("GRANT SELECT ON TABLE s.t TO x; \\! id", "text follows a statement on its line");
    refused("GRANT SELECT ON TABLE s.t TO x;\\! id", "text follows a statement on its line");
    refused("GRANT SELECT ON TABLE s.t TO x \\;\\! id", "text follows a statement on its line");
}

#[test]
fn a_command_in_parentheses() {
    refused("CREATE INDEX i ON s.t USING btree (a \\! id\n);", "a backslash outside quotes");
    refused("CREATE INDEX i ON s.t USING btree (a;\\! id\n);", "a semicolon in parentheses");
}

#[test]
fn a_command_after_a_literal() {
    refused("ALTER TABLE ONLY s.t ALTER COLUMN a SET DEFAULT 'x'::text \\! id\n;", "a backslash outside quotes");
    refused(
        "CREATE FUNCTION kwild_engine.format_type() RETURNS void LANGUAGE sql AS $$x$$ \\! id\n;",
        "a backslash outside quotes",
    );
}

#[test]
fn variables_that_psql_fills_in() {
    refused("GRANT SELECT ON TABLE s.t TO :x;", "a colon, after which psql fills in a variable");
    refused("GRANT SELECT ON TABLE s.t TO :\"x\";", "a colon, after which psql fills in a variable");
    refused("ALTER TABLE ONLY s.t ALTER COLUMN a SET DEFAULT :'x';", "a colon, after which psql fills in a variable");
    refused("ALTER TABLE ONLY s.t ALTER COLUMN a SET DEFAULT :{?x};", "a colon, after which psql fills in a variable");
    refused(
        "ALTER TABLE ONLY s.t ALTER COLUMN a SET DEFAULT 'a'::::text;",
        "a colon, after which psql fills in a variable",
    );
    refused("CREATE INDEX i ON s.t USING btree ((a[:x]));", "a colon, after which psql fills in a variable");
    refused("CREATE INDEX i ON s.t USING btree ((a[1:x]));", "a colon, after which psql fills in a variable");
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
