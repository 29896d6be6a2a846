// The live page: asks for one snapshot per second and shows it from top to bottom.

import { ask, byId, bytes, clock, counted, duration, fill, grouped, make, say, short } from "./parts.js";
import { BYTE_STEPS, Plot } from "./plots.js";
import { details, explainLine } from "./details.js";

const POLL_MS = 1000;
const TOP_MS = 5000;
const ROWS_MAX = 700;
const NAMES = 100;

const LINES = 1, BYTES = 2, DROPS = 3, CONTEXTS = 5, BIRTHS = 6, QUEUE = 7, REFUSED = 11;

const plots = {
  lines: new Plot(byId("plot-lines")),
  bytes: new Plot(byId("plot-bytes"), { format: bytes, steps: BYTE_STEPS }),
  drops: new Plot(byId("plot-drops")),
  refused: new Plot(byId("plot-refused"), { legend: true }),
  contexts: new Plot(byId("plot-contexts")),
  births: new Plot(byId("plot-births")),
  queue: new Plot(byId("plot-queue"), { format: bytes, steps: BYTE_STEPS }),
};

const state = {
  boot: null, since: 0, log: 0, config: 0, rows: [], entries: [], logLines: [],
  reached: null, paused: false, timer: 0, top: null, topTimer: 0, sort: "contexts", asking: false,
};

// ---- The snapshot ----

async function poll() {
  clearTimeout(state.timer);
  if (state.paused || document.hidden || state.asking) return;
  state.asking = true;
  const begun = performance.now();
  let again = POLL_MS;
  try {
    const path = `/page/snapshot.json?since=${state.since}&log=${state.log}&config=${state.config}`;
    const answer = await ask(path, AbortSignal.timeout(8000));
    if (state.boot !== null && answer.boot !== state.boot) {
      forget();
      state.boot = answer.boot;
      again = 0;
    } else {
      state.boot = answer.boot;
      state.reached = answer.now;
      take(answer);
      show(answer);
    }
    connected(true);
  } catch (error) {
    connected(false, error);
  }
  state.asking = false;
  if (again > 0) again = Math.max(50, again - (performance.now() - begun));
  state.timer = setTimeout(poll, again);
}

/** Another process answers: what was shown is not its own. */
function forget() {
  Object.assign(state, { since: 0, log: 0, config: 0, rows: [], logLines: [], top: null });
  say(byId("log"), "");
}

function connected(yes, error) {
  const text = yes ? (state.paused ? "‖ paused" : "● live") :
    `✖ no answer${state.reached ? ` since ${clock(state.reached)}` : ""}; trying again`;
  const place = byId("connection");
  say(place, text);
  place.title = yes ? "" : String(error);
  document.body.dataset.live = yes ? "yes" : "no";
}

function take(answer) {
  state.rows.push(...answer.history.rows);
  const oldest = answer.now - answer.history_seconds;
  while (state.rows.length > ROWS_MAX || (state.rows.length > 2 && state.rows[1][0] < oldest)) state.rows.shift();
  state.since = answer.history.next;
  state.log = answer.log.next;
  state.logLines.push(...answer.log.lines);
  state.logLines.splice(0, state.logLines.length - 256);
  if (answer.config.entries) state.entries = answer.config.entries;
  state.config = answer.config.version;
  if (answer.log.lines.length > 0) showLog();
  if (answer.config.entries) showConfig();
}

function show(answer) {
  const { status } = answer;
  showIdentity(status);
  showVerdict(answer.verdict, answer.now);
  showBalance(status);
  showTraffic(answer.now, answer.history_seconds);
  showContexts(status);
  showSenders(answer.senders, answer.now);
  showEndpoints(status.payloads.endpoints, status);
  showDoors(status.doors);
  showGlobal(status.global);
  showBad(answer.senders);
  fillList(byId("config-warnings"), status.config.warnings.map((text) => `! ${text}`));
}

