//! A transaction: what it changes, message by message.

use super::element::user_data;
use super::set::{self, Set};
use super::{Chain, Element, Kind, Rule, SUBSYSTEM, Table, message};
use crate::netlink::{Message, NetlinkError, Socket};

const NFNL_MSG_BATCH_BEGIN: u16 = 0x10;
const NFNL_MSG_BATCH_END: u16 = 0x11;
const NLM_F_EXCL: u16 = 0x200;
const NLM_F_CREATE: u16 = 0x400;
const NLM_F_APPEND: u16 = 0x800;
const NFTA_TABLE_NAME: u16 = 1;
const NFTA_TABLE_USERDATA: u16 = 6;
const NFTA_CHAIN_TABLE: u16 = 1;
const NFTA_CHAIN_NAME: u16 = 3;
const NFTA_CHAIN_HOOK: u16 = 4;
const NFTA_CHAIN_POLICY: u16 = 5;
const NFTA_CHAIN_TYPE: u16 = 7;
const NFTA_HOOK_HOOKNUM: u16 = 1;
const NFTA_HOOK_PRIORITY: u16 = 2;
const NFTA_RULE_TABLE: u16 = 1;
const NFTA_RULE_CHAIN: u16 = 2;
const NFTA_RULE_HANDLE: u16 = 3;
const NF_DROP: u32 = 0;
const NF_ACCEPT: u32 = 1;

/// Where a base chain hangs. The numbers are the same in the families ip, ip6, inet and bridge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Hook {
    Prerouting = 0,
    Input = 1,
    Forward = 2,
    Output = 3,
    Postrouting = 4,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChainType {
    Filter,
    Nat,
}

/// What makes a chain a base chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Base {
    pub kind: ChainType,
    pub hook: Hook,
    pub priority: i32,
    pub drop: bool,
}

impl Base {
    /// A filter that accepts what no rule decides.
    pub const fn filter(hook: Hook, priority: i32) -> Self {
        Base { kind: ChainType::Filter, hook, priority, drop: false }
    }

    pub const fn nat(hook: Hook, priority: i32) -> Self {
        Base { kind: ChainType::Nat, hook, priority, drop: false }
    }

    /// Drops what no rule decides.
    pub const fn dropping(self) -> Self {
        Base { drop: true, ..self }
    }
}

/// Changes that are made all together, or not at all.
#[derive(Debug, Default)]
pub struct Batch {
    messages: Vec<Message>,
    /// Sets are told apart by a number within a transaction.
    sets: u32,
}

impl Batch {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Adding what exists is no error, for tables, chains and sets alike; nor is it changed.
    pub fn add_table(&mut self, table: Table) -> &mut Self {
        self.table(Kind::NewTable, NLM_F_CREATE, table)
    }

    /// Refused where it exists already: for who wants to know whether to fill it.
    pub fn create_table(&mut self, table: Table) -> &mut Self {
        self.table(Kind::NewTable, NLM_F_CREATE | NLM_F_EXCL, table)
    }

    /// With a comment, at most 120 bytes, that [`super::table_comment`] finds.
    pub fn add_commented_table(&mut self, table: Table, comment: &str) -> &mut Self {
        let mut new = message(Kind::NewTable, NLM_F_CREATE, table.family as u8);
        new.attribute_str(NFTA_TABLE_NAME, table.name);
        new.attribute(NFTA_TABLE_USERDATA, &user_data(comment));
        self.push(new)
    }

    /// With all that is in it.
    pub fn delete_table(&mut self, table: Table) -> &mut Self {
        self.table(Kind::DelTable, 0, table)
    }

    /// As `delete_table`, but no error where it does not exist.
    pub fn destroy_table(&mut self, table: Table) -> &mut Self {
        self.add_table(table).delete_table(table)
    }

    fn table(&mut self, kind: Kind, flags: u16, table: Table) -> &mut Self {
        let mut new = message(kind, flags, table.family as u8);
        new.attribute_str(NFTA_TABLE_NAME, table.name);
        self.push(new)
    }

    pub fn add_chain(&mut self, chain: Chain) -> &mut Self {
        let new = chain_message(Kind::NewChain, NLM_F_CREATE, chain);
        self.push(new)
    }

    /// Refused where it exists already.
    pub fn create_chain(&mut self, chain: Chain) -> &mut Self {
        let new = chain_message(Kind::NewChain, NLM_F_CREATE | NLM_F_EXCL, chain);
        self.push(new)
    }

    pub fn add_base_chain(&mut self, chain: Chain, base: Base) -> &mut Self {
        let mut new = chain_message(Kind::NewChain, NLM_F_CREATE, chain);
        new.nested(NFTA_CHAIN_HOOK, |hook| {
            hook.attribute_be32(NFTA_HOOK_HOOKNUM, base.hook as u32)
                .attribute(NFTA_HOOK_PRIORITY, &base.priority.to_be_bytes());
        });
        new.attribute_be32(NFTA_CHAIN_POLICY, if base.drop { NF_DROP } else { NF_ACCEPT });
        let kind = match base.kind {
            ChainType::Filter => "filter",
            ChainType::Nat => "nat",
        };
        new.attribute_str(NFTA_CHAIN_TYPE, kind);
        self.push(new)
    }

