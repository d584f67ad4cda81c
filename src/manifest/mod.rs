//! PURE: the signed manifest: layout, canonical bytes, signatures, trust rules, ticket.
