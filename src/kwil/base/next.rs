//! What a person may do next, as facts: each step names what is to be done and what it is done with. Which command or flag
//! does it is the command line's business, which has the words for every step.

/// One thing that a person may do next; the fields are what its words need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    // Genesis and keys.
    /// Give flags that the genesis' family has.
    FlagsOfFamily,
    /// Choose another chain id.
    ChooseChainId,
    /// Do not carry the old chain's height on.
    LeaveHeightOut,
    /// Let the program compute a snapshot's hash and write it into the genesis.
    HashSnapshot,
    /// Change validators one by one.
    EditValidators,
    /// Take the validator out instead of its power.
    RemoveValidator,
    /// Choose a leader among the validators, or make the leader one.
    ChooseLeader,
    /// Do what the lint code of this name advises.
    Mend(&'static str),
    /// Copy the key's text from what the program tells of a key file.
    CopyFromKeyInfo,
    /// Copy the public key from what the program tells of a key file, or from the genesis.
    CopyPublicKey,
    /// Let the program print the peer id of a directory.
    PrintPeerId,
    /// Give the node's own key file, or make a key.
    NodeKeyFile,
    /// Write the private key as text is taken, or better give a file.
    PrivateKeyText,
    /// Compare the file with a key file that the program writes.
    CompareKeyFile,
    /// Make an ed25519 key.
    MakeEd25519Key,
    // A node's readiness.
    /// Make the database anew, ordered as the old network's.
    DatabaseLikeOld,
    /// Where nothing else can be done, compare the nodes' data after the first blocks.
    CompareNodes,
    /// Make a root.
    MakeRoot,
    /// Make a root, or write its configuration.
    MakeRootOrConfig,
    /// Take the genesis that was made with the snapshot.
    GenesisOfSnapshot,
    /// Compute the hash of a snapshot file and compare it.
    VerifySnapshot {
        /// The snapshot file, as a shell takes it.
        path: String,
    },
    /// Join again until the others are there, or name another validator's address.
    WaitForPeers {
        /// The setting that names the node's peers.
        key: String,
        /// How an address is written there.
        example: String,
    },
    /// Say how large the snapshot's text is.
    SayTextSize,
    // Manifest and ticket.
    /// Give the ticket's whole line.
    WholeTicket,
    /// Use the newest ticket, or say that an older manifest is meant.
    AllowRollback {
        /// The number of the older manifest.
        sequence: u64,
    },
    /// Use the newest manifest of the lead; where the older one is meant, allow it by its sequence.
    CurrentTicket {
        /// The older one's sequence.
        sequence: u64,
    },
    /// Stop the node that holds something else, and make it anew.
    StopDifferingNode,
    /// Revoke with a key that may sign the manifest.
    SignerRevokes,
    /// Compare the lead's key over another channel, then pin it.
    PinLead,
    // The old network's database.
    /// Name the old node's database; the server knows which exist.
    NameDatabase,
    /// Name the old node's database, not one that is half restored.
    NameWholeDatabase,
    /// Name the old node's database or its root.
    NameDatabaseOrRoot,
    /// Name the database of a node that committed a block.
    NameDatabaseThatRan,
    /// See whether the right database is named.
    IsItTheDatabase,
    /// Give settings that lead to the new node's database.
    NameNewDatabase,
    /// Give settings that lead to the old node's database.
    NameOldDatabase,
    /// Ask the lead to sign with the state digest.
    AskForDigest,
    /// Sign with the validator's key of the old network.
    OldKey,
    /// Ask the lead about the changed genesis, and take it by its flag.
    AcceptGenesisChange,
    /// Find out why validators have other states, before anyone starts.
    SettleDissent,
    /// Find out why one's own state is another one.
    OwnDissent,
    /// Name the old node's database so that its validator can attest, or say that it does not.
    NameOldState,
    /// Say that the old database is not to be compared.
    AttestNothing,
    /// Ask the validators that have said nothing to attest.
    WaitForAttestations,
    /// Have the lead name the key of a co-signer.
    NameCosigner,
    /// Have the co-signers sign, too.
    Cosign,
    /// Have the co-signers sign through the swarm that goes on.
    CosignInSwarm,
    /// Find out why a co-signer does not sign, before anyone goes on.
    SettleRefusal,
    /// Take the manifest as the lead signed it.
    WholeManifest,
    /// Check the role and its password.
    CheckLogin,
    /// Check the password.
    CheckPassword,
    /// Give a password.
    GivePassword,
    /// Connect as the owner of the database, or as a superuser.
    UseOwner,
    /// Connect over TLS only.
    RequireTls,
    /// Connect without TLS.
    AllowPlain,
    /// Insist on TLS, or say that plain text is meant.
    ChooseTls,
    /// Check the TLS mode and the root certificate.
    CheckTls,
    /// Name the host as its certificate does.
    NameInCertificate,
    /// See that the server runs where it is looked for.
    IsServerRunning,
    /// Connect to the server itself instead of to a pooler before it.
    ServerBehindPooler {
        /// Host and port that the server says of itself.
        place: Option<(String, String)>,
    },
    /// Correct the service file, or name the server by flags.
    CorrectService,
    /// Define the service, or name the server by flags.
    DefineService,
    /// Give one address in numbers, or name the host.
    OneHostAddress,
    /// Name one host.
    OneHost,
    /// Let the family be read from the database, or name the right database.
    LeaveFamilyOut,
    /// Name a pg_dump that works.
    NamePgDump,
    /// Install a pg_dump of this major version or newer, or name one.
    InstallPgDump {
        /// The server's major version.
        major: u32,
    },
    /// Install this major version's pg_dump, or name a newer one.
    InstallNewerPgDump {
        /// The major version that is new enough.
        major: u32,
    },
    /// See that pg_dump is one of PostgreSQL's own.
    CheckPgDump,
    /// Use a pg_dump that takes the schemas' names from a file.
    PgDumpWithFilterFile,
    /// Halt the network and stop kwild, or go on all the same.
    HaltNetwork,
    /// Read the primary's database or promote the standby, or go on all the same.
    ReadPrimary,
    /// Stop kwild cleanly, or go on all the same.
    StopCleanly,
    /// Name a server for the rehearsal, or let one be started.
    ScratchServer,
    // Snapshots.
    /// Choose another directory for the snapshot.
    ChooseSnapdir,
    /// Choose another directory for the snapshot, or replace what is there.
    ChooseSnapdirOrReplace,
    /// Wait for the other process, or choose another directory.
    WaitOrChooseSnapdir,
    /// Make room, or choose another directory.
    RoomOrChooseSnapdir,
    /// Give the new network's chain id.
    GiveChainId,
    /// Name where the old chain id stands, or give a new one.
    CarryChainIdOn,
    /// Do not give a genesis time.
    LeaveGenesisTimeOut,
    /// Give a file that holds a state digest.
    DigestFile,
    /// Choose another directory for the guarded pair.
    ChooseOutput,
    /// Choose another directory for the guarded pair, or replace what is there.
    ChooseOutputOrReplace,
    /// Make a snapshot anew from the old network's database.
    MakeSnapshotAnew,
    /// Make the snapshot without its digest.
    WithoutDigest,
    /// Allow a larger text.
    MoreTextBytes,
    // The swarm.
    /// Stop the other program, or listen on another port.
    ChooseListen,
    /// Let the firewall pass this port, or choose one.
    OpenPortOrChoose {
        /// The port that is listened on.
        port: u16,
    },
    /// Give an address of this machine to listen on.
    GiveListen,
    /// Name an address of a member.
    AddAddress,
    /// A lead that nobody can reach connects to the relay.
    ConnectToRelay,
    /// Give the other node an identity of its own.
    OtherIdentityThere,
    /// Stop one of two nodes with one identity, or give this one another.
    OtherIdentityHere,
    /// Show whose this node is, with a binding that a validator has signed of its peer id.
    ShowWhoseNode,
    /// Have a validator bind this node's own peer id.
    BindThisNode {
        /// This node's peer id.
        peer: String,
    },
    /// Show the status page on another address.
    ChooseStatusAddress,
    /// Give the ticket to those who are to come, who must reach this node.
    GiveTicket,
    /// See that somebody serves, and can be reached from here.
    CheckReach,
    /// Ask the lead whether it serves, and whether its files are sound.
    AskWhetherLeadServes,
    /// Leave the node running: others need what it alone has.
    KeepServing,
    /// Serve on, and join as well: the validator whose key signs here has no new root yet.
    JoinToo,
    /// The node may be stopped: others have everything.
    MayLeave,
    /// Others are not ready yet; this node is not needed for that.
    WaitOrLeave,
    /// Ask those whom everyone waits for what holds them up.
    AskThem {
        /// Who they are.
        who: Vec<String>,
    },
    /// Start the new network's nodes at the time that was agreed on.
    StartTogether {
        /// The new root, where there is one here.
        root: Option<String>,
    },
    /// Leave the node running until the others are ready.
    WaitForOthers {
        /// The node's files.
        directory: String,
    },
    /// Leave the node running: it goes on by itself.
    LetItRun,
    /// Ask again how it stands.
    AskAgain,
    /// Serve a directory again.
    ServeAgain {
        /// The directory, as a shell takes it.
        directory: String,
    },
    /// Give the command again that was fetching: it goes on.
    FetchAgain,
    /// Import what media bring that are on their way.
    ImportWhatComes {
        /// The directory that lacks it, as it is typed.
        directory: String,
    },
    // Roots.
    /// Choose a new root and give the right key.
    RightKey,
    /// Write the key as v0.10 takes it, or make a new one.
    KeyOfV010,
    /// Write the key as v0.9 takes it, or make a new one.
    KeyOfV09,
    /// Use the key that is in the root, or choose another root.
    KeyOfRoot,
    /// Give the snapshot that the genesis pins.
    GiveSnapshot,
    /// Give a number of nodes that can be made.
    NodeCount {
        /// The most nodes of a network that is made at once.
        max: usize,
    },
    /// Begin with another port, or make fewer nodes.
    OtherPorts,
    /// Make at least one validator.
    OneNode,
    /// Choose another directory for the network.
    ChooseNetworkDirectory,
    /// Choose another directory for the network, or remove the one that is there.
    ChooseNetworkDirectoryOrRemove,
    /// Give genesis and snapshot, or no manifest.
    PairOrNoManifest,
    /// Say whom to trust, and verify the manifest.
    VerifyTrust,
    /// Name a directory for what is to be remembered.
    GiveStateDirectory,
    /// Put right what the check found.
    PutErrorsRight,
    /// Put right what is wrong before the join.
    PutErrorsRightFirst,
    // The lead's commands.
    /// Give the directory that a snapshot was written into.
    GiveSnapdir,
    /// Make the snapshot with this program, or give its height.
    MakeSnapshotOrHeight,
    /// Name a node's address in the manifest.
    NameNodeAddress,
    /// Let joins take addresses of nodes that are no validators.
    AllPeers,
    /// Take genesis and snapshot from one run.
    PairOfOneSnapshot,
    /// Put the guard around the snapshot, and sign what comes of it.
    GuardSnapshot {
        /// The snapshot file, as a shell takes it.
        snapshot: String,
        /// The genesis file, as a shell takes it.
        genesis: String,
    },
    /// Let the manifest's sequence be chosen.
    LeaveSequenceOut,
    /// Check the clock, or give a sequence near the time.
    SequenceNearNow,
    /// Sign the manifest again.
    SignAgain {
        /// The directory of the manifest, as a shell takes it.
        directory: String,
    },
    /// Sign the directory, or publish it.
    SignDirectory,
    /// Serve the snapshot that is there.
    ServeDirectory {
        /// The snapshot's directory, as a shell takes it.
        directory: String,
    },
    /// Go on with the snapshot that is complete.
    GoOnWithDirectory {
        /// The snapshot's directory, as a shell takes it.
        directory: String,
    },
    /// Publish a guarded snapshot.
    NotKwilsBytes,
    /// Rehearse on a server that is named, then publish.
    RehearseElsewhere,
    /// Rehearse alone, which shows every row.
    ShowRehearsal {
        /// The snapshot file, as a shell takes it.
        snapshot: String,
    },
    /// Install a PostgreSQL server, or name one.
    InstallOrNameServer,
    /// Give the snapshot that was signed, or no manifest.
    SignedSnapshot,
    /// Have everything listed that is wrong with the genesis.
    LintGenesis {
        /// The genesis file, as a shell takes it.
        genesis: String,
    },
    /// Look how a new genesis' values are written.
    GenesisHelp,
    /// Remove the file, or choose another name for the edited genesis.
    OtherGenesisName,
    /// Remove the file, or choose another directory for the new genesis.
    OtherGenesisDirectory,
    // The validator's commands.
    /// Look at a finished root.
    CheckRoot {
        /// The root, as a shell takes it.
        root: String,
    },
    /// See what was left behind.
    CleanDirectory {
        /// The directory, as a shell takes it.
        directory: String,
    },
    /// Use the finished root's own key, or choose another root.
    KeyOfFinishedRoot,
    /// Let the flags be written into the finished root, or leave them out.
    Reconfigure,
    /// Have everything listed without fetching.
    CheckOnly,
    /// Choose another root.
    OtherRoot,
    /// Name a new database, and let it be made.
    NewDatabase {
        /// The setting of config.toml that names the database.
        setting: &'static str,
    },
    /// Name a new database.
    OtherDatabase {
        /// The setting of config.toml that names the database.
        setting: &'static str,
    },
    /// Give the key that votes, or say that the node shall only follow.
    ValidatorKey,
    /// Join with the key that votes, or say that the node shall only follow.
    VoteOrFollow,
    /// Join again until enough others are there.
    WaitForQuorum,
    /// Name a new database in the finished root's configuration.
    NameDatabaseInConfig {
        /// The key of config.toml.
        key: &'static str,
        /// The root's config.toml.
        config: String,
        /// The root, as a shell takes it.
        root: String,
    },
    // Confirmation.
    /// Make the node's database and root anew.
    MakeNodeAnew,
    /// Compare with other nodes, or take transactions for the reason.
    CompareOrAllow,
    /// Make database and root anew, ordered as the old network's.
    OrderedDatabaseAnew,
    /// Give the snapshot file beside the manifest.
    SnapshotToConfirm,
    /// Give what the database is to be compared with.
    SomethingToConfirm,
    /// Give what pins the snapshot.
    GenesisOrManifest,
    /// Name a file or directory whose chunks can be used.
    NameWhatIsReused,
    // Media.
    /// Say which migration is meant, by its ticket or its lead's key.
    TicketOfMedia,
    /// Give what opens encrypted media.
    KeyOfMedia,
    /// Whoever sets a node up from this compares the lead's key or the six words first.
    TrustWhenJoining,
    /// Put further media in, and run the same export again.
    MoreMedia,
    /// Join with those media, too.
    JoinWithMoreMedia,
    /// Import with another medium of the same export.
    ImportOther,
    /// Export the volume again, onto another medium.
    ExportAgain,
    /// Import these media as they are: parity makes up for what is wrong.
    ImportAllTheSame,
    /// Put the medium back from which chunks are served.
    MediumBack,
    /// Import with a copy, which reads what cannot be served in place.
    ImportWithCopy,
    /// Import the volumes that are still needed.
    ImportMore,
    /// Make the list of what is missing anew where it is missing.
    ListWhatIsMissing,
    /// Compare the line that was typed with the one that was read out.
    CompareLine,
    /// Name the directory of the migration that the file is about.
    DirectoryOfList,
    /// Use the same version of the program on both sides.
    SameProgram,
    /// Write what validators have signed to a file, where that is known.
    StatementsFile,
    // The demo.
    /// Keep the demo's files in a new directory.
    KeepNewDirectory,
    /// Report what happened, with the files of another run.
    ReportDemo,
    /// Name the programs of a PostgreSQL that kwild takes.
    PostgresOfKwild,
    // The text of a snapshot.
    /// See that the database is Kwil's and its family was recognised.
    RightFamily,
    /// Make the snapshot by the default rules.
    DefaultRules,
    /// Ask the lead for a snapshot that this program made.
    SnapshotOfLead,
    /// Put the guard around the snapshot, and give every node the new pair.
    GuardPair,
    /// Put the signed file back, or sign what is there.
    SignedFileOrAnew,
    /// Fetch into another directory; what is in this one need not be fetched again.
    OtherDirectory,
    /// Have a relay that others reach, or name another one.
    OtherRelay,
    /// Stop, and sign what is there.
    StopAndSignAnew,
    /// Change the validator's power.
    SetPower,
    /// Write key and power as they are taken.
    PowerText,
    /// Look at what the genesis says.
    ShowGenesis,
    /// Say which kwild will run.
    SayKwild,
}
