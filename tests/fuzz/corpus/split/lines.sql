
  	
CREATE TABLE s.t (
    a text DEFAULT 'x

;\n',
    b bigint
);

