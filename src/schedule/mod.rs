//! PURE: who sends which chunk to whom. Time is an argument, randomness a seed.