function showIdentity({ identity, process }) {
  const host = identity.hostname ? `host ${identity.hostname}` : "no host";
  const memory = process.resident_bytes > 0 ? `, memory ${bytes(process.resident_bytes)}` : "";
  say(byId("identity"),
    `${identity.version}, ${host}, up ${duration(identity.uptime_seconds)}, output ${identity.output}, flush every ${identity.interval_seconds} s${memory}`);
  const title = identity.hostname ? `whippet on ${identity.hostname}` : "whippet";
  if (document.title !== title) document.title = title;
}

// ---- Verdict and balance ----

function showVerdict(verdict, now) {
  const section = byId("verdict");
  section.className = verdict.level;
  const [symbol, sentence] = judged(verdict);
  say(section.querySelector(".symbol"), symbol);
  say(byId("sentence"), sentence);
  const items = [
    ...verdict.risks.map((risk) => ({ mark: "!", text: risk.what, remedy: risk.remedy, old: false })),
    ...verdict.losses.map((loss) => ({
      mark: loss.level === "lost" ? "✖" : "!",
      text: `${grouped(loss.count)} ${loss.what} (${loss.place}), last at ${clock(loss.last)}`,
      remedy: loss.remedy,
      old: loss.last + 600 <= now,
    })),
  ];
  const list = byId("losses");
  while (list.children.length > items.length) list.lastChild.remove();
  items.forEach((item, at) => {
    const entry = list.children[at] ?? list.appendChild(
      make("li", {}, make("span"), make("br"), make("span", { className: "remedy" })));
    entry.className = item.old ? "old" : "";
    say(entry.children[0], `${item.mark} ${item.text}`);
    say(entry.children[2], `→ ${item.remedy}`);
  });
}

function judged({ level, since, losses, risks }) {
  const nothing = `nothing lost since ${clock(since)}`;
  if (level === "lost") {
    const worst = losses.find((loss) => loss.level === "lost");
    return ["✖", `Lost: ${grouped(worst.count)} ${worst.what}`];
  }
  if (level === "warning") {
    return ["!", `${nothing}; ${risks.length > 0 ? "something is about to go wrong" : "some lines could not be taken"}`];
  }
  return ["✔", nothing];
}

const reasons = (parts, count) => {
  const named = Object.entries(parts.reasons).map(([reason, part]) => `${reason} ${grouped(count(part))}`);
  return named.length > 0 ? ` (${named.join(", ")})` : "";
};

function showBalance({ lines, lines_open: open, payloads }) {
  const mark = (fine) => (fine ? "✔ adds up" : "✖ does not add up");
  say(byId("balance-lines"),
    `${grouped(lines.received)} received = ${grouped(lines.recorded.total)} recorded` +
    ` + ${grouped(lines.refused.total)} refused${reasons(lines.refused, (count) => count)}` +
    ` + ${grouped(lines.dropped.total)} dropped${reasons(lines.dropped, (count) => count)} ${mark(lines.balances)}` +
    (open > 0 ? `; ${grouped(open)} of them since the last flush` : ""));
  const { built, delivered, waiting, dropped } = payloads;
  say(byId("balance-payloads"), delivered
    ? `${grouped(built.payloads)} built = ${grouped(delivered.payloads)} delivered + ${grouped(waiting.payloads)} waiting` +
      ` + ${grouped(dropped.total.payloads)} dropped${reasons(dropped, (tally) => tally.payloads)} ${mark(payloads.balances)}`
    : built ? `${grouped(built.payloads)} built, none delivered: this output posts nothing`
      : "nothing is posted: the output is a console or a file");
}

// ---- Plots ----

function rates(column) {
  return state.rows.map((row, at) => {
    if (at === 0) return null;
    const before = state.rows[at - 1];
    return Math.max(0, row[column] - before[column]) / Math.max(row[0] - before[0], 0.001);
  });
}

