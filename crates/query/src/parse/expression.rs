//! Reads expressions.
//!
//! 1. Operators of one precedence join from the left.

use super::{DEPTH_MAX, Dialect, Parsed, Parser, is_match};
use crate::{
    ast::{Expr, FieldType, Ref, Sort},
    moment,
    pattern::Pattern,
    scan::{Token, is_word},
    token::{Kind, Op},
};

/// An expression, and how deep its tree is at most.
type Deep = (Expr, usize);

impl Parser<'_> {
    pub(super) fn expr(&mut self) -> Parsed<Expr> {
        Ok(self.chain(0)?.0)
    }

    /// Operands joined by operators that bind at least so much.
    pub(super) fn chain(&mut self, least: u8) -> Parsed<Deep> {
        let (mut root, mut deep) = self.unary(None)?;
        loop {
            let token = self.next();
            let Kind::Op(op) = token.kind else {
                self.unscan(&token);
                return Ok((root, deep));
            };
            if op.precedence() < least {
                self.unscan(&token);
                return Ok((root, deep));
            }
            let (right, right_deep) = if is_match(op) {
                if let Some(pattern) = self.pattern()? {
                    (Expr::Pattern(pattern), 1)
                } else {
                    let token = self.next();
                    return Err(self.expected(&token, &["regex"]));
                }
            } else {
                self.unary(Some(op))?
            };
            deep = deep.max(right_deep) + 1;
            if DEPTH_MAX < deep {
                return Err(self.error("too many operators in one expression", token.start));
            }
            root = joined(root, op, right);
        }
    }

    /// An operand; `behind` is the operator that it stands behind.
    fn unary(&mut self, behind: Option<Op>) -> Parsed<Deep> {
        if self.dialect == Dialect::Relaxed
            && let Some(op) = behind.filter(|op| op.precedence() == 3)
            && let Some(word) = self.bare_word(op)
        {
            return Ok((word, 1));
        }
        let token = self.next();
        if token.kind == Kind::LeftParen {
            return self.in_parens();
        }
        let literal = match token.kind {
            Kind::Ident | Kind::Word(_) if self.as_name(&token).is_some() => {
                return self.named(&token);
            }
            Kind::Word("DISTINCT") => return self.distinct(),
            Kind::Text => Expr::Text(token.text),
            Kind::Number => match token.text.parse() {
                Ok(number) => Expr::Number(number),
                Err(_) => return Err(self.error("unable to parse number", token.start)),
            },
            Kind::Integer => self.integer(&token)?,
            Kind::True | Kind::False => Expr::Boolean(token.kind == Kind::True),
            Kind::Duration => {
                Expr::Duration(moment::duration(&token.text).map_err(|told| self.plain(told))?)
            }
            Kind::Op(Op::Multiply) => Expr::Wildcard(self.wildcard()?),
            Kind::Regex => match Pattern::new(&token.text) {
                Ok(pattern) => Expr::Pattern(pattern),
                Err(message) => return Err(self.error(message, token.start)),
            },
            Kind::Param => {
                let name = token.text.trim_start_matches('$');
                return Err(self.plain(match name {
                    "" => "empty bound parameter".to_owned(),
                    name => format!("missing parameter: {name}"),
                }));
            }
            Kind::Op(op @ (Op::Add | Op::Subtract)) => return self.signed(op),
            _ => {
                return Err(self.expected(&token, &["identifier", "string", "number", "bool"]));
            }
        };
        Ok((literal, 1))
    }

    fn in_parens(&mut self) -> Parsed<Deep> {
        self.down()?;
        let (inner, deep) = self.chain(0)?;
        self.up();
        let token = self.next();
        if token.kind != Kind::RightParen {
            return Err(self.expected(&token, &[")"]));
        }
        Ok((Expr::Paren(Box::new(inner)), deep + 1))
    }

    /// A function, a field, a tag, or the stretch of time of the relaxed dialect.
    fn named(&mut self, token: &Token) -> Parsed<Deep> {
        let behind = self.scan();
        if behind.kind == Kind::LeftParen {
            let name = self.as_name(token).unwrap_or_default();
            return self.call(&name);
        }
        self.unscan(&behind);
        if self.dialect == Dialect::Relaxed && token.text.eq_ignore_ascii_case("time") {
            let next = self.next();
            if next.kind == Kind::Ident && next.text.eq_ignore_ascii_case("range") {
                return Ok((Expr::Paren(Box::new(self.range()?)), 4));
            }
        }
        self.unscan(token);
        Ok((Expr::Ref(self.reference()?), 1))
    }

    /// `a TO b`, as two comparisons.
    pub(super) fn range(&mut self) -> Parsed<Expr> {
        let time = || Expr::Ref(Ref { name: "time".to_owned(), sort: Sort::Any });
        let (from, _) = self.chain(4)?;
        self.need_words(&["TO"])?;
        let (to, _) = self.chain(4)?;
        let from = Expr::binary(Op::GreaterEqual, time(), from);
        Ok(Expr::binary(Op::And, from, Expr::binary(Op::LessEqual, time(), to)))
    }

    /// A word of the relaxed dialect that stands for itself.
    fn bare_word(&mut self, op: Op) -> Option<Expr> {
        let start = self.scanner.at();
        let rest = self.scanner.rest();
        let blank = rest.len() - rest.trim_start_matches([' ', '\t', '\n']).len();
        let rest = &rest[blank..];
        let is_part = |char: char| is_word(char) || "-.:/@".contains(char) || !char.is_ascii();
        let word = &rest[..rest.find(|char| !is_part(char)).unwrap_or(rest.len())];
        let first = word.chars().next()?;
        let plain = word.chars().all(is_word) && !first.is_ascii_digit();
        if plain {
            let behind = &rest[word.len()..];
            let is_known = matches!(&*word.to_ascii_lowercase(), "true" | "false" | "time");
            if behind.starts_with(['(', '"']) || is_known {
                return None;
            }
            self.scanner.back_to(start + blank + word.len());
            return Some(Expr::Word(word.to_owned()));
        }
        let text = matches!(op, Op::Equal | Op::NotEqual)
            && first != '/'
            && !"-.".contains(first)
            && word.parse::<f64>().is_err()
            && moment::duration(word).is_err();
        if !text {
            return None;
        }
        self.scanner.back_to(start + blank + word.len());
        Some(Expr::Text(word.to_owned()))
    }

    fn distinct(&mut self) -> Parsed<Deep> {
        let token = self.scan();
        match token.kind {
            Kind::LeftParen => self.call("distinct"),
            Kind::Whitespace => {
                let token = self.next();
                if token.kind != Kind::Ident {
                    return Err(self.expected(&token, &["identifier"]));
                }
                Ok((Expr::Distinct(token.text), 1))
            }
            _ => Err(self.expected(&token, &["(", "identifier"])),
        }
    }

    fn integer(&self, token: &Token) -> Parsed<Expr> {
        if let Ok(number) = token.text.parse() {
            return Ok(Expr::Integer(number));
        }
        match token.text.parse() {
            Ok(number) => Ok(Expr::Unsigned(number)),
            Err(_) => Err(self.error("unable to parse integer", token.start)),
        }
    }

    fn wildcard(&mut self) -> Parsed<Sort> {
        let token = self.scan();
        if token.kind != Kind::DoubleColon {
            self.unscan(&token);
            return Ok(Sort::Any);
        }
        let token = self.scan();
        match token.kind {
            Kind::Word("FIELD") => Ok(Sort::Field),
            Kind::Word("TAG") => Ok(Sort::Tag),
            _ => Err(self.expected(&token, &["field", "tag"])),
        }
    }

    /// An operand with a sign before it.
    fn signed(&mut self, sign: Op) -> Parsed<Deep> {
        let token = self.next();
        let fits = matches!(
            token.kind,
            Kind::Number | Kind::Integer | Kind::Duration | Kind::LeftParen | Kind::Ident
        );
        if !fits {
            let expected = &["identifier", "number", "duration", "("];
            return Err(self.expected(&token, expected));
        }
        self.unscan(&token);
        self.down()?;
        let (operand, deep) = self.unary(None)?;
        self.up();
        let negative = sign == Op::Subtract;
        let signed = match operand {
            Expr::Number(number) if negative => Expr::Number(-number),
            Expr::Integer(number) if negative => Expr::Integer(-number),
            Expr::Duration(length) if negative => Expr::Duration(-length),
            Expr::Unsigned(number) if negative => {
                if number != 1 << 63 {
                    let told = format!("constant -{number} underflows int64");
                    return Err(self.plain(told));
                }
                Expr::Integer(i64::MIN)
            }
            literal if literal.is_literal() => literal,
            // In parentheses, so that it is one operand also where it is written again.
            other => {
                let factor = Expr::Integer(if negative { -1 } else { 1 });
                Expr::Paren(Box::new(Expr::binary(Op::Multiply, factor, other)))
            }
        };
        Ok((signed, deep + 2))
    }

    /// The arguments of a function; the parenthesis is taken already.
    fn call(&mut self, name: &str) -> Parsed<Deep> {
        let name = name.to_lowercase();
        let (mut args, mut deep) = (Vec::new(), 0);
        self.down()?;
        loop {
            if let Some(pattern) = self.pattern()? {
                args.push(Expr::Pattern(pattern));
            } else {
                if args.is_empty() {
                    let token = self.scan();
                    if token.kind == Kind::RightParen {
                        break;
                    }
                    self.unscan(&token);
                }
                let (arg, arg_deep) = self.chain(0)?;
                deep = deep.max(arg_deep);
                args.push(arg);
            }
            if !self.took(Kind::Comma) {
                let token = self.scan();
                if token.kind != Kind::RightParen {
                    return Err(self.expected(&token, &[")"]));
                }
                break;
            }
        }
        self.up();
        Ok((Expr::Call { name, args }, deep + 1))
    }

    /// A name, and what it is said to be.
    fn reference(&mut self) -> Parsed<Ref> {
        let name = self.segments()?.join(".");
        let token = self.scan();
        if token.kind != Kind::DoubleColon {
            self.unscan(&token);
            return Ok(Ref { name, sort: Sort::Any });
        }
        let token = self.scan();
        let sort = match token.kind {
            Kind::Word("FIELD") => Sort::Field,
            Kind::Word("TAG") => Sort::Tag,
            Kind::Ident => Sort::Typed(match &*token.text.to_lowercase() {
                "float" => FieldType::Float,
                "integer" => FieldType::Integer,
                "unsigned" => FieldType::Unsigned,
                "string" => FieldType::Text,
                "boolean" => FieldType::Boolean,
                _ => {
                    let expected =
                        &["float", "integer", "unsigned", "string", "boolean", "field", "tag"];
                    return Err(self.expected(&token, expected));
                }
            }),
            _ => {
                let expected = &["float", "integer", "string", "boolean", "field", "tag"];
                return Err(self.expected(&token, expected));
            }
        };
        Ok(Ref { name, sort })
    }
}

/// The tree with one operator and operand more: it goes down on the right as far as others bind less.
fn joined(root: Expr, op: Op, operand: Expr) -> Expr {
    match root {
        Expr::Binary { op: upper, left, right } if upper.precedence() < op.precedence() => {
            Expr::Binary { op: upper, left, right: Box::new(joined(*right, op, operand)) }
        }
        other => Expr::binary(op, other, operand),
    }
}
