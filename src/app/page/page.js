"use strict";
// Names of others come in here: they become text, and never markup.
const $ = (id) => document.getElementById(id);
const say = (id, text) => { if ($(id).textContent !== text) $(id).textContent = text; };
const make = (tag, text, kind) => {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (kind) made.className = kind;
  return made;
};
const UNITS = ["B", "KiB", "MiB", "GiB", "TiB"];
const size = (n) => {
  let unit = 0;
  while (n >= 1024 && unit < UNITS.length - 1) { n /= 1024; unit += 1; }
  return unit ? n.toFixed(1) + " " + UNITS[unit] : n + " B";
};
const rate = (n) => !n ? "–" : n < 1e5 ? (n / 1e3).toFixed(1) + " kB/s" : (n / 1e6).toFixed(1) + " MB/s";
const time = (s) => s < 60 ? s + " s" : s < 3600 ? Math.floor(s / 60) + " min " + s % 60 + " s"
  : Math.floor(s / 3600) + " h " + Math.floor(s % 3600 / 60) + " min";
const count = (n, noun) => n + " " + noun + (n === 1 ? "" : "s");
const percent = (part, all) => all ? Math.floor(Math.min(part, all) * 100 / all) : 0;
const bar = (element, part, all) => {
  const now = percent(part, all);
  element.classList.toggle("full", now === 100);
  element.firstElementChild.style.width = now + "%";
  if (element.hasAttribute("role")) element.setAttribute("aria-valuenow", String(now));
};
const clock = (seconds) => new Date(seconds * 1000).toLocaleTimeString([], { hourCycle: "h23" });
// The end of a peer's id, by which it is told from others.
const short = (peer) => peer.slice(-8);

let state = null;
let heard = 0;
// No answer came to the last that was asked.
let unheard = false;

const patch = (target, change) => {
  if (change === null || typeof change !== "object" || Array.isArray(change)) return change;
  const out = target !== null && typeof target === "object" && !Array.isArray(target) ? target : {};
  for (const name of Object.keys(change)) {
    if (change[name] === null) delete out[name]; else out[name] = patch(out[name], change[name]);
  }
  return out;
};

const ROLES = { publish: "the lead", seed: "a seed", fetch: "a fetch", relay: "a relay", join: "a join", watch: "an observer" };

function showHead() {
  const network = state.network;
  if (!network) return;
  say("network", (network.old_chain_id ? network.old_chain_id + " → " : "") + network.chain_id);
  say("manifest", network.family + ", height " + network.height + ", manifest " + network.sequence + ", " + size(network.bytes));
}

// How much of everything somebody has whose validator this is: the most of its nodes; undefined where none is here.
function has(key) {
  const { node, chunks } = state;
  const parts = Object.values(state.members || {}).filter((m) => m.validator === key).map((m) => percent(m.chunks, chunks ? chunks.count : 0));
  if (node.validator === key && node.total_bytes) parts.push(percent(node.have_bytes, node.total_bytes));
  return parts.length ? Math.max(...parts) : undefined;
}

function soFar() {
  const { chunks, attestations, readiness } = state;
  const members = Object.values(state.members || {});
  const all = chunks ? chunks.count : 0;
  const on = members.filter((m) => m.chunks > 0 && m.chunks < all).map((m) => m.chunks);
  const full = members.filter((m) => all && m.chunks >= all).length;
  const how = [];
  if (full) how.push(full + " with everything");
  if (on.length) how.push(on.length + " on the way, the last at " + percent(Math.min(...on), all) + "%");
  // Who has just come has not told yet, and who only looks on never has any.
  if (members.length - full - on.length) how.push(members.length - full - on.length + " with nothing so far");
  const parts = [members.length ? count(members.length, "member") + " here: " + how.join(", ") : "nobody else is here"];
  if (attestations && attestations.validators) parts.push(attestations.agree + " of " + count(attestations.validators, "old validator") + " agree");
  if (readiness) parts.push(readiness.ready + " of " + count(readiness.validators, "validator") + (readiness.validators === 1 ? " is" : " are") + " ready");
  return parts.join("; ");
}