function refusedRates() {
  const names = new Set(state.rows.flatMap((row) => Object.keys(row[REFUSED])));
  return [...names].sort().map((reason) => [reason, state.rows.map((row, at) => {
    if (at === 0) return null;
    const before = state.rows[at - 1];
    const more = (row[REFUSED][reason] ?? 0) - (before[REFUSED][reason] ?? 0);
    return Math.max(0, more) / Math.max(row[0] - before[0], 0.001);
  })]);
}

function showTraffic(now, seconds) {
  const times = state.rows.map((row) => row[0]);
  // A server that is young has little to show: at least a minute, at most everything it keeps.
  const span = [Math.max(now - seconds, Math.min(times[0] ?? now, now - 60)), now];
  const one = (plot, output, label, values, format) => {
    const last = values.at(-1);
    const text = last == null ? "–" : format(last);
    say(byId(output), text);
    plot.show(times, [[label, values]], span, `${label}, now ${text}`);
  };
  one(plots.lines, "now-lines", "lines per second", rates(LINES), short);
  one(plots.bytes, "now-bytes", "bytes per second", rates(BYTES), bytes);
  one(plots.drops, "now-drops", "datagrams dropped per second", rates(DROPS), short);
  one(plots.contexts, "now-contexts", "contexts", state.rows.map((row) => row[CONTEXTS]), short);
  one(plots.births, "now-births", "new contexts per second", rates(BIRTHS), short);
  one(plots.queue, "now-queue", "bytes waiting", state.rows.map((row) => row[QUEUE]), bytes);
  const refused = refusedRates();
  const sum = refused.reduce((total, [, values]) => total + (values.at(-1) ?? 0), 0);
  say(byId("now-refused"), short(sum));
  const series = refused.length > 0 ? refused : [["none", state.rows.map(() => 0)]];
  byId("plot-refused").classList.toggle("empty", refused.length === 0);
  plots.refused.show(times, series, span, `lines refused per second, now ${short(sum)}`);
}

// ---- Contexts ----

function showContexts({ contexts }) {
  const share = contexts.max > 0 ? contexts.live / contexts.max : 0;
  const kinds = Object.entries(contexts.by_kind).filter(([, count]) => count > 0)
    .map(([kind, count]) => `${kind} ${grouped(count)}`).join(", ");
  say(byId("contexts-now"),
    `${grouped(contexts.live)} of ${grouped(contexts.max)} (${(share * 100).toFixed(share < 0.1 ? 1 : 0)} %)${kinds ? `: ${kinds}` : ""}`);
  byId("contexts-meter").value = share;
  const { overflow } = contexts;
  const worst = overflow?.names[0];
  let text = "No new context met the cap.";
  if (overflow) {
    const key = worst?.tag_keys[0];
    text = `! At ${clock(overflow.at)}, ${grouped(overflow.lines)} lines of new contexts were past the cap`;
    if (worst) text += `; ${grouped(worst.lines)} of them from ${worst.name}`;
    if (key) text += `, whose tag ${key.key} came with about ${grouped(key.values)} values`;
    if (overflow.sender) text += `; most sent by ${overflow.sender}`;
  } else {
    const first = state.top?.by_contexts.names.find((row) => row.tag_keys.length > 0);
    if (first) {
      const key = first.tag_keys[0];
      text += ` Most contexts: ${first.name} with ${grouped(first.contexts)}, whose tag ${key.key} has ${grouped(key.values)} values.`;
    }
  }
  say(byId("blame"), text);
}

// ---- Senders ----

const before = new Map();

/** Lines per second of each sender, from two snapshots. */
function withRates(senders, now) {
  return senders.map((row) => {
    const earlier = before.get(row.sender);
    const rate = earlier && now > earlier.now ? Math.max(0, row.lines - earlier.lines) / (now - earlier.now) : 0;
    before.set(row.sender, { lines: row.lines, now });
    return { ...row, rate };
  });
}

function clientLoss(client) {
  if (!client) return "–";
  const missing = client.packets_missing == null ? "" : `, ${grouped(client.packets_missing)} missing`;
  return `${grouped(client.packets_dropped)} packets dropped${missing}`;
}