    pub fn delete_chain(&mut self, chain: Chain) -> &mut Self {
        let gone = chain_message(Kind::DelChain, 0, chain);
        self.push(gone)
    }

    /// Behind the chain's other rules.
    pub fn add_rule(&mut self, rule: Rule) -> &mut Self {
        let new = rule.message(NLM_F_CREATE | NLM_F_APPEND);
        self.push(new)
    }

    /// Before the chain's other rules.
    pub fn insert_rule(&mut self, rule: Rule) -> &mut Self {
        let new = rule.message(NLM_F_CREATE);
        self.push(new)
    }

    /// The rule that [`super::rules`] gave this handle.
    pub fn delete_rule(&mut self, chain: Chain, handle: u64) -> &mut Self {
        let mut gone = rule_message(Kind::DelRule, 0, chain);
        gone.attribute(NFTA_RULE_HANDLE, &handle.to_be_bytes());
        self.push(gone)
    }

    /// Removes all rules of a chain.
    pub fn flush_chain(&mut self, chain: Chain) -> &mut Self {
        let gone = rule_message(Kind::DelRule, 0, chain);
        self.push(gone)
    }

    pub fn add_set(&mut self, set: &Set) -> &mut Self {
        self.sets += 1;
        let new = set.message(NLM_F_CREATE, self.sets);
        self.push(new)
    }

    pub fn delete_set(&mut self, set: &Set) -> &mut Self {
        let gone = set.reference(Kind::DelSet);
        self.push(gone)
    }

    /// An element that is there already stays as it is, its timeout too; a map's with another value is an
    /// error.
    pub fn add_elements<'e>(
        &mut self,
        set: &Set,
        elements: impl IntoIterator<Item = Element<'e>>,
    ) -> &mut Self {
        self.elements(Kind::NewSetElem, NLM_F_CREATE, set, elements)
    }

    /// An element that is there already is an error.
    pub fn create_elements<'e>(
        &mut self,
        set: &Set,
        elements: impl IntoIterator<Item = Element<'e>>,
    ) -> &mut Self {
        self.elements(Kind::NewSetElem, NLM_F_CREATE | NLM_F_EXCL, set, elements)
    }

    /// An element that is not there is an error.
    pub fn delete_elements<'e>(
        &mut self,
        set: &Set,
        elements: impl IntoIterator<Item = Element<'e>>,
    ) -> &mut Self {
        self.elements(Kind::DelSetElem, 0, set, elements)
    }

    pub fn flush_set(&mut self, set: &Set) -> &mut Self {
        let gone = set.element_list(Kind::DelSetElem, 0, None::<Message>);
        self.push(gone)
    }

    fn elements<'e>(
        &mut self,
        kind: Kind,
        flags: u16,
        set: &Set,
        elements: impl IntoIterator<Item = Element<'e>>,
    ) -> &mut Self {
        let mut elements = elements.into_iter().peekable();
        while elements.peek().is_some() {
            // An attribute has at most 64 KiB.
            let list = set::list(set, elements.by_ref().take(100));
            let message = set.element_list(kind, flags, Some(list));
            self.push(message);
        }
        self
    }

    fn push(&mut self, message: Message) -> &mut Self {
        self.messages.push(message);
        self
    }

    /// Makes the changes. The error is the first that the kernel found; nothing has changed then.
    pub fn commit(self, socket: &mut Socket) -> Result<(), NetlinkError> {
        if self.messages.is_empty() {
            return Ok(());
        }
        let resource = SUBSYSTEM.to_be_bytes();
        let edge = |kind| Message::new(kind, 0, &[0, 0, resource[0], resource[1]]);
        let mut messages = Vec::with_capacity(self.messages.len() + 2);
        messages.push(edge(NFNL_MSG_BATCH_BEGIN));
        messages.extend(self.messages);
        messages.push(edge(NFNL_MSG_BATCH_END));
        socket.transaction(messages)
    }
}

fn chain_message(kind: Kind, flags: u16, chain: Chain) -> Message {
    let mut message = message(kind, flags, chain.table.family as u8);
    message.attribute_str(NFTA_CHAIN_TABLE, chain.table.name).attribute_str(NFTA_CHAIN_NAME, chain.name);
    message
}

pub(super) fn rule_message(kind: Kind, flags: u16, chain: Chain) -> Message {
    let Table { family, name } = chain.table;
    let mut message = message(kind, flags, family as u8);
    message.attribute_str(NFTA_RULE_TABLE, name).attribute_str(NFTA_RULE_CHAIN, chain.name);
    message
}
