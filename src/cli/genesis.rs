//! `genesis show`, `genesis set`, `genesis lint`.

use std::{fmt, path::PathBuf};

use base64::{Engine, engine::general_purpose::STANDARD};
use clap::{Args, Subcommand};
use kwil_formats::formats::{
    Family,
    genesis::{
        Genesis,
        edit::{Change, Edit},
        lint::{self, Build},
    },
};
use serde::Serialize;

use super::{
    Session,
    words::{self, finding::FindingResult},
};
use crate::{
    app::genesis::{self as use_case, Edited, LintRequest},
    base::{Context, Error, Level, Result, text},
};

/// Commands about a genesis file.
#[derive(Debug, Subcommand)]
pub(crate) enum GenesisCommand {
    /// Say in words what a genesis says: network, parameters, validators, leader, owner, hash
    Show(ShowArgs),
    /// Change a genesis, as far as its family can express it and kwild accepts it
    Set(SetArgs),
    /// Find everything in a genesis that kwild refuses, or that surprises; alone, or with its snapshot
    Lint(LintArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// The genesis, or the directory it lies in
    #[arg(value_name = "GENESIS")]
    genesis: PathBuf,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  regenesis genesis set genesis.json chain_id=net-2 initial_height=195391\n  \
    regenesis genesis set genesis.json disabled_gas_costs=false join_expiry=72h -o new.json\n  \
    regenesis genesis set genesis.json --remove-validator KEY --set-power KEY:5 leader=KEY#secp256k1\n\n\
    Keys are those of `genesis show`; alloc= and activations= empty these, alloc.ACCOUNT=AMOUNT and\n\
    activations.FORK=HEIGHT set an entry. genesis_time=now takes the clock.")]
pub(crate) struct SetArgs {
    /// The genesis, or the directory it lies in
    #[arg(value_name = "GENESIS")]
    genesis: PathBuf,
    /// What to change
    #[arg(value_name = "KEY=VALUE")]
    edits: Vec<Edit>,
    /// Write here instead; the file must not exist
    #[arg(short, long = "out", value_name = "FILE")]
    out: Option<PathBuf>,
    /// Add a validator: HEX#TYPE:POWER, in v0.9 [NAME:]HEX:POWER (repeatable)
    #[arg(long, value_name = "KEY:POWER")]
    add_validator: Vec<String>,
    /// Remove a validator, by its key or v0.9 name (repeatable)
    #[arg(long, value_name = "KEY")]
    remove_validator: Vec<String>,
    /// Change a validator's power (repeatable)
    #[arg(long, value_name = "KEY:POWER")]
    set_power: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct LintArgs {
    /// The genesis, or the directory it lies in
    #[arg(value_name = "GENESIS", required_unless_present = "explain")]
    genesis: Option<PathBuf>,
    /// The snapshot that belongs to it
    #[arg(short, long, value_name = "FILE")]
    snapshot: Option<PathBuf>,
    /// The family that it must be of: v0.9 or v0.10
    #[arg(long, value_name = "FAMILY")]
    family: Option<Family>,
    /// The kwild that will read it: 0.9.4, 0.10.1, or truf for TRUF's fork
    #[arg(long, value_name = "VERSION")]
    kwild_version: Option<Build>,
    /// Say what a finding's code means, what kwild does, and the way out
    #[arg(long, value_name = "CODE", conflicts_with_all = ["genesis", "snapshot", "family", "kwild_version"])]
    explain: Option<String>,
}

impl GenesisCommand {
    pub(crate) async fn run(self, session: &Session) -> Result<()> {
        match self {
            GenesisCommand::Show(args) => {
                let path = use_case::file_of(&args.genesis);
                session.output.result(&ShowResult::new(&use_case::load(&path)?)?)
            }
            GenesisCommand::Set(args) => args.run(session),
            GenesisCommand::Lint(args) => args.run(session).await,
        }
    }
}

#[derive(Debug, Serialize)]
struct Hash {
    hex: String,
    base64: String,
}

#[derive(Debug, Serialize)]
struct ValidatorShown {
    key: String,
    #[serde(rename = "type")]
    kind: String,
    name: Option<String>,
    power: i64,
    /// The validator's part of the power of all validators, in percent.
    share: f64,
    leader: bool,
}

#[derive(Debug, Serialize)]
struct Parameter {
    key: String,
    value: String,
}

#[derive(Debug, Serialize)]
struct AllocShown {
    account: String,
    amount: Option<String>,
}

#[derive(Debug, Serialize)]
struct ShowResult {
    family: Family,
    chain_id: String,
    genesis_time: Option<String>,
    initial_height: i64,
    first_block: i64,
    state_hash: Option<Hash>,
    leader: Option<String>,
    db_owner: Option<String>,
    total_power: i128,
    validators: Vec<ValidatorShown>,
    alloc: Vec<AllocShown>,
    activations: Vec<Parameter>,
    parameters: Vec<Parameter>,
}

impl ShowResult {
    fn new(genesis: &Genesis) -> Result<Self> {
        let raw = |pubkey: &[u8], kind: &str, name: Option<&str>, power: i64| ValidatorShown {
            key: hex::encode(pubkey),
            kind: text::escape(kind),
            name: name.map(text::escape),
            power,
            share: 0.0,
            leader: false,
        };
        let mut validators: Vec<ValidatorShown> = match genesis {
            Genesis::V09(g) => {
                g.validators.iter().map(|v| raw(&v.pub_key, "ed25519", Some(&v.name), v.power)).collect()
            }
            Genesis::V010(g) => g.validators.iter().flatten().map(|v| raw(&v.pubkey, &v.kind, None, v.power)).collect(),
        };
        let total_power: i128 = validators.iter().map(|v| i128::from(v.power.max(0))).sum();
        let leader = genesis.leader();
        for v in &mut validators {
            v.share = v.power.max(0) as f64 * 100.0 / total_power.max(1) as f64;
            v.leader = leader.is_some_and(|leader| leader.to_hex() == v.key && leader.key_type().to_string() == v.kind);
        }
        let hash = match genesis {
            Genesis::V09(g) => g.app_hash.clone().unwrap_or_default(),
            Genesis::V010(g) => g.state_hash.clone(),
        };
        let first_block = match genesis {
            Genesis::V09(g) => g.initial_height.max(1),
            Genesis::V010(g) => g.initial_height.saturating_add(1),
        };
        let alloc = match genesis {
            Genesis::V09(g) => g
                .alloc
                .iter()
                .map(|(account, amount)| AllocShown { account: text::escape(account), amount: amount.clone() })
                .collect(),
            Genesis::V010(g) => g
                .alloc
                .iter()
                .map(|a| AllocShown {
                    account: format!("{}#{}", a.id_text(), text::escape(&a.key_type)),
                    amount: a.amount.clone(),
                })
                .collect(),
        };
        let activations = match genesis {
            Genesis::V09(g) => g
                .activations
                .iter()
                .flatten()
                .map(|(fork, height)| Parameter { key: text::escape(fork), value: height.to_string() })
                .collect(),
            Genesis::V010(_) => Vec::new(),
        };
        let parameters = genesis.parameters().into_iter();
        Ok(ShowResult {
            family: genesis.family(),
            chain_id: text::escape(genesis.chain_id()),
            genesis_time: match genesis {
                Genesis::V09(g) => Some(text::escape(&g.genesis_time)),
                Genesis::V010(_) => None,
            },
            initial_height: genesis.initial_height(),
            first_block,
            state_hash: (!hash.is_empty()).then(|| Hash { hex: hex::encode(&hash), base64: STANDARD.encode(&hash) }),
            leader: leader.map(ToString::to_string),
            db_owner: match genesis {
                Genesis::V09(_) => None,
                Genesis::V010(g) => Some(text::escape(&g.db_owner)),
            },
            total_power,
            validators,
            alloc,
            activations,
            parameters: parameters.map(|(key, value)| Parameter { key, value: text::escape(&value) }).collect(),
        })
    }
}

impl fmt::Display for ShowResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "network         {} ({})", self.chain_id, self.family)?;
        if let Some(time) = &self.genesis_time {
            writeln!(f, "begins          {time}")?;
        }
        writeln!(f, "initial height  {} (the first block is {})", self.initial_height, self.first_block)?;
        match &self.state_hash {
            Some(hash) => {
                writeln!(f, "state hash      {} (hex)", hash.hex)?;
                writeln!(f, "                {} (base64)", hash.base64)?;
            }
            None => writeln!(f, "state hash      none: the network begins without a snapshot")?,
        }
        if let Some(leader) = &self.leader {
            writeln!(f, "leader          {leader}")?;
        }
        if let Some(owner) = &self.db_owner {
            writeln!(f, "owner           {}", if owner.is_empty() { "NOBODY" } else { owner })?;
        }
        let count = text::count(self.validators.len() as u64, "validator");
        writeln!(f, "\n{count} with power {}", self.total_power)?;
        for v in &self.validators {
            let name = v.name.as_deref().filter(|name| !name.is_empty()).map(|name| format!("  {name}"));
            let leader = if v.leader { "  leader" } else { "" };
            let (key, kind, power, share) = (&v.key, &v.kind, v.power, v.share);
            writeln!(f, "  {key}#{kind}  power {power} ({share:.1}%){}{leader}", name.unwrap_or_default())?;
        }
        if !self.alloc.is_empty() {
            writeln!(f, "\nbalances added at the start")?;
            for a in &self.alloc {
                writeln!(f, "  {}  {}", a.account, a.amount.as_deref().unwrap_or("(none)"))?;
            }
        }
        for fork in &self.activations {
            writeln!(f, "\nfork {} at height {}", fork.key, fork.value)?;
        }
        writeln!(f, "\nparameters")?;
        let width = self.parameters.iter().map(|p| p.key.len()).max().unwrap_or(0);
        for p in &self.parameters {
            writeln!(f, "  {:width$}  {}", p.key, p.value)?;
        }
        Ok(())
    }
}

