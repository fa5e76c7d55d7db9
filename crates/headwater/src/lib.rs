//! The program: the laptop cluster and the operator's tools.