function showSenders(senders, now) {
  if (before.size > 2000) before.clear();
  fill(byId("senders"), [
    { head: "Sender", cell: (row) => row.sender, wide: true },
    { head: "Process", cell: (row) => row.command ?? "–" },
    { head: "Container, pod", cell: (row) => [row.container?.slice(0, 12), row.pod].filter(Boolean).join(", ") || "–" },
    { head: "Lines/s", number: true, cell: (row) => short(row.rate) },
    { head: "Lines", number: true, cell: (row) => grouped(row.lines) },
    { head: "Refused", number: true, cell: (row) => (row.refused > 0 ? `! ${grouped(row.refused)}` : "0") },
    { head: "New contexts", number: true, cell: (row) => grouped(row.contexts_new) },
    { head: "Past the cap", number: true, cell: (row) => (row.past_cap > 0 ? `! ${grouped(row.past_cap)}` : "0") },
    { head: "Loss its client reports", cell: (row) => clientLoss(row.client) },
  ], withRates(senders, now), (row) => row.sender, "nothing was sent yet");
}

function showBad(senders) {
  const bad = senders.flatMap((row) => row.bad_lines.map((line) => ({ sender: row.sender, ...line })));
  const place = byId("bad");
  if (bad.length === 0) {
    if (place.textContent !== "none") place.replaceChildren("none");
    return;
  }
  while (place.children.length > bad.length || (place.firstChild && place.firstChild.nodeType === 3)) place.lastChild.remove();
  bad.forEach((line, at) => {
    const block = place.children[at] ?? place.appendChild(make("pre", { tabIndex: 0 }));
    say(block, `from ${line.sender}: ${line.shown}`);
  });
}

// ---- Endpoints and doors ----

function answers(route) {
  const parts = Object.entries(route.statuses).map(([code, count]) => `${code}: ${grouped(count)}`);
  parts.push(...Object.entries(route.errors).map(([what, count]) => `${what}: ${grouped(count)}`));
  return parts.join(", ") || "–";
}

function outlook(endpoint) {
  const seconds = endpoint.queue_full_in_seconds;
  if (endpoint.waiting.payloads > 0) {
    const left = seconds == null ? "" : `; at the rate of the last minutes, data is lost in ${duration(seconds)}`;
    return `! ${grouped(endpoint.waiting.payloads)} payloads wait${left}`;
  }
  return seconds == null ? "✔ nothing waits" : `✔ nothing waits; an outage of ${duration(seconds)} would lose nothing`;
}

function showEndpoints(endpoints, status) {
  const place = byId("endpoints");
  if (endpoints.length === 0) {
    const text = `no endpoint: the output is ${status.identity.output}`;
    if (place.textContent !== text) place.replaceChildren(text);
    return;
  }
  const keys = endpoints.map((endpoint) => endpoint.name).join("\n");
  if (place.dataset.keys !== keys) {
    place.dataset.keys = keys;
    place.replaceChildren(...endpoints.map(() => make("div", {}, make("h3"), make("p"), make("meter", { min: 0, max: 1, low: 0.5, high: 0.9 }),
      make("span"), make("div", { className: "scroll" }, make("table")))));
  }
  endpoints.forEach((endpoint, at) => {
    const [head, text, meter, queue, scroll] = place.children[at].children;
    say(head, `${endpoint.name}, key ${endpoint.key}: ${endpoint.key_status}`);
    say(text, outlook(endpoint));
    meter.value = endpoint.queue_bytes_max > 0 ? endpoint.queue_bytes / endpoint.queue_bytes_max : 0;
    const spool = endpoint.spool_records > 0 ? `, on disk ${bytes(endpoint.spool_bytes)} in ${grouped(endpoint.spool_records)} payloads` : "";
    say(queue, ` queue ${bytes(endpoint.queue_bytes)} of ${bytes(endpoint.queue_bytes_max)}${spool}`);
    fill(scroll.firstChild, [
      { head: "Route", cell: ([name]) => name },
      { head: "Built", number: true, cell: ([, route]) => grouped(route.built.payloads) },
      { head: "Delivered", number: true, cell: ([, route]) => grouped(route.delivered.payloads) },
      { head: "Waiting", number: true, cell: ([, route]) => grouped(route.waiting.payloads) },
      { head: "Dropped", number: true, cell: ([, route]) => grouped(route.dropped.total.payloads) },
      { head: "Retries", number: true, cell: ([, route]) => grouped(route.retries) },
      { head: "Answers", cell: ([, route]) => answers(route) },
      { head: "State", cell: ([, route]) => (route.breaker_errors > 0 ? `✖ ${route.breaker_errors} failures` : "✔") },
    ], Object.entries(endpoint.routes), ([name]) => name, "nothing was built yet");
  });
}

