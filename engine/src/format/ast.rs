//! A template as the parser leaves it.

use serde_json::Value;

/// Where a part stands, for messages. Line from 1, byte of the line from 0.
#[derive(Debug, Clone)]
pub(super) struct At {
    pub line: usize,
    pub column: usize,
    pub text: String,
}

#[derive(Debug)]
pub(super) enum Node {
    Text(String),
    Action(Pipe),
    /// `if` and `with`: the first arm whose pipe is true.
    Branch {
        arms: Vec<Arm>,
        otherwise: Vec<Node>,
    },
    Range {
        pipe: Pipe,
        body: Vec<Node>,
        otherwise: Vec<Node>,
    },
}

#[derive(Debug)]
pub(super) struct Arm {
    pub pipe: Pipe,
    /// `with`: the pipe's value is `.` in the body.
    pub sets_dot: bool,
    pub body: Vec<Node>,
}

/// Commands, each of which gets the result of the one before as its last argument.
#[derive(Debug)]
pub(super) struct Pipe {
    pub at: At,
    /// One name; two only in a range.
    pub names: Vec<String>,
    /// `=` to a variable that exists, not `:=`.
    pub assigns: bool,
    pub commands: Vec<Command>,
}

#[derive(Debug)]
pub(super) struct Command {
    pub at: At,
    pub first: Operand,
    pub arguments: Vec<Operand>,
}

#[derive(Debug)]
pub(super) struct Operand {
    pub at: At,
    pub kind: OperandKind,
}

#[derive(Debug)]
pub(super) enum OperandKind {
    Dot,
    Nil,
    Literal(Value),
    Field(Vec<String>),
    Variable(String, Vec<String>),
    Function(Function),
    Group(Box<Pipe>, Vec<String>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Function {
    And,
    Or,
    Not,
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    Len,
    Index,
    Slice,
    Json,
    Print,
    Println,
    Printf,
    Join,
    Split,
    Lower,
    Upper,
    Title,
    Pad,
    Truncate,
}

impl Function {
    pub(super) const ALL: [(&'static str, Function); 23] = [
        ("and", Function::And),
        ("or", Function::Or),
        ("not", Function::Not),
        ("eq", Function::Eq),
        ("ne", Function::Ne),
        ("lt", Function::Lt),
        ("le", Function::Le),
        ("gt", Function::Gt),
        ("ge", Function::Ge),
        ("len", Function::Len),
        ("index", Function::Index),
        ("slice", Function::Slice),
        ("json", Function::Json),
        ("print", Function::Print),
        ("println", Function::Println),
        ("printf", Function::Printf),
        ("join", Function::Join),
        ("split", Function::Split),
        ("lower", Function::Lower),
        ("upper", Function::Upper),
        ("title", Function::Title),
        ("pad", Function::Pad),
        ("truncate", Function::Truncate),
    ];

    pub(super) fn named(name: &str) -> Option<Function> {
        Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, function)| *function)
    }

    pub(super) fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, function)| *function == self).map_or("", |(name, _)| name)
    }

    /// How many arguments it takes, at least and at most.
    pub(super) fn arity(self) -> (usize, usize) {
        match self {
            Function::Not
            | Function::Len
            | Function::Json
            | Function::Lower
            | Function::Upper
            | Function::Title => (1, 1),
            Function::Ne | Function::Lt | Function::Le | Function::Gt | Function::Ge => (2, 2),
            Function::Join | Function::Split | Function::Truncate => (2, 2),
            Function::Pad => (3, 3),
            Function::And
            | Function::Or
            | Function::Index
            | Function::Slice
            | Function::Eq
            | Function::Printf => (1, usize::MAX),
            Function::Print | Function::Println => (0, usize::MAX),
        }
    }
}
