SELECT a[1:2], b::text, c::numeric(10,2), d[:5];