// What somebody has to look at, though all may go on.
function watchOut() {
  const { attestations, readiness, signatures, node } = state;
  const found = [];
  for (const voice of attestations ? attestations.voices : []) {
    if (voice.vote !== "dissents") continue;
    found.push((voice.key === node.validator ? "this node's own validator" : "validator " + voice.name) + " holds ANOTHER state"
      + (voice.differs.length ? ", in " + voice.differs.join(", ") : ""));
  }
  if (found.length && attestations.verdict === "met") found.push("as many agree as are needed, so the others go on");
  for (const seat of readiness ? readiness.seats : []) {
    if (seat.differs.length) found.push("the started node of " + seat.name + " does NOT hold what was signed");
  }
  for (const signer of signatures ? signatures.signers : []) {
    if (signer.said === "refuses") found.push(signer.name + " REFUSES to sign the manifest");
  }
  if (state.kept_out.length) found.push("kept out for wrong bytes or breaking the protocol: " + state.kept_out.join(", "));
  if (node.stalled_seconds !== undefined) found.push("no byte has come for " + time(node.stalled_seconds));
  return found.join("; ");
}

function showNow() {
  const { estimate, node, chunks } = state;
  const quorum = Boolean(state.readiness && state.readiness.quorum);
  const parts = [];
  // A long time is looked up on a clock.
  const when = (seconds) => time(seconds) + (seconds < 600 ? "" : " (at " + clock(state.unix_seconds + seconds).slice(0, 5) + ")");
  if (estimate.own_seconds !== undefined) parts.push("this node done in " + when(estimate.own_seconds));
  if (estimate.everyone_seconds !== undefined) parts.push("everyone here done in " + when(estimate.everyone_seconds));
  if (parts.length && estimate.bound_seconds !== undefined) parts.push("the lines allow no less than " + time(estimate.bound_seconds));
  const everyone = chunks && Object.values(state.members || {}).every((m) => m.chunks >= chunks.count) && (node.complete || node.role === "watch");
  say("far", soFar());
  say("limit", state.running ? estimate.limit.words : "nothing any more: this node has ended");
  const here = Object.keys(state.members || {}).length;
  say("ends", !state.running ? "over" : parts.join("; ") || (!here ? "nobody to send to or to get from" : everyone ? "whoever is here has everything" : "not known yet when it is done"));
  say("watch", watchOut());
  $("watch").hidden = $("watch-name").hidden = !$("watch").textContent;
  say("next", state.next);
  const bad = ["dissent", "alarm"].includes(estimate.limit.by);
  document.body.classList.toggle("bad", bad);
  document.body.classList.toggle("good", quorum && !bad);
  const how = bad ? "✗ " : quorum ? "✓ " : node.total_bytes && node.have_bytes < node.total_bytes ? percent(node.have_bytes, node.total_bytes) + "% "
    : chunks && chunks.single ? percent(chunks.count - chunks.single, chunks.count) + "% " : "";
  const title = how + (state.network ? state.network.chain_id + " – " : "") + "regenesis";
  if (document.title !== title) document.title = title;
}

function showOwn() {
  const { node } = state;
  say("own", (ROLES[node.role] || "a node") + (node.directory ? ", in " + node.directory : "") + (node.doing && state.running ? ": " + node.doing : ""));
  bar($("own-bar"), node.have_bytes, node.total_bytes);
  say("own-have", node.total_bytes ? percent(node.have_bytes, node.total_bytes) + "%, " + size(node.have_bytes) + " of " + size(node.total_bytes) : "");
  showMedia();
  say("own-rates", "in " + rate(node.in_rate) + ", out " + rate(node.out_rate) + "; received " + size(node.received_bytes) + ", sent " + size(node.sent_bytes));
  const names = { verify: "text checked", check: "files checked" };
  const work = (node.work || []).map((w) => (names[w.name] || w.name) + ": " + (w.total ? percent(w.done, w.total) + "%" : size(w.done)));
  if (node.stalled_seconds !== undefined) work.unshift("STALLED: no byte has come for " + time(node.stalled_seconds));
  for (const tried of node.complete ? [] : (node.tried || []).slice(0, 4)) work.push("tried " + tried.place + ": " + tried.why);
  say("own-work", work.join("; "));
}

// What a card says before there is something to show in it.
const notYet = () => state.network ? "not known yet" : "known once the manifest is here, which the first member brings";