impl SetArgs {
    fn run(self, session: &Session) -> Result<()> {
        let mut edits = self.edits;
        edits.extend(self.add_validator.into_iter().map(Edit::AddValidator));
        edits.extend(self.remove_validator.into_iter().map(Edit::RemoveValidator));
        edits.extend(self.set_power.into_iter().map(Edit::SetPower));
        if edits.is_empty() {
            return Err(Error::usage("nothing to change is named")
                .hint("give KEY=VALUE, --add-validator, --remove-validator or --set-power (genesis set --help)"));
        }
        let edited = use_case::set(&self.genesis, &edits, self.out.as_deref(), &session.progress)?;
        session.output.result(&SetResult::new(edited))
    }
}

#[derive(Debug, Serialize)]
struct SetResult {
    genesis: PathBuf,
    changes: Vec<Change>,
    findings: Vec<FindingResult>,
}

impl SetResult {
    fn new(edited: Edited) -> Self {
        SetResult { genesis: edited.genesis, changes: edited.changes, findings: FindingResult::all(&edited.findings) }
    }
}

impl fmt::Display for SetResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.changes.is_empty() {
            writeln!(f, "nothing changed: {} says so already", self.genesis.display())?;
        }
        for change in &self.changes {
            writeln!(f, "{change}")?;
        }
        if !self.changes.is_empty() {
            writeln!(f, "written: {}; every node must have this same file", self.genesis.display())?;
        }
        findings(f, &self.findings)
    }
}

