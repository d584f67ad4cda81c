//! The words for every next step, with the commands and flags that do it.

use std::borrow::Cow;

use kwil_formats::base::Next;

use super::mends;
use crate::base::text;

/// Puts a next step into words: a clause without a full stop.
pub(crate) fn words_of(step: &Next) -> Cow<'static, str> {
    match step {
        // Genesis and keys.
        Next::FlagsOfFamily => "each family has flags of its own; --family and the genesis say which one this is".into(),
        Next::ChooseChainId => "choose another with --chain-id".into(),
        Next::LeaveHeightOut => "leave --keep-height out".into(),
        Next::HashSnapshot => "`regenesis setup genesis-hash -s SNAPSHOT -g GENESIS` computes and writes it".into(),
        Next::EditValidators => "use --add-validator, --remove-validator and --set-power".into(),
        Next::RemoveValidator => "to take a validator out, use --remove-validator KEY".into(),
        Next::ChooseLeader => "choose a leader among the validators (leader=KEY#TYPE), or add it (--add-validator KEY#TYPE:POWER)".into(),
        Next::Mend(code) => mends::mend(code).into(),
        Next::CopyFromKeyInfo => "copy it from `regenesis key info`".into(),
        Next::PrintPeerId => "`regenesis key peer --dir DIR` prints the one of a directory, and --root-dir that of a root that is still to be made".into(),
        Next::CopyPublicKey => "copy it from `regenesis key info` or from the genesis".into(),
        Next::NodeKeyFile => "give the node's own key file (v0.9: private_key, v0.10: nodekey.json), or make one with `regenesis key gen`".into(),
        Next::PrivateKeyText => "give HEX or HEX#TYPE, or better a file with --key-file".into(),
        Next::CompareKeyFile => "compare it with a nodekey.json that `regenesis key gen -o FILE` writes".into(),
        Next::MakeEd25519Key => "use an ed25519 key: `regenesis key gen ed25519 -o FILE`".into(),
        // A node's readiness.
        Next::DatabaseLikeOld => "make the database anew as the old network's is, as `--create-db` of join or the printed createdb does".into(),
        Next::CompareNodes => "where that cannot be, compare the nodes after the first blocks (`regenesis snapshot digest --compare OTHER.json`)".into(),
        Next::MakeRoot => "make a root with `regenesis setup init -r DIR -g GENESIS -s SNAPSHOT`".into(),
        Next::MakeRootOrConfig => "make the root with `regenesis setup init`, or write one".into(),
        Next::GenesisOfSnapshot => "take the genesis.json that was made with this snapshot (`regenesis snapshot verify SNAPSHOT --genesis GENESIS`)".into(),
        Next::VerifySnapshot { path } => format!("`regenesis snapshot verify {path}` computes the hash").into(),
        Next::WaitForPeers { key, example } => format!("run the same `regenesis join` again with --wait quorum: it writes there where the others are, as they join; or set {key} to where another validator is, {example}").into(),
        Next::SayTextSize => "say how large the snapshot's text is: --size 10G, or name a root that holds it: --root-dir".into(),
        // Manifest and ticket.
        Next::WholeTicket => "give the whole line that `regenesis publish` or `seed` printed".into(),
        Next::AllowRollback { sequence } => format!("use the newest ticket of the lead; where the lead means the older one, fetch and join take it with --allow-rollback {sequence}").into(),
        Next::CurrentTicket { sequence } => format!("ask the lead for the current ticket and use it; where the lead means the older manifest, fetch, join and seed take it with --allow-rollback {sequence}").into(),
        Next::StopDifferingNode => "that validator stops its node and makes it anew; nobody opens the network to users before every node is confirmed (`regenesis setup confirm`)".into(),
        Next::SignerRevokes => "give the lead's key or a co-signer's with --key; `regenesis manifest show` names them".into(),
        Next::PinLead => "compare the key with the lead over another channel before you pin it with --trust".into(),
        // The old network's database.
        Next::NameDatabase => "name the old node's database with --dbname; `psql --list` shows those that exist".into(),
        Next::NameWholeDatabase => "name the old node's database with --dbname; one that a restore left half-filled cannot be used".into(),
        Next::NameDatabaseOrRoot => "name the old node's database with --dbname, or its root with --from-root".into(),
        Next::NameDatabaseThatRan => "no block was ever committed here; name the database of a node that ran with --dbname".into(),
        Next::IsItTheDatabase => "Kwil networks run on UTF8 databases only; is --dbname the right one?".into(),
        Next::NameNewDatabase => "--dbname, --host, --port and --user, or --root-dir, must lead to the NEW node's database".into(),
        Next::NameOldDatabase => "name the OLD node's database: --dbname, --host, --port and --user, or --from-root (join: --old-dbname, --old-host and so on)".into(),
        Next::AskForDigest => "ask the lead to publish again without --no-digest".into(),
        Next::OldKey => "give the key that the validator had in the old network: --key-file (join: --old-key-file)".into(),
        Next::AcceptGenesisChange => "ask the lead whether all of this is meant; --accept-genesis-change takes it".into(),
        Next::SettleDissent => "do not start the new network: compare the named tables with the others (`regenesis snapshot digest --compare OTHER.json`); whoever stopped at another block or has a damaged database says so, and the lead publishes again".into(),
        Next::OwnDissent => "find out why: the old node may have stopped at another block, or its database is damaged. --despite-dissent takes the state of the others".into(),
        Next::NameOldState => "name it with --old-dbname, --old-host and so on, or --from-root; --no-attest says that this node attests nothing".into(),
        Next::AttestNothing => "--no-attest takes the lead's word".into(),
        Next::WaitForAttestations => "those who are missing run `regenesis join` beside their old databases, or `regenesis snapshot attest`; the same command goes on waiting. The lead may sign with another rule: --attestations".into(),
        Next::NameCosigner => "the lead names it: `regenesis manifest sign --cosigner HEX#TYPE --threshold N`".into(),
        Next::Cosign => "the lead serves it as a proposal, `regenesis publish` or `regenesis seed --dir DIR`, and each co-signer runs `regenesis join` with its ticket, or `regenesis manifest cosign TICKET --key FILE`; or the file goes around: `regenesis manifest cosign MANIFEST --key FILE`".into(),
        Next::CosignInSwarm => "each co-signer that is missing runs `regenesis join --ticket-file FILE --root-dir DIR --key-file FILE`, which checks everything and signs, or on any machine `regenesis manifest cosign --ticket-file FILE --key FILE`".into(),
        Next::SettleRefusal => "find out, by another way than this swarm, what that co-signer has found; if the manifest is wrong, the lead signs a right one; if its machine was, it runs the same `regenesis join` again, and its signature takes the refusal back".into(),
        Next::WholeManifest => "take manifest.regenesis as the lead's `regenesis publish` wrote it".into(),
        Next::CheckLogin => "check --user, and the password in PGPASSWORD, ~/.pgpass or --password-file".into(),
        Next::CheckPassword => "check the password in PGPASSWORD, ~/.pgpass or --password-file".into(),
        Next::GivePassword => "put it into PGPASSWORD, ~/.pgpass or --password-file".into(),
        Next::UseOwner => "use the role that owns the Kwil database, or a superuser (--user)".into(),
        Next::RequireTls => "the server may let this role in over TLS only: give --sslmode require, or verify-full (or check --user)".into(),
        Next::AllowPlain => "the server may let this role in without TLS only: give --sslmode disable (or check --user)".into(),
        Next::ChooseTls => "--sslmode require insists on TLS, disable says that it is meant".into(),
        Next::CheckTls => "check --sslmode; verify-ca and verify-full need the root certificate that signed the server's in PGSSLROOTCERT".into(),
        Next::NameInCertificate => "--host must be a name that the certificate has (subjectAltName, or else its common name); --sslmode verify-ca checks no name".into(),
        Next::IsServerRunning => "is the server running, and are --host and --port (or --from-root) those of the node's database?".into(),
        Next::ServerBehindPooler { place: Some((host, port)) } => {
            format!("name the server behind it: it says of itself --host {host} --port {port}").into()
        }
        Next::ServerBehindPooler { place: None } => {
            "name the server's own host and port with --host and --port: they stand in the pooler's configuration \
             (pgbouncer.ini, [databases])"
                .into()
        }
        Next::CorrectService => "correct it, or unset PGSERVICE and give --host, --port, --user and --dbname".into(),
        Next::DefineService => "define it in ~/.pg_service.conf or the file of PGSERVICEFILE, or unset PGSERVICE and give --host, --port, --user and --dbname".into(),
        Next::OneHostAddress => "give one address in numbers, or unset PGHOSTADDR and name the host with --host".into(),
        Next::OneHost => "a snapshot is of one server: name it with --host".into(),
        Next::LeaveFamilyOut => "leave --family out, or name the right database".into(),
        Next::NamePgDump => "give the path of a working pg_dump with --pg-dump".into(),
        Next::InstallPgDump { major } => format!("install postgresql-client-{major} or newer, or give its path with --pg-dump").into(),
        Next::InstallNewerPgDump { major } => format!("install postgresql-client-{major}, or give the path of a newer one with --pg-dump").into(),
        Next::CheckPgDump => "check that pg_dump is one of PostgreSQL's own, 15 or newer (--pg-dump names another), then try again".into(),
        Next::PgDumpWithFilterFile => "install a pg_dump of version 17 or newer, which takes them from a file, and name it with --pg-dump".into(),
        Next::HaltNetwork => "halt the network, stop kwild, and run the command again (--allow-live goes on all the same)".into(),
        Next::ReadPrimary => "halt the network, stop kwild, and read the primary's database, or promote this server first (--allow-live goes on all the same)".into(),
        Next::StopCleanly => "start kwild once more, stop it cleanly, and run the command again (--allow-live goes on all the same)".into(),
        Next::ScratchServer => "--host, --port and --user name the scratch server; leave them out, and a throw-away server is started".into(),
        // Snapshots.
        Next::ChooseSnapdir => "choose another --snapdir".into(),
        Next::ChooseSnapdirOrReplace => "choose another --snapdir, or replace it with --force".into(),
        Next::WaitOrChooseSnapdir => "wait for it, or choose another --snapdir".into(),
        Next::RoomOrChooseSnapdir => "make room there or choose another --snapdir, and run the command again; nothing half-made was left".into(),
        Next::GiveChainId => "give the new one with --chain-id".into(),
        Next::CarryChainIdOn => "to carry it on, give --from-root or --genesis, or name it with --chain-id".into(),
        Next::LeaveGenesisTimeOut => "leave --genesis-time out".into(),
        Next::DigestFile => "give a file made by `regenesis snapshot digest --output json`".into(),
        Next::ChooseOutput => "choose another directory with --out".into(),
        Next::ChooseOutputOrReplace => "choose another directory with --out, or replace it with --force".into(),
        Next::MakeSnapshotAnew => "make a snapshot anew with `regenesis snapshot create`".into(),
        Next::WithoutDigest => "`--no-digest` makes the snapshot without the digest".into(),
        Next::MoreTextBytes => "a real one this large needs a higher --max-bytes".into(),
        // The swarm.
        Next::ChooseListen => "stop that one, which may be an earlier regenesis that still serves, or choose another port with --listen".into(),
        Next::OpenPortOrChoose { port } => format!("open {port} in the firewall, or choose a port with --listen").into(),
        Next::GiveListen => "give an address of this machine with --listen /ip4/ADDRESS/tcp/PORT".into(),
        Next::AddAddress => "add one with --connect".into(),
        Next::ConnectToRelay => "a lead that this machine cannot reach serves with `--relay-via` and that address, and its ticket then names this relay".into(),
        Next::OtherIdentityThere => "on the other one, remove .regenesis/identity beside its files, or give it another --identity".into(),
        Next::OtherIdentityHere => "stop that one, or stop this one, remove .regenesis/identity beside its files (or give another --identity), and start it again".into(),
        Next::ShowWhoseNode => "if this node is a validator's: `regenesis key bind --key-file KEY --peer ID -o FILE` where the validator's key is, and --binding FILE here; `regenesis key peer` prints the ID. Else ask who serves to let this peer in (--allow)".into(),
        Next::BindThisNode { peer } => format!("where the validator's key is: `regenesis key bind --key-file KEY --peer {peer} -o FILE`").into(),
        Next::ChooseStatusAddress => "give another address of this machine with --status-addr, such as 127.0.0.1:9184".into(),
        Next::GiveTicket => "give the ticket to the validators; this node's port must be reachable from their machines".into(),
        Next::CheckReach => "does the lead serve, and can its port be reached from here? --connect names another address of a member".into(),
        Next::AskWhetherLeadServes => "ask the lead whether it still serves, and whether its files are sound".into(),
        Next::JoinToo => "leave this running, and run `regenesis join` for this validator's own node in a second terminal, as the others do: it needs a new root, too".into(),
        Next::KeepServing => "leave this running: the others still need it".into(),
        Next::MayLeave => "this node may be stopped (Ctrl-C): every chunk is with two others".into(),
        Next::AskThem { who } => format!("ask {} what holds them up: the line, the disk, the machine; leave this running", text::first_few(who, 4)).into(),
        Next::WaitOrLeave => "wait until the others are ready: it is shown here. This node is not needed for that and may be stopped (Ctrl-C): every chunk is with two others".into(),
        Next::StartTogether { root } => {
            let root = root.as_deref().unwrap_or("ROOT");
            format!("start kwild at the time that was agreed on; `regenesis setup check -r {root}` says whether it would start").into()
        }
        Next::WaitForOthers { directory } => format!("leave this running until the others are ready; `regenesis wait --dir {directory} --for quorum` ends when enough are").into(),
        Next::LetItRun => "nothing: it goes on by itself".into(),
        Next::AskAgain => "ask again in a moment, or look at that process".into(),
        Next::ServeAgain { directory } => format!("`regenesis seed --dir {directory}` serves it again").into(),
        Next::ImportWhatComes { directory } => format!("when they are here, `regenesis bundle import MEDIUM --dir {directory}` takes what is on its way; the swarm gives the rest to the same fetch or join").into(),
        Next::FetchAgain => "give the same fetch or join again: it goes on where it stopped".into(),
        // Roots.
        Next::RightKey => "choose a new root and give the right key with --key-file".into(),
        Next::KeyOfV010 => "v0.10 takes the same digits as {\"key\":\"DIGITS\",\"type\":\"ed25519\"}; a new key: `regenesis key gen -o FILE`".into(),
        Next::KeyOfV09 => "v0.9 takes an ed25519 key as 128 hex digits; a new one: `regenesis key gen --family v0.9 -o FILE`".into(),
        Next::KeyOfRoot => "leave --key-file out to use the one in the root, or choose another root".into(),
        Next::GiveSnapshot => "give it with --genesis-state; kwild does not start without it".into(),
        Next::NodeCount { max } => format!("give between 1 and {max} with --validators and --non-validators").into(),
        Next::OtherPorts => "make fewer nodes, or begin with another --p2p-port: v0.9 counts it down, v0.10 up".into(),
        Next::OneNode => "give --validators 1 or more".into(),
        Next::ChooseNetworkDirectory => "choose another directory with --output-dir".into(),
        Next::ChooseNetworkDirectoryOrRemove => "choose another directory with --output-dir, or remove that one if nobody needs it".into(),
        Next::PairOrNoManifest => "give --genesis and --genesis-state, or leave --manifest out".into(),
        Next::VerifyTrust => "`regenesis manifest verify MANIFEST --trust KEY` checks that key, too".into(),
        Next::GiveStateDirectory => "give --state-dir DIR, on a disk that stays".into(),
        Next::PutErrorsRight => "put the errors right and check again; --fix prints statements and commands".into(),
        Next::PutErrorsRightFirst => "put the errors right and ask again; then the same `regenesis join` without --check".into(),
        // The lead's commands.
        Next::GiveSnapdir => "give --snapdir the directory that `regenesis snapshot create` wrote: genesis.json and the snapshot".into(),
        Next::MakeSnapshotOrHeight => "make it with `regenesis snapshot create`, or give --height".into(),
        Next::NameNodeAddress => "--node-address ID@HOST:PORT names one".into(),
        Next::AllPeers => "--all-peers takes such nodes all the same".into(),
        Next::PairOfOneSnapshot => "they do not belong together: take both from one `regenesis snapshot create`".into(),
        Next::GuardSnapshot { snapshot, genesis } => format!("`regenesis snapshot guard {snapshot} --genesis {genesis} --out DIR` puts the guard around it: sign and serve that DIR").into(),
        Next::LeaveSequenceOut => "leave --sequence out: everyone who saw the last manifest would refuse this one".into(),
        Next::SequenceNearNow => "everyone would refuse it: check the clock, or give --sequence near the UNIX time".into(),
        Next::SignAgain { directory } => format!("sign again before anyone fetches it: `regenesis manifest sign --snapdir {directory} --key FILE`").into(),
        Next::SignDirectory => "sign the directory first with `regenesis manifest sign` or serve it with `regenesis publish --dir DIR --key FILE`".into(),
        Next::ServeDirectory { directory } => format!("`regenesis publish --dir {directory} --key FILE` serves what is there").into(),
        Next::GoOnWithDirectory { directory } => format!("the snapshot is complete: go on with `regenesis publish --dir {directory} --key FILE`").into(),
        Next::NotKwilsBytes => "publish without --kwil-compat; `snapshot create --kwil-compat` makes them for comparison".into(),
        Next::RehearseElsewhere => "rehearse with `regenesis setup restore --dry-run -s SNAPSHOT --host HOST --user USER`, then `regenesis publish --dir DIR --key FILE`".into(),
        Next::ShowRehearsal { snapshot } => format!("`regenesis setup restore --dry-run -s {snapshot}` shows all of it").into(),
        Next::InstallOrNameServer => "install a PostgreSQL 16 server on this machine, or name one that may be used: --host, --port, --user".into(),
        Next::SignedSnapshot => "give the snapshot that was signed, or leave --manifest out".into(),
        Next::LintGenesis { genesis } => format!("`regenesis genesis lint {genesis}` lists everything that is wrong with it").into(),
        Next::GenesisHelp => "`regenesis setup genesis --help` shows how each value is written".into(),
        Next::OtherGenesisName => "remove it first, or choose another name; without --out the genesis is edited in place".into(),
        Next::OtherGenesisDirectory => "remove it first, or choose another directory with --out".into(),
        // The validator's commands.
        Next::CheckRoot { root } => format!("look at it with `regenesis setup check -r {root}`").into(),
        Next::CleanDirectory { directory } => format!("`regenesis clean {directory}` lists what can go").into(),
        Next::KeyOfFinishedRoot => "leave --key-file and --new-key out to use the key in it, or choose another root".into(),
        Next::Reconfigure => "--reconfigure writes them there; without these flags the root stays as it is".into(),
        Next::CheckOnly => "--check shows all".into(),
        Next::OtherRoot => "choose another --root-dir".into(),
        Next::NewDatabase { setting } => format!("name a new database with --{setting} NAME; --create-db makes it").into(),
        Next::OtherDatabase { setting } => format!("name a new one with --{setting} NAME").into(),
        Next::ValidatorKey => "give the validator's own key with --key-file FILE; --follow says that the node shall only follow".into(),
        Next::VoteOrFollow => "this key does not vote: join into a new root with the validator's own key (--key-file FILE); or run the same command again with --follow, if this node shall only follow".into(),
        Next::WaitForQuorum => "run the same command again with --wait quorum: it writes into config.toml whom this node dials, as the other validators join; nobody is named yet".into(),
        Next::NameDatabaseInConfig { key, config, root } => format!("name a new database in {key} of {config}, make it, and look again: regenesis setup check -r {root}").into(),
        // Confirmation.
        Next::MakeNodeAnew => "stop this kwild, drop and make its database anew, empty its root but for the key, and make the root again with `regenesis setup init`; then start kwild".into(),
        Next::CompareOrAllow => "compare with other nodes at the same height (`regenesis snapshot digest --compare OTHER.json`): honest ones are equal. --allow-transactions makes it no failure. Only before the first transaction can everything be confirmed".into(),
        Next::OrderedDatabaseAnew => "stop this kwild and make its database and its root anew before it parts from the others: the same `regenesis join` with --create-db and a new --db.dbname (v0.9: --app.pg-db-name) makes one that is ordered as the old one".into(),
        Next::SnapshotToConfirm => "give the snapshot file, too: regenesis setup confirm FILE --genesis genesis.json".into(),
        Next::SomethingToConfirm => "give --manifest M, or the snapshot FILE with --genesis G, or --root-dir of the node".into(),
        Next::GenesisOrManifest => "give --genesis G, or --manifest M".into(),
        Next::NameWhatIsReused => "give --reuse a snapshot file, or a directory that has one; or leave it out".into(),
        // Media.
        Next::TicketOfMedia => "say which migration is meant: --ticket-file FILE with the lead's ticket (one that only identifies will do), or --trust HEX#TYPE with the lead's key".into(),
        Next::KeyOfMedia => "give the age identity that the media are encrypted to with --age-identity FILE, or their passphrase with --passphrase-file FILE (- asks for it)".into(),
        Next::TrustWhenJoining => "whoever only carries it need not care; whoever sets a node up from it compares the six words with the lead over another channel, or gives --ticket-file or --trust".into(),
        Next::MoreMedia => "run the same command again with further media behind --to, or with another directory on one that has room: what is written is kept".into(),
        Next::JoinWithMoreMedia => "run the same command again with those behind --media: what was taken is kept".into(),
        Next::ImportOther => "run the same `regenesis bundle import` with another volume beside: each of them has it".into(),
        Next::ExportAgain => "export again onto another medium; import takes what is good on this one all the same".into(),
        Next::ImportAllTheSame => "import them as they are: together they hold everything, or parity makes it. Export the damaged ones again where they are to be carried further".into(),
        Next::MediumBack => "mount the medium again where it was, and run the same command again. Where one is worn or was changed, run the same `regenesis bundle import` anew: it looks for its chunks on the others, and without --in-place it makes them from parity, too".into(),
        Next::ImportWithCopy => "import without --in-place: a copy is made, what is encrypted is opened, and parity makes what is lacking".into(),
        Next::ImportMore => "run the same `regenesis bundle import` with those volumes: what is here is kept. Or `regenesis fetch` into the same directory gets the rest from a swarm".into(),
        Next::ListWhatIsMissing => "whoever lacks something writes it anew: `regenesis bundle missing --dir DIR -o FILE`, or without -o as lines to type".into(),
        Next::CompareLine => "compare that line with the other side's, letter by letter, and give the lines again".into(),
        Next::DirectoryOfList => "give --dir of the migration that it is about; the six words on both sides say whether they mean the same one".into(),
        Next::SameProgram => "use the same regenesis on both sides (`regenesis --version`)".into(),
        Next::StatementsFile => "give a file that `regenesis bundle statements --dir DIR -o FILE` or `regenesis snapshot attest` wrote, or a certificate".into(),
        // The demo.
        Next::KeepNewDirectory => "give --keep a new directory".into(),
        Next::ReportDemo => "this should never happen: please report it, with the demo run again with --keep DIR".into(),
        Next::PostgresOfKwild => "kwild takes a PostgreSQL 16 only: name the directory of its programs with `regenesis demo --pg-bin DIR`; where psql and pg_dump are not among them, those of 16 come first on PATH".into(),
        // The text of a snapshot.
        Next::RightFamily => "check that this is a Kwil database and that its family was recognised (--family)".into(),
        Next::DefaultRules => "leave --kwil-compat out: the default rules keep this text as the data it is".into(),
        Next::SnapshotOfLead => "do not start kwild on it; ask the lead for a snapshot made by `regenesis snapshot create`".into(),
        Next::GuardPair => "put the guard around it with `regenesis snapshot guard FILE --genesis GENESIS --out DIR`, and use that pair on every node; where a manifest describes it, the lead does so and signs the new pair".into(),
        Next::SignedFileOrAnew => "put the signed file back and start this command again, or sign and serve what is there with `regenesis publish --dir DIR --key FILE`".into(),
        Next::OtherDirectory => "choose another directory with --dir; with --reuse what is here need not be fetched again".into(),
        Next::OtherRelay => "start `regenesis relay` with this ticket where others can reach it, or name another one with --relay-via".into(),
        Next::StopAndSignAnew => "put the signed files back and start this command again; where the new ones are meant, sign and serve them with `regenesis publish --dir DIR --key FILE`".into(),
        Next::SetPower => "change its power with --set-power KEY:POWER".into(),
        Next::PowerText => "write it as --set-power KEY:POWER".into(),
        Next::ShowGenesis => "`regenesis genesis show` lists them".into(),
        Next::SayKwild => "say which kwild it is: --kwild PATH".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_is_in_the_words() {
        let place = Some(("db.example".to_owned(), "5433".to_owned()));
        let words = words_of(&Next::ServerBehindPooler { place });
        assert!(words.ends_with("--host db.example --port 5433"), "{words}");
        let words = words_of(&Next::GuardSnapshot { snapshot: "a b".into(), genesis: "g".into() });
        assert!(words.contains("snapshot guard a b --genesis g --out DIR"), "{words}");
        assert_eq!(words_of(&Next::Mend("alloc")), mends::mend("alloc"));
        assert!(words_of(&Next::KeyOfV010).contains("{\"key\":\"DIGITS\",\"type\":\"ed25519\"}"));
    }
}
