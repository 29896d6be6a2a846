// One metric that was opened: tag keys, senders, values as posted, lines, what becomes of a line.

import { ask, byId, clock, counted, fill, grouped, make, say, short } from "./parts.js";
import { Plot } from "./plots.js";

const REFRESH_MS = 5000;
const WINDOW_SECONDS = 600;

const values = new Plot(byId("details-plot"), { height: 220, legend: true, stepped: false });
const rates = new Plot(byId("details-rate-plot"), { height: 220, legend: true, stepped: false });
let opened = null;
let timer = 0;
let opener = null;

export const details = {
  open(name) {
    opener = document.activeElement;
    opened = name;
    values.clear();
    rates.clear();
    byId("details").hidden = false;
    say(byId("details-name"), name);
    for (const id of ["details-facts", "details-note", "tap-note"]) say(byId(id), "…");
    for (const id of ["tap-lines", "tap-senders", "details-keys"]) byId(id).tBodies[0]?.replaceChildren();
    byId("details").focus();
    byId("details").scrollIntoView({ block: "nearest" });
    refresh();
    tap();
  },
  close() {
    opened = null;
    clearTimeout(timer);
    byId("details").hidden = true;
    opener?.focus();
  },
};

async function refresh() {
  clearTimeout(timer);
  const name = opened;
  if (name === null) return;
  if (!document.hidden) {
    try {
      const answer = await ask(`/page/metric.json?name=${encodeURIComponent(name)}`, AbortSignal.timeout(10000));
      if (opened === name) show(answer);
    } catch (error) {
      if (opened === name) say(byId("details-note"), `no answer: ${error.message}`);
    }
  }
  if (opened === name) timer = setTimeout(refresh, REFRESH_MS);
}

function show(metric) {
  const kinds = metric.kinds.join(" and ") || "no live context";
  say(byId("details-facts"), `${kinds}, ${counted(metric.contexts, "context")}, posted every ${metric.interval_seconds} s`);
  const others = metric.other_keys;
  const keys = [...(metric.tag_keys ?? [])];
  if (others?.keys > 0) keys.push({ key: `${others.keys} more keys`, values: others.values });
  fill(byId("details-keys"), [
    { head: "Key", cell: (row) => row.key },
    { head: "Values", number: true, cell: (row) => grouped(row.values) },
  ], keys, (row) => row.key, "no tags");
  const [levels, speeds] = ["value", "rate"].map((wanted) => plotted(metric, wanted));
  const note = [summary(metric, levels, speeds)];
  if (metric.only_opened) note.push("past 1,000 contexts, values are kept from when a metric is opened");
  if (metric.left_out > 0) note.push(`no room for ${grouped(metric.left_out)} series of the last flush`);
  say(byId("details-note"), note.join("; "));
  draw(values, byId("details-values"), levels, metric.name);
  draw(rates, byId("details-rates"), speeds, metric.name);
}

function draw(plot, figure, { times, series }, name) {
  figure.hidden = times.length === 0;
  if (times.length === 0) {
    plot.clear();
    return;
  }
  const end = Math.max(times.at(-1), Date.now() / 1000);
  plot.show(times, series, [Math.max(end - WINDOW_SECONDS, Math.min(times[0], end - 60)), end], `values of ${name}`);
}

function summary({ interval_seconds: interval }, ...groups) {
  const times = groups.flatMap((group) => group.times);
  if (times.length === 0) {
    return `nothing was posted yet: the first value comes at the end of an interval of ${interval} s`;
  }
  const newest = Math.max(...times);
  const last = groups.flatMap(({ times: at, series }) =>
    at.at(-1) === newest ? series.map(([label, points]) => [label, points.at(-1)]) : []);
  const shown = last.filter(([, value]) => value != null).slice(0, 6).map(([label, value]) => `${label} ${short(value)}`);
  return `the last flush, of ${clock(newest)}: ${shown.join(", ")}`;
}

