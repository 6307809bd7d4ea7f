//! Benchmarks of each stage of the pipeline by itself: `cargo bench --package strongroom-stages`. They are in
//! `benches/`; what whole runs cost, `cargo xtask race` measures.
