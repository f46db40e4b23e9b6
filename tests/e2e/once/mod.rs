//! Cases in which the isolation mode makes no difference: what is before a container's start, and the command
//! line. `tests/run` leaves them out in vm mode, where a start is dear.

mod bad_input;
mod entrypoint;
mod environment;
mod images;
mod import;
mod inspect;
mod releases;