// What media bring: as text, and hatched in the bar behind what is here.
function showMedia() {
  const { node, on_media: media } = state;
  const coming = media && media.coming_chunks ? media.coming_bytes : 0;
  const some = (labels) => labels.slice(0, 6).join(", ") + (labels.length > 6 ? " and " + (labels.length - 6) + " more" : "");
  const at = (seconds) => new Date(seconds * 1000).toLocaleString([], { dateStyle: "short", timeStyle: "short", hourCycle: "h23" });
  const parts = [];
  if (coming) parts.push("on its way on media: " + count(media.coming_chunks, "chunk") + ", " + size(coming) + ", on " + some(media.coming));
  if (media && media.asked_unix_seconds) parts.push("asked for on " + at(media.asked_unix_seconds) + ": " + count(media.asked_chunks, "chunk") + ", " + size(media.asked_bytes));
  if (media && media.written_unix_seconds) parts.push("written from here: " + count(media.written_volumes, "volume") + " with " + size(media.written_bytes)
    + ", the last on " + at(media.written_unix_seconds));
  say("own-media", parts.join("; "));
  const has = percent(node.have_bytes, node.total_bytes);
  const more = Math.min(percent(coming, node.total_bytes), 100 - has);
  $("own-coming").style.left = has + "%";
  $("own-coming").style.width = more + "%";
  if (coming) $("own-bar").setAttribute("aria-valuetext", has + "%, and " + more + "% on media"); else $("own-bar").removeAttribute("aria-valuetext");
}

function showChunks() {
  const chunks = state.chunks;
  $("chunks-key").hidden = $("first-bar").hidden = !chunks;
  if (!chunks) return say("first", notYet());
  bar($("first-bar"), chunks.count - chunks.single, chunks.count);
  say("first", chunks.single ? percent(chunks.count - chunks.single, chunks.count) + "% of the first copies are out: " + chunks.single + " of "
    + count(chunks.count, "chunk") + (chunks.single === 1 ? " is" : " are") + " with one node only" : "all first copies are out: no chunk is with one node only");
  const leads = state.node.role === "publish" || state.node.role === "seed";
  const who = state.node.role === "publish" ? "the lead" : "this node";
  say("leave", chunks.out ? (leads ? who + " may leave: " : "") + "every chunk is with two others"
    : state.readiness && state.readiness.quorum ? ""
    : leads ? who + " must stay: " + count(chunks.thin, "chunk") + (chunks.thin === 1 ? " is" : " are") + " with fewer than two others" : "");
  const map = $("map");
  const cells = chunks.others_map || "";
  // Where everything is here, no piece of it need say so.
  const lacks = state.node.have_bytes < state.node.total_bytes;
  $("own-key").hidden = !lacks;
  while (map.children.length > cells.length) map.lastElementChild.remove();
  while (map.children.length < cells.length) map.append(make("span"));
  for (let n = 0; n < cells.length; n += 1) {
    const others = Math.min(Number(cells[n]), 2);
    const kind = "c n" + others + (lacks && chunks.own_map[n] === "9" ? " own" : "");
    if (map.children[n].className !== kind) map.children[n].className = kind;
  }
  map.setAttribute("aria-label", "How the chunks are spread: " + chunks.single + " of " + chunks.count + " with one node, "
    + chunks.thin + " with fewer than two others");
}

function stage(seat) {
  if (seat.differs.length) return "does NOT hold what was signed: " + seat.differs.join(", ");
  if (seat.stage === "confirmed") return "started, and holds what was signed";
  if (seat.ready) return "ready";
  const part = has(seat.key);
  // Any member that has not shown whose it is may be its.
  const unknown = Object.values(state.members || {}).some((m) => m.validator === undefined);
  return part === undefined ? unknown ? "not ready" : "not here" : part === 100 ? "has everything, not ready" : "has " + part + "%";
}

function showReady() {
  const all = state.readiness;
  $("ready-bar").hidden = !all;
  if (!all) return say("ready", notYet());
  bar($("ready-bar"), all.power, all.power_of_all);
  say("ready", all.ready + " of " + count(all.validators, "validator") + ", power " + all.power + " of " + all.power_of_all + ": "
    + (all.quorum ? "enough to make blocks" : "more than 2/3 are needed") + (all.confirmed ? "; " + all.confirmed + " confirmed" : ""));
  $("seats").replaceChildren(...all.seats.map((seat) => make("li", (seat.ready ? "✓ " : seat.stage ? "✗ " : "… ") + seat.name
    + " (power " + seat.power + (seat.leader ? ", leads" : "") + (seat.key === state.node.validator ? ", this node" : "") + ") " + stage(seat),
  seat.ready ? "yes" : seat.stage ? "dissents" : "")));
}

function showSigned() {
  const all = state.signatures;
  if (!all || all.signers.length < 2) return;
  const refused = all.signers.filter((signer) => signer.said === "refuses");
  say("signed", "manifest: " + all.words + (all.enough ? "" : "; nobody sets a root up before it has its signatures")
    + refused.map((signer) => "; " + signer.name + " REFUSES: " + (signer.reason || "it does not say why")).join(""));
}

