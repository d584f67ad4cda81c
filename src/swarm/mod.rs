//! libp2p: transport, membership handshake, chunk streams. The only place that names libp2p.
