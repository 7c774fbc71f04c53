//! The binary `esf` as people and scripts run it: real processes, real sockets, a free port for each server.

mod esf;
mod groups;

mod accounts;
mod blobs;
mod bodies;
mod by_hand;
mod chat;
mod config;
mod kept;
mod page;
mod people;
mod reconnect;
mod relations;
mod serve;
mod stored;
mod story;
mod talk;
mod tokens;
