//! Tests of the programs from outside, on a real runtime