fn findings(f: &mut fmt::Formatter<'_>, findings: &[FindingResult]) -> fmt::Result {
    for finding in findings {
        let path = finding.path.as_deref().unwrap_or("genesis");
        writeln!(f, "{} [{}] {path}: {}", finding.level, finding.code, finding.text)?;
        if let Some(fix) = &finding.fix {
            writeln!(f, "  fix: {fix}")?;
        }
    }
    Ok(())
}

impl LintArgs {
    async fn run(self, session: &Session) -> Result<()> {
        if let Some(code) = &self.explain {
            return explain(code, session);
        }
        let request = LintRequest {
            genesis: self.genesis.unwrap_or_default(),
            snapshot: self.snapshot,
            family: self.family,
            build: self.kwild_version,
        };
        let (progress, cancel) = (session.progress.clone(), session.cancel.clone());
        let linted = tokio::task::spawn_blocking(move || use_case::lint(&request, &progress, &cancel))
            .await
            .or_failed(|| "genesis lint ended")??;
        let result = LintResult {
            ok: lint::worst(&linted.findings) != Some(Level::Error),
            family: linted.family,
            findings: FindingResult::all(&linted.findings),
        };
        let errors = result.findings.iter().filter(|finding| finding.level == Level::Error).count();
        if errors == 0 {
            return session.output.result(&result);
        }
        let error = Error::verify(format!("the genesis has {}", text::count(errors as u64, "error")))
            .hint("`regenesis genesis lint --explain CODE` says more about each");
        session.output.result_with_error(&result, error)
    }
}

#[derive(Debug, Serialize)]
struct LintResult {
    ok: bool,
    family: Option<Family>,
    findings: Vec<FindingResult>,
}

impl fmt::Display for LintResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        findings(f, &self.findings)?;
        match (self.family, self.findings.is_empty()) {
            (Some(family), true) => writeln!(f, "ok: a genesis of {family} with nothing to remark"),
            (Some(family), false) if self.ok => writeln!(f, "ok: a genesis of {family} that kwild starts on"),
            _ => Ok(()),
        }
    }
}

#[derive(Debug, Serialize)]
struct Explained {
    code: &'static str,
    what: &'static str,
    kwild: &'static str,
    fix: &'static str,
    traps: &'static [u8],
}

impl fmt::Display for Explained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}\n\nWhat kwild does: {}\n\nWhat to do: {}", self.code, self.what, self.kwild, self.fix)?;
        if !self.traps.is_empty() {
            let numbers: Vec<String> = self.traps.iter().map(ToString::to_string).collect();
            writeln!(f, "\nIn the table of traps (tests/traps.md): {}", numbers.join(", "))?;
        }
        Ok(())
    }
}

fn explain(name: &str, session: &Session) -> Result<()> {
    let Some(code) = lint::find(name) else {
        let names: Vec<&str> = lint::ALL.iter().map(|code| code.name).collect();
        let hint = match text::nearest(name, names.iter().copied()) {
            Some(near) => format!("did you mean {near}?"),
            None => format!("the codes are {}", names.join(", ")),
        };
        return Err(Error::usage(format!("no finding has the code {:?}", text::escape(name))).hint(hint));
    };
    session.output.result(&Explained {
        code: code.name,
        what: code.what,
        kwild: code.kwild,
        fix: words::mend(code.name),
        traps: code.traps,
    })
}
