//! Real servers of the lab, from outside it and from within.

use std::net::SocketAddr;

use xtask::lab::Lab;

use super::Client;

/// Runs `the_part_inside_the_lab` of this very test in the lab's network, with this variable set.
pub fn go_inside(lab: &Lab, variable: &str, value: &str) {
    let mut command = lab.controller(std::env::current_exe().unwrap());
    let part = [
        "--exact",
        "the_part_inside_the_lab",
        "--ignored",
        "--nocapture",
    ];
    let status = command.args(part).env(variable, value).status().unwrap();
    assert!(status.success());
}

/// A client that has been greeted.
pub fn greeted(server: SocketAddr) -> Client {
    let mut client = Client::connect(server);
    let banner = client.reply();
    assert!(banner.starts_with("220 "), "{server}: {banner}");
    client.ask("EHLO sender.example");
    client
}
