//! In network namespaces of their own, and read by the nft program (package nftables).

use std::net::{Ipv4Addr, Ipv6Addr};
use std::process::Command;
use std::time::Duration;

use rustix::io::Errno;

use super::*;
use crate::netlink::{NetlinkError, Protocol, Socket};

/// Runs the test in a thread that has a network namespace of its own.
fn alone(test: impl FnOnce(&mut Socket) + Send) {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            // SAFETY: only this thread leaves the namespace, and no descriptor table is unshared.
            let result = unsafe { libc::unshare(libc::CLONE_NEWNET) };
            assert_eq!(result, 0, "a network namespace needs root");
            test(&mut Socket::open(Protocol::Netfilter).unwrap());
        });
        thread.join().unwrap();
    });
}

fn listed() -> String {
    let output = Command::new("nft").args(["list", "ruleset"]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Runs `nft -f` on a rule set in the namespace.
fn load(rules: &str) {
    use std::io::Write;
    let mut nft = Command::new("nft").args(["-f", "-"]).stdin(std::process::Stdio::piped()).spawn().unwrap();
    nft.stdin.take().unwrap().write_all(rules.as_bytes()).unwrap();
    assert!(nft.wait().unwrap().success());
}

const TABLE: Table = Table::new(Family::Inet, "t");
const BRIDGE: Table = Table::new(Family::Bridge, "b");
const PORTS: Set = Set::new(TABLE, "ports", &[Type::Ifname]);
const MACS: Set = Set::new(BRIDGE, "macs", &[Type::Ifname, Type::Ether]);
const NETS: Set = Set::new(TABLE, "nets", &[Type::Ipv4]).intervals();
const ALLOWED: Set =
    Set::new(TABLE, "allowed", &[Type::Ipv6, Type::Protocol, Type::Port]).intervals().timeouts();
const PUBLISHED: Set =
    Set::new(TABLE, "published", &[Type::Protocol, Type::Port]).map(&[Type::Ipv4, Type::Port]);
const POLICIES: Set = Set::new(TABLE, "policies", &[Type::Ipv4]).verdicts();

#[test]
fn rules_read_as_nft_would_have_written_them() {
    alone(|socket| {
        let (nat, filter, policy) = (TABLE.chain("nat"), TABLE.chain("filter"), TABLE.chain("refusals"));
        let mut batch = Batch::new();
        batch
            .create_table(TABLE)
            .add_base_chain(nat, Base::nat(Hook::Prerouting, -100))
            .add_base_chain(filter, Base::filter(Hook::Forward, 0).dropping())
            .add_chain(policy)
            .add_set(&PORTS)
            .add_set(&PUBLISHED)
            .add_set(&POLICIES);
        batch.add_rule(
            Rule::new(nat)
                .nfproto(Family::Ip)
                .daddr_is_local()
                .meta(Meta::L4proto, Reg(0))
                .payload(Header::Transport, 2, 2, Reg(1))
                .map("published", Reg(0), Reg(0))
                .dnat(Family::Ip, Reg(0), Some(Reg(1))),
        );
        batch.add_rule(
            Rule::new(nat)
                .nfproto(Family::Ip)
                .daddr(Ipv4Addr::new(127, 0, 0, 11).into())
                .l4proto(17)
                .dport(53)
                .value(Reg(0), Field::Port(5353))
                .redirect(Some(Reg(0))),
        );
        batch.add_rule(Rule::new(filter).ct_state(ct_state::ESTABLISHED | ct_state::RELATED).accept());
        batch.add_rule(Rule::new(filter).ct_status(ct_status::DNAT).counter().accept().comment("theirs"));
        batch.add_rule(
            Rule::new(filter).iifname_in("ports").oifname_not_in("ports").oifname("eth0").goto("refusals"),
        );
        batch.add_rule(
            Rule::new(filter).nfproto(Family::Ip).load_saddr(true, Reg(0)).verdict_of("policies", Reg(0)),
        );
        batch.add_rule(Rule::new(policy).limit(10, 20).log(7, "refused", 128));
        batch.add_rule(Rule::new(policy).reject_tcp());
        batch.add_rule(Rule::new(policy).reject(Reject::Prohibited));
        batch.add_elements(
            &POLICIES,
            [Element::new([Field::V4(Ipv4Addr::new(10, 0, 0, 1))]).verdict(Verdict::Jump("refusals"))],
        );
        batch.commit(socket).unwrap();
        let expected = include_str!("expected.nft");
        assert_eq!(listed(), expected);
        // nft takes it back as it is: it understands each of the rules, and so do we the other way.
        load(&format!("flush ruleset\n{expected}"));
        let found = rules(socket, filter).unwrap();
        assert_eq!(found.len(), 4);
        assert_eq!(found[1].comment.as_deref(), Some("theirs"));
    });
}

#[test]
fn frames_are_given_another_address() {
    alone(|socket| {
        let chain = BRIDGE.chain("prerouting");
        let mut batch = Batch::new();
        batch.add_table(BRIDGE).add_base_chain(chain, Base::filter(Hook::Prerouting, -300)).add_set(&MACS);
        batch.add_rule(
            Rule::new(chain)
                .meta(Meta::Iifname, Reg(0))
                .payload(Header::Link, 6, 6, Reg(4))
                .lookup_not("macs", Reg(0))
                .drop(),
        );
        batch.add_rule(
            Rule::new(chain)
                .value(Reg(0), Field::Mac([2, 0, 0, 0, 0, 1]))
                .set_payload(Header::Link, 0, 6, Reg(0))
                .value(Reg(0), Field::Byte(0))
                .set_meta(Meta::Pkttype, Reg(0)),
        );
        batch.add_elements(
            &MACS,
            [Element::new([Field::Name("hv1"), Field::Mac([2, 0x42, 1, 2, 3, 4])]).comment("hv1")],
        );
        batch.commit(socket).unwrap();
        let listed = listed();
        for line in [
            "elements = { \"hv1\" . 02:42:01:02:03:04 comment \"hv1\" }",
            "iifname . ether saddr != @macs drop",
            "ether daddr set 02:00:00:00:00:01 meta pkttype set host",
        ] {
            assert!(listed.contains(line), "{line}:\n{listed}");
        }
    });
}

#[test]
fn elements_come_and_go_with_their_comments() {
    alone(|socket| {
        let mut batch = Batch::new();
        batch.add_table(TABLE).add_set(&PORTS).add_set(&NETS).add_set(&ALLOWED).add_set(&PUBLISHED);
        let names: Vec<String> = (0..250).map(|number| format!("hv{number}")).collect();
        batch.add_elements(&PORTS, names.iter().map(|name| Element::new([Field::Name(name)]).comment(name)));
        batch.add_elements(
            &NETS,
            [
                Element::new([Field::V4([10, 1, 0, 0].into())])
                    .through([Field::V4([10, 1, 255, 255].into())]),
                Element::new([Field::V4([255, 0, 0, 0].into())]).through([Field::V4([255; 4].into())]),
            ],
        );
        let (first, last) =
            (Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 0), Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 9));
        let range = Element::new([Field::V6(first), Field::Byte(6), Field::Port(80)]).through([
            Field::V6(last),
            Field::Byte(6),
            Field::Port(90),
        ]);
        batch.add_elements(&ALLOWED, [range.clone().timeout(Duration::from_secs(60)).comment("name")]);
        batch.add_elements(
            &PUBLISHED,
            [Element::new([Field::Byte(6), Field::Port(80)])
                .to([Field::V4([10, 1, 0, 2].into()), Field::Port(8080)])],
        );
        batch.commit(socket).unwrap();
        let text = listed();
        for line in [
            "10.1.0.0/16, 255.0.0.0/8",
            "fd00::-fd00::9 . tcp . 80-90 timeout 1m",
            "tcp . 80 : 10.1.0.2 . 8080",
            "\"hv249\" comment \"hv249\"",
        ] {
            assert!(text.contains(line), "{line}:\n{text}");
        }
        assert_eq!(elements(socket, &PORTS).unwrap().len(), 250);
        let found = elements(socket, &ALLOWED).unwrap();
        assert_eq!(found[0].comment.as_deref(), Some("name"));
        assert_eq!(found[0].key.len(), 24);

        let mut batch = Batch::new();
        let again = |found: FoundElement| Element::of_key(found.key).through_key(found.end.unwrap());
        batch.delete_elements(&ALLOWED, found.into_iter().map(again)).flush_set(&PORTS);
        batch.delete_elements(
            &NETS,
            [Element::new([Field::V4([10, 1, 0, 0].into())]).through([Field::V4([10, 1, 255, 255].into())])],
        );
        batch.commit(socket).unwrap();
        assert!(elements(socket, &ALLOWED).unwrap().is_empty());
        assert!(elements(socket, &PORTS).unwrap().is_empty());
        assert!(listed().contains("elements = { 255.0.0.0/8 }"));
    });
}

