//! `--timings`: how long each stage of a run took, summed over its threads.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::json;
use strongroom_repository::STAGE_TARGET;
use tracing::span::Id;
use tracing::{Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;

thread_local! {
    /// The stages that this thread is in: when each began, and how long those within it took.
    static BEGUN: RefCell<Vec<(Instant, Duration)>> = const { RefCell::new(Vec::new()) };
}

/// Whether something is one of the stages that a run's time goes into.
pub(crate) fn is_stage(metadata: &Metadata<'_>) -> bool {
    metadata.is_span() && metadata.target() == STAGE_TARGET
}

/// How long each stage took. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Timings(Arc<Mutex<BTreeMap<&'static str, Duration>>>);

impl Timings {
    /// Says so on standard error, the longest first; as one line of JSON on request.
    pub(crate) fn report(&self, as_json: bool) {
        let stages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut stages: Vec<_> = stages.iter().map(|(name, time)| (*name, time.as_secs_f64())).collect();
        stages.sort_by(|(_, a), (_, b)| b.total_cmp(a));
        if as_json {
            let stages: BTreeMap<_, _> = stages.into_iter().collect();
            eprintln!("{}", json!({ "type": "timings", "stages": stages }));
        } else {
            let stages: Vec<_> =
                stages.iter().map(|(name, seconds)| format!("{name} {seconds:.2} s")).collect();
            eprintln!("time, summed over threads: {}", stages.join(", "));
        }
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Timings {
    fn on_enter(&self, _: &Id, _: Context<'_, S>) {
        BEGUN.with_borrow_mut(|begun| begun.push((Instant::now(), Duration::ZERO)));
    }

    fn on_exit(&self, id: &Id, context: Context<'_, S>) {
        let time = BEGUN.with_borrow_mut(|begun| {
            let (start, within) = begun.pop()?;
            let time = start.elapsed();
            if let Some((_, within)) = begun.last_mut() {
                *within += time;
            }
            Some(time.saturating_sub(within))
        });
        if let (Some(time), Some(span)) = (time, context.span(id)) {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(span.name()).or_default() += time;
        }
    }
}
