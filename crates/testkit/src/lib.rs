//! Generators, oracle and tiers that break the engine on purpose.