function showAttested() {
  const all = state.attestations;
  $("attest-bar").hidden = !all;
  if (!all) return say("attest", notYet());
  bar($("attest-bar"), all.power, all.power_of_all);
  const verdict = { met: "enough", lost: "it cannot be enough any more" }[all.verdict] || "not enough yet";
  say("attest", all.validators ? all.agree + " of " + count(all.validators, "old validator") + " agree, power " + all.power + " of " + all.power_of_all
    + (all.dissent ? ", " + all.dissent + " DISSENT" : "") + ": " + verdict + "; needed: " + all.rule : "the lead's word alone: no validators of the old network are named");
  const words = { signed: "✓ signed as the lead", agrees: "✓ agrees", silent: "… has said nothing", dissents: "✗ DISSENTS" };
  $("voices").replaceChildren(...all.voices.map((voice) => make("li", voice.name + " (power " + voice.power + ") " + (words[voice.vote] || voice.vote)
    + (voice.differs.length ? ": " + voice.differs.join(", ") : ""),
  voice.vote === "dissents" ? "dissents" : voice.vote === "silent" ? "" : "yes")));
}

function showMembers() {
  const all = state.chunks ? state.chunks.count : 0;
  const members = Object.entries(state.members || {}).sort(([p, a], [q, b]) => a.chunks - b.chunks || (a.name + p < b.name + q ? -1 : 1));
  const names = members.map(([, member]) => member.name);
  say("members-head", count(members.length, "member") + " here");
  $("nobody").hidden = members.length > 0;
  $("table").hidden = !members.length;
  $("members").replaceChildren(...members.map(([peer, member]) => {
    const row = make("tr");
    const has = make("td");
    const part = make("div", undefined, "bar");
    part.append(make("i"));
    bar(part, member.chunks, all);
    has.append(part, percent(member.chunks, all) + "%");
    // A validator may have two nodes here: the lead's, and its own join.
    const twice = names.indexOf(member.name) !== names.lastIndexOf(member.name);
    row.append(make("td", member.name + (twice ? " at " + short(peer) : "")), make("td", member.power === undefined ? "–" : String(member.power)), has,
      make("td", member.ready ? "ready" : all && member.chunks === all ? "has all" : rate(member.rate)),
      make("td", rate(member.out_rate)), make("td", rate(member.in_rate)),
      make("td", member.seconds === undefined ? "–" : time(member.seconds)));
    return row;
  }));
}

const TIMED = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ /;

function showLog() {
  const now = (state.log || []).join("\n");
  if ($("log").dataset.now === now) return;
  $("log").dataset.now = now;
  const told = [];
  for (const line of state.log || []) {
    const text = TIMED.test(line) ? line.slice(21) : line;
    // What is set in belongs to the line before it.
    if (text.startsWith("  ") && told.length) told[told.length - 1].text += "\n" + text;
    else told.push({ text, at: TIMED.test(line) ? clock(Date.parse(line.slice(0, 20)) / 1000) + "  " : "" });
  }
  $("log").replaceChildren(...told.reverse().map(({ text, at }) => make("li", at + text, text.startsWith("warning: ") ? "warning" : "")));
}

function show() {
  if (!state) return;
  for (const part of [showHead, showNow, showOwn, showChunks, showReady, showSigned, showAttested, showMembers, showLog]) part();
}

function live() {
  const stale = state && Date.now() - heard > 5000;
  // How it ended was told; of who is gone without a word that is not known.
  const ended = state && !state.running;
  document.body.classList.toggle("stale", Boolean(stale || ended));
  if (!state) say("live", unheard ? "connecting: the node has ended, or too many look at its page already" : "connecting");
  else if (ended) say("live", "ended at " + clock(state.unix_seconds));
  else say("live", stale ? "stale since " + clock(heard / 1000) + ": the node has ended, or cannot be reached" : "live");
  // What is shown was true then; what is done now it cannot say any more.
  if (stale && !ended) say("next", "look at the node's terminal or journal: it says why it ended; unless its work was done, the same command goes on where it stopped, and so does this page");
}

function listen() {
  const source = new EventSource("/api/v1/events" + location.search);
  const on = (name, take) => source.addEventListener(name, (event) => {
    const told = JSON.parse(event.data);
    heard = Date.now();
    state = take(told);
    show();
    live();
  });
  // The first event is all there is; after a restart of the node it is told anew.
  on("status", (told) => patch({}, told));
  on("change", (told) => patch(state, told));
  source.onerror = () => {
    unheard = true;
    live();
    if (source.readyState === EventSource.CLOSED) setTimeout(listen, 3000);
  };
}

setInterval(live, 1000);
listen();
