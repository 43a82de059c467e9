//! End-to-end tests: real programs under a real engine, real servers behind it.
//!
//! A *row* is a command and what must be seen of it (`row`, `rows/`); a *cell* is a link and a user
//! it runs with (`cell`). The network is two namespaces that end with this process (`world`).

mod capture;
mod cell;
mod certificates;
mod library;
mod matrix;
mod need;
mod packages;
mod row;
mod rows;
mod run;
mod scratch;
mod servers;
mod verdict;
mod world;

pub(crate) use cell::{Link, User};
pub(crate) use matrix::{Choice, play};
