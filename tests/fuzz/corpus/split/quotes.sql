SELECT 'a;b', "c;d", 'it''s', "a""b";
SELECT '\', ';';