function showDoors(doors) {
  const section = byId("doors-section");
  section.hidden = !doors?.open;
  if (section.hidden) return;
  const refused = (part) => (part.total > 0 ? `! ${grouped(part.total)}${reasons(part, (count) => count)}` : "0");
  fill(byId("doors"), [
    { head: "Route", cell: ([name]) => name },
    { head: "Requests", number: true, cell: ([, route]) => grouped(route.requests) },
    { head: "Recorded", number: true, cell: ([, route]) => grouped(route.recorded) },
    { head: "Refused", wide: true, cell: ([, route]) => refused(route.refused) },
    { head: "Values, events, checks", number: true, cell: ([, route]) => grouped(route.parts.total) },
    { head: "Recorded", number: true, cell: ([, route]) => grouped(route.parts.recorded) },
    { head: "Late", number: true, cell: ([, route]) => grouped(route.parts.late) },
    { head: "Refused", wide: true, cell: ([, route]) => refused(route.parts.refused) },
  ], Object.entries(doors.routes), ([name]) => name, "nothing came yet");
  const traces = Object.entries(doors.traces).map(([language, counts]) =>
    `${language || "unknown"}: ${counted(counts.traces, "trace")} counted and not kept (${bytes(counts.bytes)})`);
  const note = [`${counted(doors.contexts, "context")}`, ...traces];
  if (doors.connections_refused > 0) note.push(`! ${counted(doors.connections_refused, "connection")} refused`);
  say(byId("doors-note"), note.join("; "));
  const forwards = byId("doors-forwards");
  forwards.hidden = doors.forwards.length === 0;
  fill(forwards, [
    { head: "Sent on to", cell: (row) => row.endpoint },
    { head: "Route", cell: (row) => row.route },
    { head: "Requests", number: true, cell: (row) => grouped(row.forwarded) },
    { head: "Dropped", wide: true, cell: (row) => refused(row.dropped) },
  ], doors.forwards, (row) => `${row.route} ${row.endpoint}`, "nothing");
}

// ---- Global tier ----

function globalRows(tier) {
  const rows = [];
  const row = (what, total, parts) => rows.push({ what, total, parts: parts.filter(([count]) => count > 0).map(([count, word]) => `${grouped(count)} ${word}`).join(", ") || "–" });
  const dropped = (reasons, count) => Object.entries(reasons.reasons).map(([reason, part]) => [count(part), `! ${reason.replaceAll("_", " ")}`]);
  const { sender, owner } = tier;
  if (sender) {
    row("Values sent", sender.encoded, [[sender.acked, "acknowledged"], [sender.waiting, "waiting"], [sender.spooled, "on disk"], ...dropped(sender.dropped, (count) => count)]);
  }
  if (owner) {
    row("Parts read", owner.read.parts, [[owner.merged.parts, "merged"], [owner.duplicate.parts, "read twice"], [owner.late_waiting.parts, "late, waiting"],
      [owner.late_repaired.parts, "late, repaired"], [owner.late_unrepaired.parts, "! late, not repaired"], [owner.late_handed_over.parts, "late, handed over"],
      [owner.too_old.parts, "! too old"], ...dropped(owner.refused, (count) => count.parts)]);
    row("Postings", owner.postings, [[owner.postings_waiting, "waiting"], [owner.corrections, "corrections"], [owner.fenced, "withheld"]]);
    owner.payloads.endpoints.forEach((endpoint) => row(`Payloads to ${endpoint.name}`, endpoint.built.payloads,
      [[endpoint.delivered.payloads, "delivered"], [endpoint.waiting.payloads, "waiting"], ...dropped(endpoint.dropped, (tally) => tally.payloads)]));
  }
  return rows;
}

