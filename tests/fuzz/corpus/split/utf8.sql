SELECT 'é   ', "ü;";