#[test]
fn one_wrong_message_undoes_all_and_is_told() {
    alone(|socket| {
        let mut batch = Batch::new();
        batch.add_table(TABLE).add_set(&PORTS);
        batch.commit(socket).unwrap();
        let refused =
            |batch: Batch, socket: &mut Socket| -> NetlinkError { batch.commit(socket).unwrap_err() };

        let mut batch = Batch::new();
        batch.delete_elements(&PORTS, [Element::new([Field::Name("none")])]);
        batch.add_elements(&PORTS, [Element::new([Field::Name("eth0")])]);
        assert!(refused(batch, socket).is(Errno::NOENT));
        assert!(elements(socket, &PORTS).unwrap().is_empty());

        let mut batch = Batch::new();
        batch.create_table(TABLE).add_chain(TABLE.chain("more"));
        assert!(refused(batch, socket).is(Errno::EXIST));

        // More answers than the receive buffer holds.
        let mut batch = Batch::new();
        for _ in 0..3000 {
            batch.delete_elements(&PORTS, [Element::new([Field::Name("none")])]);
        }
        assert!(refused(batch, socket).is(Errno::NOENT));
        assert_eq!(tables(socket).unwrap(), [(Family::Inet, "t".to_owned())]);
    });
}

#[test]
fn what_others_made_is_seen() {
    alone(|socket| {
        load(
            "table ip filter {
                chain FORWARD { type filter hook forward priority 0; policy drop; }
                chain DOCKER-USER { counter return; }
            }",
        );
        let all = chains(socket).unwrap();
        let forward = all.iter().find(|chain| chain.name == "FORWARD").unwrap();
        assert_eq!((forward.hook, forward.drops, forward.family), (Some(2), true, Family::Ip));
        let user = Table::new(Family::Ip, "filter").chain("DOCKER-USER");
        let mut batch = Batch::new();
        batch.insert_rule(Rule::new(user).iifname("hull0").counter().accept().comment("hull"));
        batch.commit(socket).unwrap();
        let found = rules(socket, user).unwrap();
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].comment.as_deref(), Some("hull"));
        let mut batch = Batch::new();
        batch.delete_rule(user, found[0].handle);
        batch.commit(socket).unwrap();
        assert_eq!(rules(socket, user).unwrap().len(), 1);
        assert!(rules(socket, user.table.chain("NONE")).unwrap().is_empty());
        let mut batch = Batch::new();
        batch.destroy_table(user.table).destroy_table(TABLE);
        batch.commit(socket).unwrap();
        assert_eq!(listed(), "");
    });
}
