//! The pipeline database -> filter -> hash -> parallel gzip -> file, and the one-pass check of such a file.
