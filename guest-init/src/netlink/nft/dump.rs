//! What there is: tables, chains, rules, sets and their elements.

use rustix::io::Errno;

use super::{Chain, Family, Kind, Set, Table, batch, message};
use crate::netlink::{Message, NetlinkError, Socket, attributes};

const NFTA_TABLE_NAME: u16 = 1;
const NFTA_TABLE_USERDATA: u16 = 6;
const NFTA_CHAIN_TABLE: u16 = 1;
const NFTA_CHAIN_NAME: u16 = 3;
const NFTA_CHAIN_HOOK: u16 = 4;
const NFTA_CHAIN_POLICY: u16 = 5;
const NFTA_HOOK_HOOKNUM: u16 = 1;
const NFTA_RULE_HANDLE: u16 = 3;
const NFTA_RULE_USERDATA: u16 = 7;
const NFTA_SET_TABLE: u16 = 1;
const NFTA_SET_NAME: u16 = 2;
const NFTA_SET_ELEM_LIST_ELEMENTS: u16 = 3;
const NFTA_SET_ELEM_KEY: u16 = 1;
const NFTA_SET_ELEM_FLAGS: u16 = 3;
const NFTA_SET_ELEM_USERDATA: u16 = 6;
const NFTA_SET_ELEM_KEY_END: u16 = 10;
const NFTA_DATA_VALUE: u16 = 1;
const NFT_SET_ELEM_INTERVAL_END: u32 = 1;
/// How often a dump is begun again that others' changes interrupt.
const ATTEMPTS: usize = 20;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundChain {
    pub family: Family,
    pub table: String,
    pub name: String,
    /// Of a base chain: the number of its hook, see [`super::Hook`].
    pub hook: Option<u32>,
    /// Of a base chain: it drops what no rule decides.
    pub drops: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundRule {
    pub handle: u64,
    pub comment: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundElement {
    pub key: Vec<u8>,
    /// Of ranges in a concatenation.
    pub end: Option<Vec<u8>>,
    /// Of a lone field's ranges: not an element, but where one ends.
    pub is_end: bool,
    pub comment: Option<String>,
}

/// Of all families.
pub fn tables(socket: &mut Socket) -> Result<Vec<(Family, String)>, NetlinkError> {
    dump(socket, &message(Kind::GetTable, 0, 0), |family, body| {
        Some((family, text(attributes(body).of_kind(NFTA_TABLE_NAME)?)))
    })
}

/// ENOENT: there is no such table.
pub fn table_comment(socket: &mut Socket, table: Table) -> Result<Option<String>, NetlinkError> {
    let mut asked = message(Kind::GetTable, 0, table.family as u8);
    asked.attribute_str(NFTA_TABLE_NAME, table.name);
    let found = socket.get(asked)?;
    let body = found.as_ref().and_then(|(_, body)| body.split_first_chunk::<4>());
    Ok(body.and_then(|(_, body)| attributes(body).of_kind(NFTA_TABLE_USERDATA)).and_then(comment))
}

/// Of all tables of all families.
pub fn chains(socket: &mut Socket) -> Result<Vec<FoundChain>, NetlinkError> {
    dump(socket, &message(Kind::GetChain, 0, 0), |family, body| {
        let all = attributes(body);
        let hook = all
            .clone()
            .of_kind(NFTA_CHAIN_HOOK)
            .and_then(|hook| number(attributes(hook).of_kind(NFTA_HOOK_HOOKNUM)?));
        Some(FoundChain {
            family,
            table: text(all.clone().of_kind(NFTA_CHAIN_TABLE)?),
            name: text(all.clone().of_kind(NFTA_CHAIN_NAME)?),
            hook,
            drops: hook.is_some() && all.of_kind(NFTA_CHAIN_POLICY).and_then(number) == Some(0),
        })
    })
}

/// The rules of a chain, none of one that does not exist. ENOENT: there is no such table.
pub fn rules(socket: &mut Socket, chain: Chain) -> Result<Vec<FoundRule>, NetlinkError> {
    let asked = batch::rule_message(Kind::GetRule, 0, chain);
    dump(socket, &asked, |_, body| {
        let all = attributes(body);
        let handle = all.clone().of_kind(NFTA_RULE_HANDLE)?;
        Some(FoundRule {
            handle: u64::from_be_bytes(handle.try_into().ok()?),
            comment: all.of_kind(NFTA_RULE_USERDATA).and_then(comment),
        })
    })
}

/// The names of a table's sets and maps.
pub fn sets(socket: &mut Socket, table: Table) -> Result<Vec<String>, NetlinkError> {
    let mut asked = message(Kind::GetSet, 0, table.family as u8);
    asked.attribute_str(NFTA_SET_TABLE, table.name);
    dump(socket, &asked, |_, body| Some(text(attributes(body).of_kind(NFTA_SET_NAME)?)))
}

/// ENOENT: there is no such set.
pub fn elements(socket: &mut Socket, set: &Set) -> Result<Vec<FoundElement>, NetlinkError> {
    let asked = set.element_list(Kind::GetSetElem, 0, None);
    let lists = dump(socket, &asked, |_, body| {
        let list = attributes(body).of_kind(NFTA_SET_ELEM_LIST_ELEMENTS)?;
        Some(attributes(list).filter_map(|(_, element)| found_element(element)).collect::<Vec<_>>())
    })?;
    Ok(lists.into_iter().flatten().collect())
}

fn found_element(body: &[u8]) -> Option<FoundElement> {
    let all = attributes(body);
    let key = |kind| Some(attributes(all.clone().of_kind(kind)?).of_kind(NFTA_DATA_VALUE)?.to_vec());
    let flags = all.clone().of_kind(NFTA_SET_ELEM_FLAGS).and_then(number).unwrap_or(0);
    Some(FoundElement {
        key: key(NFTA_SET_ELEM_KEY)?,
        end: key(NFTA_SET_ELEM_KEY_END),
        is_end: flags & NFT_SET_ELEM_INTERVAL_END != 0,
        comment: all.clone().of_kind(NFTA_SET_ELEM_USERDATA).and_then(comment),
    })
}

/// Asks again from the start where a change came between, which the kernel tells.
fn dump<T>(
    socket: &mut Socket,
    asked: &Message,
    each: impl Fn(Family, &[u8]) -> Option<T>,
) -> Result<Vec<T>, NetlinkError> {
    let mut attempt = 0;
    loop {
        attempt += 1;
        let mut found = Vec::new();
        let outcome = socket.dump(asked.clone(), |_, body| {
            // struct nfgenmsg
            if let Some((header, body)) = body.split_first_chunk::<4>() {
                found.extend(Family::from_number(header[0]).and_then(|family| each(family, body)));
            }
        });
        match outcome {
            Err(refused) if refused.is(Errno::INTR) && attempt < ATTEMPTS => {}
            outcome => return outcome.map(|()| found),
        }
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes.strip_suffix(&[0]).unwrap_or(bytes)).into_owned()
}

fn number(bytes: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.try_into().ok()?))
}

/// libnftnl's user data: type, length, value; type 0 is the comment.
fn comment(mut bytes: &[u8]) -> Option<String> {
    while let Some(([kind, length], rest)) = bytes.split_first_chunk::<2>() {
        let value = rest.get(..usize::from(*length))?;
        if *kind == 0 {
            return Some(text(value));
        }
        bytes = rest.get(usize::from(*length)..)?;
    }
    None
}