function showGlobal(tier) {
  const section = byId("global-section");
  section.hidden = !tier?.mode;
  if (section.hidden) return;
  const { sender, owner } = tier;
  const note = [`mode ${tier.mode}, topic ${tier.topic}`];
  if (owner) {
    note.push(`${counted(owner.partitions_owned, "partition")} of ${grouped(tier.partitions)} owned`,
      `oldest unsettled interval ${duration(Math.round(owner.oldest_unsettled_seconds))}`,
      `memory ${bytes(owner.memory_bytes)} of ${bytes(owner.memory_bytes_max)}${owner.paused ? ", ! reading is paused" : ""}`);
  }
  const away = sender?.away_seconds ?? owner?.away_seconds;
  if (away != null) note.push(`! no broker can be reached for ${duration(Math.round(away))}`);
  note.push(...[...tier.problems, ...tier.doubts].map((problem) => `! ${problem}`));
  say(byId("global-note"), note.join("; "));
  fill(byId("global-counts"), [
    { head: "What", cell: (row) => row.what },
    { head: "In all", number: true, cell: (row) => grouped(row.total) },
    { head: "Of them", wide: true, cell: (row) => row.parts },
  ], globalRows(tier), (row) => row.what, "nothing yet");
  const senders = byId("global-senders");
  senders.hidden = !owner;
  if (!owner) return;
  fill(senders, [
    { head: "Sender", cell: (row) => `${row.host} (${row.id.slice(0, 8)})` },
    { head: "Parts", number: true, cell: (row) => grouped(row.parts) },
    { head: "Values", number: true, cell: (row) => grouped(row.cells) },
    { head: "Late", number: true, cell: (row) => grouped(row.late_parts) },
    { head: "Refused", number: true, cell: (row) => (row.refused_parts > 0 ? `! ${grouped(row.refused_parts)}` : "0") },
    { head: "Read after", number: true, cell: (row) => `${row.lateness_seconds.toFixed(1)} s` },
    { head: "Clock", number: true, cell: (row) => (row.skew_seconds == null ? "–" : `${row.skew_seconds > 0 ? "+" : ""}${row.skew_seconds.toFixed(1)} s`) },
  ], owner.senders, (row) => row.id, "no sender was heard yet");
}

// ---- Metrics ----

let inSight = false;
new IntersectionObserver((entries) => {
  inSight = entries.at(-1).isIntersecting;
  if (inSight) pollTop();
}, { rootMargin: "200px" }).observe(byId("metrics"));

/** Counting per metric costs the server a second look at every line, so it is asked for one second in five, and only while somebody sees it. */
async function pollTop() {
  clearTimeout(state.topTimer);
  if (state.paused || document.hidden || !inSight || state.askingTop) return;
  state.askingTop = true;
  const begun = performance.now();
  const filter = byId("filter").value;
  try {
    const path = `/top?seconds=1&keys=1&names=${NAMES}&like=${encodeURIComponent(filter)}`;
    state.top = await ask(path, AbortSignal.timeout(30000));
    showMetrics();
  } catch {
    // The snapshot says that the server does not answer.
  }
  state.askingTop = false;
  const work = performance.now() - begun - 1000;
  const pause = filter === byId("filter").value ? Math.max(TOP_MS - 1000, 20 * work) : 0;
  state.topTimer = setTimeout(pollTop, pause);
}

