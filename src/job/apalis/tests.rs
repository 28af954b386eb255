use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Notify, Semaphore};

use super::*;
use crate::{
    clock::{Clock, Fixed},
    model::{BatchId, JobState, Slot},
    store::{
        JobStore, Store,
        embedded::{EmbeddedStore, Mode},
    },
};
