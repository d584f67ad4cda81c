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
const clock = (seconds) => new Date(seconds * 1000).toLocaleTimeString();

let state = null;
let heard = 0;

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
  document.title = network.chain_id + " – regenesis";
}

function showNow() {
  const { estimate } = state;
  const parts = [];
  if (estimate.own_seconds !== undefined) parts.push("this node in " + time(estimate.own_seconds));
  if (estimate.everyone_seconds !== undefined) parts.push("everyone here in " + time(estimate.everyone_seconds));
  if (parts.length && estimate.bound_seconds !== undefined) parts.push("the lines allow " + time(estimate.bound_seconds));
  say("limit", estimate.limit.words);
  say("ends", parts.join("; ") || "–");
  say("next", state.next);
  document.body.classList.toggle("bad", ["dissent", "alarm"].includes(estimate.limit.by));
}

function showOwn() {
  const { node } = state;
  say("own", (ROLES[node.role] || "a node") + (node.directory ? " in " + node.directory : "") + (node.doing ? ": " + node.doing : ""));
  bar($("own-bar"), node.have_bytes, node.total_bytes);
  say("own-have", node.total_bytes ? percent(node.have_bytes, node.total_bytes) + "%, " + size(node.have_bytes) + " of " + size(node.total_bytes) : "");
  say("own-rates", "in " + rate(node.in_rate) + ", out " + rate(node.out_rate) + "; received " + size(node.received_bytes) + ", sent " + size(node.sent_bytes));
  const names = { verify: "text checked", check: "files checked" };
  const work = (node.work || []).map((w) => (names[w.name] || w.name) + ": " + (w.total ? percent(w.done, w.total) + "%" : size(w.done)));
  if (node.stalled_seconds !== undefined) work.unshift("STALLED: no byte has come for " + time(node.stalled_seconds));
  for (const tried of node.complete ? [] : (node.tried || []).slice(0, 4)) work.push("tried " + tried.place + ": " + tried.why);
  say("own-work", work.join("; "));
}

function showChunks() {
  const chunks = state.chunks;
  if (!chunks) return;
  bar($("first-bar"), chunks.count - chunks.single, chunks.count);
  say("first", chunks.single ? "first copies: " + chunks.single + " of " + count(chunks.count, "chunk") + " are with one node" : "first copies: none is with one node only");
  const leads = state.node.role === "publish" || state.node.role === "seed";
  const who = state.node.role === "publish" ? "the lead" : "this node";
  say("leave", chunks.out ? who + " may leave: every chunk is with two others"
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

function showReady() {
  const all = state.readiness;
  if (!all) return;
  bar($("ready-bar"), all.power, all.power_of_all);
  say("ready", all.ready + " of " + count(all.validators, "validator") + ", power " + all.power + " of " + all.power_of_all + ": "
    + (all.quorum ? "enough to make blocks" : "more than 2/3 are needed") + (all.confirmed ? "; " + all.confirmed + " confirmed" : ""));
  $("seats").replaceChildren(...all.seats.map((seat) => make("li", (seat.ready ? "✓ " : seat.stage ? "✗ " : "… ") + seat.name
    + " (power " + seat.power + (seat.leader ? ", leads" : "") + ") " + (seat.stage || "not ready")
    + (seat.differs.length ? ": does NOT hold what was signed: " + seat.differs.join(", ") : ""), seat.ready ? "yes" : seat.stage ? "dissents" : "")));
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
  if (!all) return;
  bar($("attest-bar"), all.power, all.power_of_all);
  const verdict = { met: "enough", lost: "it cannot be enough any more" }[all.verdict] || "not enough yet";
  say("attest", all.validators ? all.agree + " of " + count(all.validators, "old validator") + " agree, power " + all.power + " of " + all.power_of_all
    + (all.dissent ? ", " + all.dissent + " DISSENT" : "") + ": " + verdict : "the lead's word alone: no validators of the old network are named");
  const words = { signed: "✓ signed as the lead", agrees: "✓ agrees", silent: "… has said nothing", dissents: "✗ DISSENTS" };
  $("voices").replaceChildren(...all.voices.map((voice) => make("li", voice.name + " (power " + voice.power + ") " + (words[voice.vote] || voice.vote)
    + (voice.differs.length ? ": " + voice.differs.join(", ") : ""),
  voice.vote === "dissents" ? "dissents" : voice.vote === "silent" ? "" : "yes")));
}

function showMembers() {
  const all = state.chunks ? state.chunks.count : 0;
  const members = Object.values(state.members || {}).sort((a, b) => a.chunks - b.chunks || (a.name < b.name ? -1 : 1));
  say("members-head", count(members.length, "member") + " here");
  say("kept-out", state.kept_out.length ? "kept out for sending wrong bytes or breaking the protocol: " + state.kept_out.join(", ") : "");
  $("members").replaceChildren(...members.map((member) => {
    const row = make("tr");
    const has = make("td");
    const part = make("div", undefined, "bar");
    part.append(make("i"));
    bar(part, member.chunks, all);
    has.append(part, percent(member.chunks, all) + "%");
    row.append(make("td", member.name), make("td", member.power === undefined ? "–" : String(member.power)), has,
      make("td", member.ready ? "ready" : all && member.chunks === all ? "has all" : rate(member.rate)),
      make("td", rate(member.out_rate)), make("td", rate(member.in_rate)),
      make("td", member.seconds === undefined ? "–" : time(member.seconds)));
    return row;
  }));
}

function showLog() {
  const lines = (state.log || []).slice().reverse();
  const now = lines.join("\n");
  if ($("log").dataset.now === now) return;
  $("log").dataset.now = now;
  $("log").replaceChildren(...lines.map((line) => {
    const timed = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ /.test(line);
    const text = timed ? clock(Date.parse(line.slice(0, 20)) / 1000) + "  " + line.slice(21) : line;
    return make("li", text, line.slice(21).startsWith("warning: ") ? "warning" : "");
  }));
}

function show() {
  if (!state) return;
  for (const part of [showHead, showNow, showOwn, showChunks, showReady, showSigned, showAttested, showMembers, showLog]) part();
}

function live() {
  const stale = state && Date.now() - heard > 5000;
  $("live").classList.toggle("stale", Boolean(stale));
  if (!state) say("live", "connecting");
  else say("live", stale ? "stale since " + clock(heard / 1000) : "live");
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
    live();
    if (source.readyState === EventSource.CLOSED) setTimeout(listen, 3000);
  };
}

setInterval(live, 1000);
listen();