function showMetrics() {
  if (!state.top) return;
  const filter = byId("filter").value.toLowerCase();
  const found = new Map();
  const entry = (name) => {
    if (!found.has(name)) found.set(name, { name, contexts: 0, samples: 0, bytes: 0, key: "" });
    return found.get(name);
  };
  for (const row of state.top.by_contexts.names) {
    const metric = entry(row.name);
    metric.contexts = row.contexts;
    const key = row.tag_keys[0];
    metric.key = key ? `${key.key} (${counted(key.values, "value")})` : "";
  }
  for (const row of [...state.top.by_samples, ...state.top.by_bytes]) {
    const metric = entry(row.name);
    metric.samples = row.samples_per_second;
    metric.bytes = row.bytes_per_second;
  }
  const metrics = [...found.values()].filter((metric) => metric.name.toLowerCase().includes(filter));
  metrics.sort((a, b) => b[state.sort] - a[state.sort] || (a.name < b.name ? -1 : 1));
  const { others } = state.top.by_contexts;
  say(byId("metrics-note"), `${grouped(metrics.length)} shown${others.names > 0 ? `, ${grouped(others.names)} more with fewer contexts` : ""}; rates over one second, every five`);
  fill(byId("metric-table"), [
    { head: "Metric", wide: true, element: (row) => {
      const button = make("button", { type: "button", className: "link" }, row.name);
      button.addEventListener("click", () => details.open(row.name));
      return button;
    } },
    { head: "Contexts", number: true, cell: (row) => grouped(row.contexts) },
    { head: "Lines/s", number: true, cell: (row) => short(row.samples) },
    { head: "Bytes/s", number: true, cell: (row) => short(row.bytes) },
    { head: "Tag with most values", cell: (row) => row.key },
  ], metrics.slice(0, NAMES), (row) => row.name, "no metric fits");
}

for (const sort of ["contexts", "samples", "bytes"]) {
  byId(`sort-${sort}`).addEventListener("click", () => {
    state.sort = sort;
    for (const other of ["contexts", "samples", "bytes"]) {
      byId(`sort-${other}`).setAttribute("aria-pressed", String(other === sort));
    }
    showMetrics();
  });
}
byId("filter").addEventListener("input", () => {
  showMetrics();
  pollTop();
});
byId("explain-form").addEventListener("submit", (event) => {
  event.preventDefault();
  explainLine(byId("explain-line").value);
});

// ---- Configuration and log ----

function fillList(list, texts) {
  while (list.children.length > texts.length) list.lastChild.remove();
  texts.forEach((text, at) => say(list.children[at] ?? list.appendChild(make("li")), text));
}

function showConfig() {
  const all = byId("config-all").checked;
  const entries = state.entries.filter((entry) => all || entry.origin !== null);
  fill(byId("config"), [
    { head: "Key", cell: (entry) => entry.key },
    { head: "Value", wide: true, code: true, cell: (entry) => entry.value },
    { head: "Origin", wide: true, cell: (entry) => entry.origin ?? "default" },
  ], entries, (entry) => entry.key, "every setting has its default");
}
byId("config-all").addEventListener("change", showConfig);

function showLog() {
  const log = byId("log");
  const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 30;
  say(log, state.logLines.join("\n"));
  if (atEnd) log.scrollTop = log.scrollHeight;
}

// ---- Keyboard, and pages out of sight ----

function pause() {
  state.paused = !state.paused;
  connected(true);
  poll();
  pollTop();
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = event.target instanceof HTMLInputElement && event.target.type !== "checkbox";
  if (event.key === "Escape") {
    if (!byId("details").hidden) details.close();
    else if (typing) event.target.blur();
  } else if (!typing && event.key === "/") {
    event.preventDefault();
    byId("metrics").scrollIntoView();
    byId("filter").focus();
  } else if (!typing && event.key === "p") {
    pause();
  } else if (event.key === "Enter" && event.target === byId("filter")) {
    // The same key would press the button that has the focus now.
    event.preventDefault();
    byId("metric-table").querySelector("button")?.focus();
  }
});
document.addEventListener("visibilitychange", () => {
  poll();
  pollTop();
});

poll();
