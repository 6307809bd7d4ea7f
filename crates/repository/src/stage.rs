//! Stages: what a run spends its time on, for whoever listens (`--timings` does).

/// Begins a stage of the calling thread, which ends when the value is dropped. Stages within stages count for themselves.
macro_rules! stage {
    ($name:literal) => {
        tracing::trace_span!(target: $crate::STAGE_TARGET, $name).entered()
    };
}

pub(crate) use stage;
