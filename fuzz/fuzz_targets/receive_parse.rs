//! Passes any bytes with any options through receive and parse: see `src/check.rs`.

#![no_main]

#[path = "../src/case.rs"]
mod case;
#[path = "../src/check.rs"]
mod check;

libfuzzer_sys::fuzz_target!(|input: &[u8]| check::check(input));