/** A moment without values wherever no flush had any: no line is drawn over it. */
function withGaps(times, interval) {
  return times.flatMap((time, at) => (at > 0 && time - times[at - 1] > 1.5 * interval ? [times[at - 1] + interval / 2, time] : [time]));
}

/** Series one by one while all of them are kept, else what all contexts come to. */
function plotted({ posted, interval_seconds: interval }, wanted) {
  const fits = ({ unit }) => (unit === "value") === (wanted === "value");
  const series = posted.series.filter(fits);
  const sums = posted.sums.filter(fits);
  const whole = sums.every((sum) => {
    const last = sum.rows.at(-1);
    return !last || series.filter((one) => one.suffix === sum.suffix).length >= last[1];
  });
  const lines = new Map();
  const unit = (one) => (one.unit === "count" ? " (count)" : one.unit === "per second" ? "/s" : "");
  if (whole) {
    for (const one of series) lines.set(`${one.suffix.trim() || "value"}${unit(one)} ${one.tags}`.trim(), one.points);
  } else {
    for (const sum of sums) {
      const word = (text) => `${sum.suffix} ${text} of all contexts${unit(sum)}`.trim();
      if (sum.unit === "value") {
        lines.set(word("lowest"), sum.rows.map((row) => [row[0], row[3]]));
        lines.set(word("mean"), sum.rows.map((row) => [row[0], row[2] / row[1]]));
        lines.set(word("highest"), sum.rows.map((row) => [row[0], row[4]]));
      } else {
        lines.set(word("sum"), sum.rows.map((row) => [row[0], row[2]]));
      }
    }
  }
  const times = withGaps([...new Set([...lines.values()].flatMap((points) => points.map(([time]) => time)))].sort((a, b) => a - b), interval);
  const aligned = [...lines].map(([label, points]) => {
    const known = new Map(points);
    return [label, times.map((time) => known.get(time) ?? null)];
  });
  return { times, series: aligned };
}

async function tap() {
  const name = opened;
  say(byId("tap-note"), "listening for 1.5 s…");
  try {
    const answer = await ask(`/page/tap.json?name=${encodeURIComponent(name)}`, AbortSignal.timeout(10000));
    if (opened !== name) return;
    const seen = answer.seen === 0 ? "no line came with this name (names are compared as they were sent)" : `${counted(answer.seen, "line")} seen`;
    say(byId("tap-note"), seen);
    fill(byId("tap-senders"), [
      { head: "Sender", cell: (row) => row.sender },
      { head: "Lines", number: true, cell: (row) => grouped(row.lines) },
    ], answer.senders, (row) => row.sender, "no sender");
    byId("tap-lines").tBodies[0]?.replaceChildren();
    fill(byId("tap-lines"), [
      { head: "Line", wide: true, code: true, cell: (row) => row.line },
      { head: "Sender", cell: (row) => `${row.sender} by ${row.listener}` },
      { head: "", element: (row) => {
        const button = make("button", { type: "button" }, "Explain");
        button.addEventListener("click", () => explainLine(row.raw));
        return button;
      } },
    ], answer.lines.map((row, at) => ({ ...row, at })), (row) => row.at, "no line");
  } catch (error) {
    if (opened === name) say(byId("tap-note"), `no answer: ${error.message}`);
  }
}

/** Shows what `whippet explain` would print. */
export async function explainLine(line) {
  const place = byId("explained");
  byId("explain-line").value = line;
  if (line === "") return;
  place.hidden = false;
  try {
    const answer = await ask(`/page/explain.json?line=${encodeURIComponent(line)}`, AbortSignal.timeout(10000));
    say(place, answer.page);
  } catch (error) {
    say(place, `no answer: ${error.message}`);
  }
  place.scrollIntoView({ block: "nearest" });
}

byId("details-close").addEventListener("click", () => details.close());
byId("tap-again").addEventListener("click", tap);
