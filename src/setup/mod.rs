//! Plans and applies a node root. Knows neither swarm nor database.
