//! The two-tier application of the README, with the real programs.

use hull_tests::SERVICES;
use hull_tests::net::Host;

#[test]
fn nginx_postgresql_and_redis_work_together() {
    let host = Host::new();
    host.say("network create front").exits(0);
    host.say("network create --internal back").exits(0);
    let db = host.start("db", ["--network", "back", SERVICES, "su", "postgres", "-c", "postgres"]);
    let cache = host.start("cache", ["--network", "back", SERVICES, "redis-server", "/etc/redis.conf"]);
    let app = host.start("app", ["--network", "back", SERVICES, "app"]);
    let web = host.start("web", ["--network", "front", "-p", "8080:80", SERVICES, "nginx"]);
    host.say("network connect back web").exits(0);
    for (guest, port) in [(&db, 5432), (&cache, 6379), (&app, 8000), (&web, 80)] {
        guest.await_port(port);
    }
    // nginx sees the client's own address.
    let greeting = host.client.get("203.0.113.1:8080").unwrap();
    assert!(greeting.ends_with(&format!("for {}", Host::CLIENT)), "{greeting}");
    for visit in 1..3 {
        let answer = host.client.get_path("203.0.113.1:8080", "/app/").unwrap();
        assert_eq!(answer, format!("cache {visit}, database {visit}"));
    }
    // The database is nobody's outside.
    assert!(!host.client.reaches("203.0.113.1:5432"));
}
